"""The bytes of one file, mapped: a file of any size costs address space, not memory. Free of torch.

Mapped read-only in effect: private pages, never written.
"""

import mmap
from pathlib import Path


class MappedFile:
    """The bytes of one file. Pages that were read can be given back with `release`."""

    def __init__(self, path: Path) -> None:
        self.size_bytes = path.stat().st_size
        self.buffer: mmap.mmap | None = None
        """None for an empty file."""
        if self.size_bytes:
            with path.open("rb") as file:
                # ACCESS_COPY: torch insists on a writable buffer; nothing is written, and a write is private.
                self.buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """A copy of up to `size_bytes` bytes from `offset`; fewer at the end of the file."""
        return self.buffer[offset : offset + size_bytes] if self.buffer is not None else b""

    def find(self, needle: bytes, start: int) -> int:
        """Position of the first `needle` at or after `start`, or -1."""
        return self.buffer.find(needle, start) if self.buffer is not None else -1

    def rfind(self, needle: bytes, start: int) -> int:
        """Position of the last `needle` at or after `start`, or -1."""
        return self.buffer.rfind(needle, start) if self.buffer is not None else -1

    def release(self) -> None:
        """Let the system take back the pages read so far; they are read again from the file if needed."""
        if self.buffer is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.buffer.madvise(mmap.MADV_DONTNEED)
