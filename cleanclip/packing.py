"""A local folder of samples as one WebDataset shard. The same files give the same bytes, so that an
interrupted upload goes on. Decodes no image and does not use the network.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleanclip import places
from cleanclip.errors import Unreadable
from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME, TEMPLATES_NAME
from cleanclip.vocabulary.sample_files import MAX_IMAGE_BYTES

_BLOCK = 512
_RECORD = 20 * _BLOCK
_STEP = 100
_STALE_AFTER_S = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """An image, as the bytes of a file or of a part of one, and its caption or the number of its class."""

    name: str
    """In the folder, for messages."""
    path: Path
    offset: int = 0
    size_bytes: int
    mtime_ns: int
    extension: str
    text: bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that cannot be used: its name, which of `skip_reasons` it is, and the rest of a sentence."""

    name: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name} {self.detail}."


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a folder holds. `kind` is "pairs" or "labelled"."""

    root: Path
    kind: str
    samples: Sequence[Sample]
    class_names: tuple[str, ...] | None = None
    templates: tuple[str, ...] | None = None
    left_out: Sequence[LeftOut] = ()

    @property
    def size_bytes(self) -> int:
        """Of the shard."""
        members = sum(_padded(one.size_bytes) + _padded(len(one.text)) for one in self.samples)
        return -(-(members + 2 * _BLOCK) // _RECORD) * _RECORD

    def check_left_out(self, max_share: float) -> None:
        """Raises Unreadable where a larger share of the files cannot be used."""
        num_left_out = len(self.left_out)
        if num_left_out > max_share * (len(self.samples) + num_left_out):
            raise Unreadable(
                f"{num_left_out:,} files of {self.root} cannot be used: more than max_skipped_share "
                f"({max_share:g}) allows. The first: {self.left_out[0]}"
            )

    @property
    def identity(self) -> str:
        """Another one where a file, a caption, a class or the order is another."""
        digest = hashlib.sha256(json.dumps([self.kind, self.class_names, self.templates]).encode())
        for one in self.samples:
            name = os.path.relpath(one.path, self.root)
            place = [name, one.offset, one.size_bytes, one.mtime_ns, one.text.decode("utf-8", "replace")]
            digest.update(json.dumps(place).encode())
        return digest.hexdigest()[:40]


def shard_of(contents: Contents) -> Path:
    """Where in the cache folder its shard is, once it is packed."""
    return _folder() / contents.identity / shard_name(contents)


def pack(contents: Contents) -> Iterator[int]:
    """Write the shard, unless an earlier run did; yields now and then the number of samples written.

    Raises Unreadable, OSError.
    """
    folder = _folder()
    _forget_stale(folder)
    target = shard_of(contents)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    free_bytes = shutil.disk_usage(target.parent).free
    if free_bytes < contents.size_bytes:
        raise Unreadable(
            f"The shard takes {contents.size_bytes:,} bytes, and {free_bytes:,} are free in {folder}. Make "
            "room, or set CLEANCLIP_CACHE_DIR to a folder on a larger disk."
        )
    yield from _write(contents, target)


def pack_into(contents: Contents, folder: Path) -> Iterator[int]:
    """Write what a push sends as files: the shard under the name that it has in the service, and the lists of
    class names and templates. Yields as `pack` does.

    The library reads the folder as the service reads the dataset, so both have the same digest.
    Raises Unreadable, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in _listings(contents):
        (folder / name).write_bytes(data)
    yield from _write(contents, folder / shard_name(contents))


def digests(contents: Contents) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of each file that `pack_into` would write. Raises Unreadable, OSError."""
    for name, data in _listings(contents):
        yield name, hashlib.sha256(data).hexdigest()
    shard = _Hashed()
    with tarfile.open(fileobj=shard, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for _ in _add_all(archive, contents):
            continue
    yield shard_name(contents), shard.digest.hexdigest()


def read_image(sample: Sample) -> bytes:
    """The image's file. Raises Unreadable, OSError."""
    with sample.path.open("rb") as file:
        file.seek(sample.offset)
        data = file.read(min(sample.size_bytes, MAX_IMAGE_BYTES))
    if len(data) != sample.size_bytes:
        raise Unreadable(f"{sample.path} changed while it was read. Wait until it is written, and try again.")
    return data


def shard_name(contents: Contents) -> str:
    """Of the shard that the folder becomes."""
    return f"{_plain(contents.root.resolve().name)}.tar"


def text_extension(contents: Contents) -> str:
    """Of a sample's caption or label in a shard."""
    return "txt" if contents.kind == "pairs" else "cls"


class _Hashed(io.RawIOBase):
    """A file that keeps its digest only."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


def _listings(contents: Contents) -> Iterator[tuple[str, bytes]]:
    for name, lines in ((CLASS_NAMES_NAME, contents.class_names), (TEMPLATES_NAME, contents.templates)):
        if lines:
            yield name, "".join(f"{line}\n" for line in lines).encode()


def _write(contents: Contents, target: Path) -> Iterator[int]:
    part = target.with_name(f"{target.name}.part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive:
        yield from _add_all(archive, contents)
    os.replace(part, target)


def _add_all(archive: tarfile.TarFile, contents: Contents) -> Iterator[int]:
    for number, sample in enumerate(contents.samples):
        _add(archive, f"{number:08d}.{sample.extension}", read_image(sample))
        _add(archive, f"{number:08d}.{text_extension(contents)}", sample.text)
        archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
        if (number + 1) % _STEP == 0:
            yield number + 1


def _folder() -> Path:
    return places.cache_dir() / "push"


def discard(shard: Path) -> None:
    """Remove what `pack` wrote. A cache that cannot be written costs room, no more."""
    shutil.rmtree(shard.parent, ignore_errors=True)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)  # no time and no owner
    header.size = len(data)
    header.mode = 0o644
    archive.addfile(header, io.BytesIO(data))


def _padded(num_bytes: int) -> int:
    return _BLOCK + -(-num_bytes // _BLOCK) * _BLOCK


def _plain(name: str) -> str:
    """A file name that every store and system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:100] or "data"


def _forget_stale(folder: Path) -> None:
    """What was never sent to its end."""
    for one in folder.glob("*/*"):
        if time.time() - one.stat().st_mtime > _STALE_AFTER_S:
            discard(one)
