"""A folder of loose files as a source of raw samples: what `cleanclip datasets push` takes, by the same code.

Its digest is that of the dataset that it becomes when it is pushed. What cannot be used comes last, as bad
samples. Decodes no image.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cleanclip.errors import Unreadable
from cleanclip.local_data import contents_of
from cleanclip.packing import Contents, digests, read_image, text_extension
from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.skipping import BadSample, missing_file, printable
from sanitizer.data.sources import RawSample


class LooseSource:
    """Images of class folders, with captions beside them, or of a CSV or TSV file."""

    num_shards = 1

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._root = contents.root.resolve()

    def __len__(self) -> int:
        return len(self._contents.samples) + len(self._contents.left_out)

    def key(self, index: int) -> str:
        num_good = len(self._contents.samples)
        if index >= num_good:
            return self._contents.left_out[index - num_good].name
        return self._contents.samples[index].name

    def read(self, index: int) -> RawSample:
        """Raises BadSample."""
        num_good = len(self._contents.samples)
        if index >= num_good:
            bad = self._contents.left_out[index - num_good]
            raise BadSample(bad.reason, bad.detail)
        sample = self._contents.samples[index]
        try:
            return RawSample(read_image(sample), {text_extension(self._contents): sample.text})
        except (OSError, Unreadable):
            raise missing_file("the file cannot be read, or has changed") from None

    def has_text(self, extensions: frozenset[str]) -> bool:
        return text_extension(self._contents) in extensions and bool(self._contents.samples)

    def files(self) -> Iterator[tuple[str, str]]:
        """Name and digest of each file that it becomes."""
        try:
            yield from digests(self._contents)
        except (OSError, Unreadable) as error:
            raise _bad_folder(self._root, str(error)) from error


def loose(path: Path, kind: Literal["pairs", "labelled"]) -> Contents:
    """What the folder, or the CSV or TSV file, holds. Raises DatasetRejected (`bad_folder`)."""
    try:
        return contents_of(path, kind=kind)
    except Unreadable as error:
        raise _bad_folder(path, str(error)) from error


def _bad_folder(path: Path, why: str) -> DatasetRejected:
    return DatasetRejected(
        "bad_folder",
        f"{printable(path.name)} cannot be read as a dataset: {printable(why, 1000)}",
        "Give .tar shards, class folders, images with captions beside them, or a CSV or TSV file.",
        where=printable(path.name),
    )
