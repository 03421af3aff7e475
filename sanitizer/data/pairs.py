"""Image-caption pairs by index, from shards or loose files. Their order is `batches`'s.

Why a dataset is refused: docs/reference/errors.md lists the codes.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cleanclip.vocabulary.clip_text import as_clip_reads
from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.images import decode
from sanitizer.data.loose import LooseSource, loose
from sanitizer.data.shards import ShardSource
from sanitizer.data.skipping import BadSample, printable
from sanitizer.data.sources import Indexed, Source
from sanitizer.data.tar_headers import compressed_shard
from sanitizer.data.texts import caption_of


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One decoded pair: `image` in mode RGB at its own size, `caption` cleaned and never empty."""

    key: str
    image: Image.Image
    caption: str


class PairDataset(Indexed):
    """Pairs of a source by index, bad ones included: `read` raises BadSample for those."""

    def caption(self, index: int) -> str:
        """The caption of pair `index`; its image is not decoded. Raises BadSample."""
        return caption_of(self._source.read(index).texts)

    def read(self, index: int, at_least: int | None = None) -> Pair:
        """Read and decode pair `index`, for `at_least` see `decode`. Raises BadSample."""
        raw = self._source.read(index)
        caption = caption_of(raw.texts)
        return Pair(key=self.key(index), image=decode(raw.image, at_least), caption=caption)


def refuse_equal_captions(pairs: PairDataset, read: Callable[[str], Hashable] = as_clip_reads) -> None:
    """Raises DatasetRejected where all captions are the same: nothing can be told apart by them then.

    `read` gives what a model sees of a caption: two that differ in that are enough. Decodes no image, and as
    a rule reads two samples.
    """
    first: str | None = None
    num_equal = 0
    for index in range(len(pairs)):
        try:
            caption = pairs.caption(index)
        except BadSample:
            continue
        if first is not None and caption != first and read(caption) != read(first):
            return
        first = caption
        num_equal += 1
    if num_equal > 1:
        raise DatasetRejected(
            "captions_all_equal",
            f"All {num_equal} pairs have the same caption, as the model reads them.",
            "Give captions that describe each image; equal captions neither train a "
            "contrastive loss nor test retrieval.",
            where=pairs.key(0),
        )


def open_pairs(path: Path) -> PairDataset:
    """Pairs from shards, or from any other folder or file that `cleanclip datasets push` takes.

    Reads headers only. Raises DatasetRejected.
    """
    source = _source(path)
    if len(source) == 0:
        raise empty_dataset(path)
    if not source.has_text(frozenset({"txt", "json"})):
        raise DatasetRejected(
            "no_captions",
            f"None of the {len(source)} samples of {path.name} has a caption.",
            'Give image-caption pairs: a .txt, or a .json with a "caption", beside every image. To train on '
            "the images of a labelled dataset alone, use uar with trained_on: labelled_images.",
            where=printable(source.key(0)),
        )
    return PairDataset(source)


def _source(path: Path) -> Source:
    if not path.exists():
        raise not_found(path)
    if path.is_file() and path.suffix.lower() not in {".csv", ".tsv"}:
        return ShardSource([path])
    if path.is_dir() and (shards := find_shards(path)) and not _has_table(path):
        return ShardSource(shards)
    return LooseSource(loose(path, "pairs"))


def _has_table(folder: Path) -> bool:
    return any(entry.suffix.lower() in {".csv", ".tsv"} for entry in folder.iterdir())


def find_shards(folder: Path) -> list[Path]:
    """The `*.tar` files of `folder` by name. Raises DatasetRejected where a compressed one is among them."""
    entries = sorted(entry for entry in folder.iterdir() if entry.is_file())
    compressed = [
        entry for entry in entries if entry.name.lower().endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.xz"))
    ]
    if compressed:
        raise compressed_shard(compressed[0].name)
    return [entry for entry in entries if entry.suffix.lower() == ".tar"]


def not_found(path: Path) -> DatasetRejected:
    return DatasetRejected(
        "not_found", f"There is no file or folder {path.name}.", "Check the path.", where=str(path)
    )


def empty_dataset(path: Path) -> DatasetRejected:
    return DatasetRejected(
        "empty_dataset",
        f"{path.name} holds no samples.",
        "Give .tar shards, class folders, images with captions beside them, or a CSV or TSV file.",
        where=path.name,
    )
