"""What every kind of storage looks like to the readers: a list of raw samples."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from cleanclip.vocabulary.exclusions import ExcludedSamples
from sanitizer.checkpoints.digests import dataset_sha256
from sanitizer.data.skipping import printable


@dataclass(frozen=True, slots=True)
class RawSample:
    """Undecoded bytes of one sample: the image, and its texts by extension ('txt', 'json', 'cls')."""

    image: bytes
    texts: Mapping[str, bytes]


class Source(Protocol):
    """Random access to raw samples; safe to use from several processes after a fork."""

    num_shards: int

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """The sample's name, for messages; may hold anything printable or not."""

    def read(self, index: int) -> RawSample:
        """Raises BadSample."""

    def has_text(self, extensions: frozenset[str]) -> bool:
        """Whether any sample has a text of one of these extensions."""

    def files(self) -> Iterator[tuple[str, Path | str]]:
        """Name and path, or digest, of every file, in a fixed order."""


class Selected:
    """Some samples of another source, in the order of `indices`; its files are those of the other."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source, self._indices = source, indices
        self.num_shards = source.num_shards

    def __len__(self) -> int:
        return len(self._indices)

    def key(self, index: int) -> str:
        return self._source.key(self._indices[index])

    def read(self, index: int) -> RawSample:
        """Raises BadSample."""
        return self._source.read(self._indices[index])

    def has_text(self, extensions: frozenset[str]) -> bool:
        """Of the whole source."""
        return self._source.has_text(extensions)

    def files(self) -> Iterator[tuple[str, Path | str]]:
        """Of the whole source."""
        return self._source.files()


class Indexed:
    """The samples of a source by index."""

    excluded: ExcludedSamples | None = None
    """What was left out of the source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    @property
    def num_shards(self) -> int:
        return self._source.num_shards

    @cached_property
    def files_sha256(self) -> str:
        """Over the names and digests of all files, in order. Reads every byte once, the first time."""
        return dataset_sha256(self.files())

    @property
    def sha256(self) -> str:
        """Of these samples: `files_sha256`, and another digest where some are left out."""
        if self.excluded is None:
            return self.files_sha256
        return hashlib.sha256(f"without:{self.files_sha256}:{self.excluded.list_sha256}".encode()).hexdigest()

    def files(self) -> Iterator[tuple[str, Path | str]]:
        """Name and path of every file that the samples are read from."""
        return self._source.files()

    def key(self, index: int) -> str:
        """The name of the sample, for messages."""
        return printable(self._source.key(index))

    def raw(self, index: int) -> RawSample:
        """The sample's files, not decoded. Raises BadSample."""
        return self._source.read(index)

    def raw_image(self, index: int) -> bytes:
        """The image's file, not decoded. Raises BadSample."""
        return self.raw(index).image

    def without(self, left_out: Sequence[int], why: ExcludedSamples) -> Self:
        """The same dataset without the samples at these places; the others are counted from 0 again."""
        is_kept = np.ones(len(self), dtype=bool)
        is_kept[list(left_out)] = False
        others = copy.copy(self)
        others._source = Selected(self._source, np.flatnonzero(is_kept).tolist())
        others.excluded = why
        return others
