"""Random access to the samples of local WebDataset shards, by one pass over their headers.

Members that stand side by side and share a key (the file name up to its first dot) are one sample, as in
the `webdataset` library. Knows which members are images and which are texts; decodes neither. A member
that must not be used (a link, a nested or absolute name, a file over the cap) makes its sample a bad one.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.sample_files import IMAGE_EXTENSIONS, MAX_IMAGE_BYTES, MAX_TEXT_BYTES
from sanitizer.data.skipping import BadSample, missing_file, printable
from sanitizer.data.sources import RawSample
from sanitizer.data.tar_members import Member, walk

TEXT_EXTENSIONS = ("txt", "json", "cls")
MAX_SAMPLES = 50_000_000
MAX_OPEN_SHARDS = 64
_ROWS_AT_ONCE = 10_000

_META = re.compile(r"__[^/]*__($|/)")
_PROBLEMS: tuple[tuple[str, str], ...] = (
    ("", ""),
    ("no_image", "no member with an image extension"),
    ("unsafe_name", "member names must be flat and valid UTF-8, without folders, '..' or a leading '/'"),
    ("not_regular_file", "only regular files are read, no links, devices or sparse files"),
    ("several_images", "a .jpg and a .png, or the like, with one key"),
    ("duplicate_member", "the same key and extension twice"),
    ("image_too_large", f"more than {MAX_IMAGE_BYTES} bytes"),
    ("text_too_large", f"more than {MAX_TEXT_BYTES} bytes of text"),
)
_PROBLEM_INDEX = {reason: index for index, (reason, _) in enumerate(_PROBLEMS)}
_SAMPLE = np.dtype(
    [
        ("shard", np.uint32),
        ("problem", np.uint8),
        ("key_at", np.uint64),
        ("image_at", np.uint64),
        ("image_bytes", np.uint32),
        *((f"{extension}_at", np.uint64) for extension in TEXT_EXTENSIONS),
        *((f"{extension}_bytes", np.uint32) for extension in TEXT_EXTENSIONS),
    ]
)


class ShardSource:
    """Samples of `.tar` files in the order of their names. Takes about 80 bytes a sample and its key."""

    def __init__(self, shards: list[Path]) -> None:
        """Raises DatasetRejected: see `tar_members.walk`; `too_many_samples`."""
        self.num_shards = len(shards)
        self._shards = shards
        self._open: OrderedDict[int, int] = OrderedDict()
        keys = bytearray()
        rows: list[tuple[int, ...]] = []
        chunks: list[np.ndarray[Any, np.dtype[np.void]]] = []
        for shard_index in range(len(shards)):
            for sample in _group(walk(self._descriptor(shard_index), shard=shards[shard_index].name)):
                rows.append((shard_index, sample.problem(), len(keys), *sample.places()))
                keys += sample.key.encode("utf-8", "surrogateescape")
                if len(rows) == _ROWS_AT_ONCE:
                    chunks.append(np.array(rows, dtype=_SAMPLE))
                    rows = []
                    _check_number(len(chunks) * _ROWS_AT_ONCE)
        chunks.append(np.array(rows, dtype=_SAMPLE))
        self._samples = np.concatenate(chunks)
        self._keys = bytes(keys)

    def __len__(self) -> int:
        return len(self._samples)

    def __del__(self) -> None:
        for descriptor in self.__dict__.pop("_open", {}).values():
            os.close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def key(self, index: int) -> str:
        start = int(self._samples["key_at"][index])
        is_last = index + 1 == len(self._samples)
        end = len(self._keys) if is_last else int(self._samples["key_at"][index + 1])
        return self._keys[start:end].decode("utf-8", "surrogateescape")

    def read(self, index: int) -> RawSample:
        """The sample's bytes, read at their place. Raises BadSample."""
        row = self._samples[index].item()
        shard, problem, _, image_at, image_bytes = row[:5]
        if problem:
            raise BadSample(*_PROBLEMS[problem])
        try:
            descriptor = self._descriptor(shard)
            image = os.pread(descriptor, image_bytes, image_at)
            texts = {
                extension: os.pread(descriptor, size_bytes, offset)
                for extension, offset, size_bytes in zip(TEXT_EXTENSIONS, row[5:8], row[8:11], strict=True)
                if offset
            }
        except OSError as error:
            raise missing_file(error.strerror or "the shard cannot be read") from None
        if len(image) != image_bytes:
            raise missing_file("the shard became shorter while it was being read")
        return RawSample(image, texts)

    def has_text(self, extensions: frozenset[str]) -> bool:
        return any(bool(np.any(self._samples[f"{extension}_at"])) for extension in extensions)

    def files(self) -> Iterator[tuple[str, Path | str]]:
        return ((path.name, path) for path in self._shards)

    def _descriptor(self, shard: int) -> int:
        """An open descriptor; `pread` keeps no position, so processes that share it after a fork agree."""
        if shard in self._open:
            return self._open[shard]
        if len(self._open) >= MAX_OPEN_SHARDS:
            os.close(self._open.popitem(last=False)[1])
        descriptor = os.open(self._shards[shard], os.O_RDONLY | os.O_CLOEXEC)
        self._open[shard] = descriptor
        return descriptor


def _check_number(num_samples: int) -> None:
    if num_samples > MAX_SAMPLES:
        raise DatasetRejected(
            "too_many_samples", f"There are more than {MAX_SAMPLES} samples.", "Give fewer."
        )


class _Group:
    """The members of one sample, while they are collected."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.members: dict[str, Member] = {}
        self.reason = ""

    def add(self, suffix: str, member: Member) -> None:
        if suffix in self.members:
            self.reason = self.reason or "duplicate_member"
        if member.kind != "file":
            self.reason = self.reason or "not_regular_file"
        self.members[suffix] = member

    def problem(self) -> int:
        image = self._image()
        reason = self.reason
        if not reason and image is None:
            reason = "no_image"
        if not reason and sum(extension in self.members for extension in IMAGE_EXTENSIONS) > 1:
            reason = "several_images"
        if not reason and image is not None and image.size_bytes > MAX_IMAGE_BYTES:
            reason = "image_too_large"
        texts = (self.members.get(extension) for extension in TEXT_EXTENSIONS)
        if not reason and any(text is not None and text.size_bytes > MAX_TEXT_BYTES for text in texts):
            reason = "text_too_large"
        return _PROBLEM_INDEX[reason]

    def places(self) -> tuple[int, ...]:
        """Offset and size of the image, then the texts' offsets, then their sizes; 0 at 0 where absent."""
        image = self._image()
        texts = [self.members.get(extension) for extension in TEXT_EXTENSIONS]
        return (
            image.offset if image else 0,
            min(image.size_bytes, MAX_IMAGE_BYTES) if image else 0,
            *(text.offset if text else 0 for text in texts),
            *(min(text.size_bytes, MAX_TEXT_BYTES) if text else 0 for text in texts),
        )

    def _image(self) -> Member | None:
        return next((self.members[e] for e in IMAGE_EXTENSIONS if e in self.members), None)


def _group(members: Iterator[Member]) -> Iterator[_Group]:
    """Neighbours that share a key; a member with an unsafe name is a bad sample by itself."""
    current: _Group | None = None
    for member in members:
        name = member.name.removeprefix("./")
        if member.kind == "folder" or _META.match(name):
            continue
        key, suffix, is_safe = _split(name)
        if not is_safe:
            if current is not None:
                yield current
            current = None
            unsafe = _Group(printable(name))
            unsafe.reason = "unsafe_name"
            yield unsafe
            continue
        if not key or not suffix:
            continue  # a README, a hidden file: webdataset steps over them too
        if current is None or current.key != key:
            if current is not None:
                yield current
            current = _Group(key)
        current.add(suffix, member)
    if current is not None:
        yield current


def _split(name: str) -> tuple[str, str, bool]:
    """Key, lower-case suffix, and whether the name is flat and valid UTF-8."""
    key, _, suffix = name.partition(".")
    is_safe = "/" not in name and "\\" not in name and name.isprintable()
    return key, suffix.lower(), is_safe
