"""Folders with untrusted files, measured and removed through open descriptors: no depth, no long name, no
link and no taken permission leads astray.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 64
"""No program of ours nests so deep; a descriptor is held open for each level on the way down."""
_MAX_FRUITLESS_ROUNDS = 3
_SPARE_HOLE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    size_bytes: int
    num_files: int
    """Folders and links included."""


def open_folder(name: str, parent: int | None = None) -> int:
    """A descriptor of a folder, never through a link. One that its owner closed to us is opened up first."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{place}", stat.S_IRWXU)
        finally:
            os.close(place)
        return os.open(name, _FOLDER, dir_fd=parent)


def disk_use(folder: Path, *, stop_at: DiskUse) -> DiskUse:
    """What lies below `folder`; counting ends where either figure passes `stop_at`.

    A folder that cannot be looked into, or lies too deep, counts as more files than `stop_at` allows: whoever
    hides files has something to hide.
    """
    size_bytes, num_files = 0, 0
    for status in _walk(folder):
        if status is None:
            return DiskUse(size_bytes=size_bytes, num_files=stop_at.num_files + 1)
        num_files += 1
        size_bytes += status.st_blocks * 512
        if size_bytes > stop_at.size_bytes or num_files > stop_at.num_files:
            break
    return DiskUse(size_bytes=size_bytes, num_files=num_files)


def has_holes(file: int) -> bool:
    """Whether the open file claims much more than lies on the disk: a gigabyte of nothing is quickly written,
    and would be hashed, uploaded and kept in full. Less than half, and a MiB more: what a file system packs
    or has not written yet is not a hole. Raises OSError.
    """
    if _claims_more(os.fstat(file)):
        os.fsync(file)  # some file systems count blocks only once they are written
        return _claims_more(os.fstat(file))
    return False


def _claims_more(status: os.stat_result) -> bool:
    return status.st_size > 2 * 512 * status.st_blocks + _SPARE_HOLE_BYTES


def _walk(folder: Path) -> Iterator[os.stat_result | None]:
    """The status of everything below; None for a folder that hides what it holds."""
    try:
        opened = [open_folder(str(folder))]
    except FileNotFoundError:
        return
    names = [_names(opened[0])]
    try:
        while opened:
            if not names[-1]:
                os.close(opened.pop())
                names.pop()
                continue
            name = names[-1].pop()
            try:
                status = os.stat(name, dir_fd=opened[-1], follow_symlinks=False)
                yield status
                if not stat.S_ISDIR(status.st_mode):
                    continue
                if len(opened) > _MAX_DEPTH:
                    yield None
                    return
                opened.append(open_folder(name, opened[-1]))
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone meanwhile, or something else by now: seen next time
            except OSError:
                yield None
                return
            names.append(_names(opened[-1]))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _names(descriptor: int) -> list[str]:
    try:
        return os.listdir(descriptor)
    except FileNotFoundError:
        return []


def remove_tree(folder: Path) -> bool:
    """Remove `folder` with all it holds; False where something stays. Never raises OSError.

    Each folder's folders are moved up to the top before it goes, so that no depth needs more than two open
    descriptors, no recursion and no long path.
    """
    try:
        top = open_folder(str(folder))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    num_fruitless = 0
    try:
        while num_fruitless < _MAX_FRUITLESS_ROUNDS and (names := _names(top)):
            num_fruitless = 0 if sum(_dissolve(top, name) for name in names) else num_fruitless + 1
        os.rmdir(folder)
    except OSError:
        return False
    finally:
        os.close(top)
    return True


def _dissolve(top: int, name: str) -> bool:
    """Remove one entry of `top`; what a folder holds is removed, its own folders are moved to `top`."""
    try:
        if not _is_folder(name, top):
            os.unlink(name, dir_fd=top)
            return True
        descriptor = open_folder(name, top)
        try:
            for below in _names(descriptor):
                with contextlib.suppress(OSError):
                    _take_out(below, descriptor, top)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True


def _take_out(name: str, parent: int, top: int) -> None:
    if not _is_folder(name, parent):
        os.unlink(name, dir_fd=parent)
        return
    os.close(open_folder(name, parent))  # its own permission to write is needed, as it gets another parent
    os.rename(name, f"removed-{secrets.token_hex(8)}", src_dir_fd=parent, dst_dir_fd=top)


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
