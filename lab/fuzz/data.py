"""The readers of datasets as targets: shards, images, captions and the texts beside them."""

from __future__ import annotations

from pathlib import Path

from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME
from lab.fuzz.target import Target, check_refusal, kept, png_checksums, tar_checksums
from sanitizer.data.images import decode
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import PairDataset, open_pairs
from sanitizer.data.skipping import BadSample
from sanitizer.data.templates import parse_templates
from sanitizer.data.texts import caption_of

MAX_SAMPLES = 50
"""Of one dataset; the rest would say nothing new."""


def _read_samples(dataset: PairDataset | LabelledDataset) -> None:
    for index in range(min(len(dataset), MAX_SAMPLES)):
        assert dataset.key(index).isprintable()
        try:
            dataset.read(index)
        except BadSample as bad:
            check_refusal(bad)
    assert len(dataset.sha256) == 64


def _tar(data: bytes, folder: Path) -> None:
    """As a shard of pairs and as one of a labelled set; half of them with their checksums put right."""
    if data[:1] == b"R":
        data = tar_checksums(data[1:])
    shard = kept(data, folder, "data/shard.tar")
    (folder / "data" / CLASS_NAMES_NAME).write_text("cat\ndog\n", encoding="utf-8")
    for open_it in (open_pairs, open_labelled):
        try:
            _read_samples(open_it(shard.parent))
        except SanitizerError as refusal:
            check_refusal(refusal)


def _image(data: bytes, _folder: Path) -> None:
    image = decode(png_checksums(data))
    assert image.mode == "RGB"
    assert len(image.tobytes()) == 3 * image.width * image.height


def _text(data: bytes, folder: Path) -> None:
    """As caption, JSON, templates, class names or manifest, by the first byte."""
    kind, body = data[:1], data[1:]
    if kind in b"tj" and kind:
        caption = caption_of({"txt" if kind == b"t" else "json": body})
        assert caption.strip()
        assert not any(ord(character) < 32 for character in caption)
    elif kind == b"p":
        parse_templates(body.decode("utf-8", "replace"), where="templates")
    elif kind == b"c":
        (folder / "labelled" / "a").mkdir(parents=True, exist_ok=True)
        kept(body, folder, f"labelled/{CLASS_NAMES_NAME}")
        open_labelled(folder / "labelled")
    else:
        _read_samples(open_pairs(kept(body, folder, "manifest/pairs.csv")))


TARGETS = {
    "tar": Target(read=_tar, max_bytes=64 * 1024),
    "image": Target(read=_image, max_bytes=32 * 1024),
    "text": Target(read=_text, max_bytes=16 * 1024),
}
