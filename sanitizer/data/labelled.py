"""Labelled test images by index, from shards or loose files. Handles classes and templates; needs no model.

Beside the samples lie `classnames.txt` (one name a line; line i is class i, counted from 0) and, if
wanted, `zeroshot_classification_templates.txt` (one template a line, `{c}` for the class name), as in
CLIP_benchmark. A sample's label is its `.cls` (the class index), else "cls", "label" or "class" of its
`.json` (index or name), else the class name in its `.txt`; where `.cls` and `.json` give two labels, it is
a bad sample. In class folders the folder is the label: its
name is the class name, or, where classnames.txt lists other names, the i-th folder is the i-th line.
"""

from __future__ import annotations

import copy
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME, TEMPLATES_NAME, LabelledPart
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.templates import check_templates
from sanitizer.data.images import decode
from sanitizer.data.loose import LooseSource, loose
from sanitizer.data.pairs import empty_dataset, find_shards, not_found
from sanitizer.data.shards import ShardSource
from sanitizer.data.skipping import BadSample, bad_json, printable
from sanitizer.data.sources import Indexed, Source
from sanitizer.data.templates import IMAGENET_80, parse_templates
from sanitizer.data.texts import clean, decode_text, json_object

MAX_CLASSES = 100_000
MAX_CLASS_NAME_LENGTH = 200
_LABEL_FIELDS = ("cls", "label", "class")
MAX_LISTING_BYTES = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One decoded test image: `image` in mode RGB at its own size, `label` an index into the class names."""

    key: str
    image: Image.Image
    label: int


class LabelledDataset(Indexed):
    """Labelled images by index, bad ones included: `read` raises BadSample for those."""

    def __init__(
        self,
        source: Source,
        class_names: tuple[str, ...],
        templates: tuple[str, ...] | None,
        listings: list[Path],
    ) -> None:
        """`listings` are the text files beside the samples; they are part of the digest."""
        super().__init__(source)
        self.class_names = class_names
        self.templates = templates
        self._listings = listings
        self._part: LabelledPart | None = None

    def as_part(self, part: LabelledPart) -> LabelledDataset:
        """The same samples, known as a part of another dataset, by its digest."""
        known = copy.copy(self)
        known.files_sha256, known.excluded, known._part = part.dataset_sha256, part.excluded, part
        return known

    @property
    def sha256(self) -> str:
        """Another one for a part than for the whole."""
        whole = super().sha256
        if self._part is None:
            return whole
        return hashlib.sha256(f"part:{whole}:{self._part.num_withheld}".encode()).hexdigest()

    @cached_property
    def _label_of_name(self) -> dict[str, int | None]:
        """Name → label; None for a name that stands for several classes."""
        labels: dict[str, int | None] = {}
        for label, name in enumerate(self.class_names):
            labels[name] = None if name in labels else label
        return labels

    def read(self, index: int, at_least: int | None = None) -> Labelled:
        """Read and decode image `index`, for `at_least` see `decode`. Raises BadSample."""
        raw = self._source.read(index)
        label = self._label(raw.texts)
        return Labelled(key=self.key(index), image=decode(raw.image, at_least), label=label)

    def files(self) -> Iterator[tuple[str, Path | str]]:
        """The text files first."""
        for listing in self._listings:
            yield listing.name, listing
        yield from super().files()

    def _label(self, texts: Mapping[str, bytes]) -> int:
        label = self._first_label(texts)
        others = [other for other in self._labels_in_json(texts) if other != label]
        if others:
            raise BadSample("labels_disagree", f"class {label} and class {others[0]}")
        return label

    def _labels_in_json(self, texts: Mapping[str, bytes]) -> Iterator[int]:
        """Those that are labels: beside a .cls, a .json may use the same words for something else."""
        with suppress(BadSample):
            fields = json_object(texts.get("json", b"{}"))
            for value in (fields[name] for name in _LABEL_FIELDS if name in fields):
                with suppress(BadSample):
                    yield (
                        self._by_name(clean(value)) if isinstance(value, str) else self._by_index(str(value))
                    )

    def _first_label(self, texts: Mapping[str, bytes]) -> int:
        if "cls" in texts:
            return self._by_index(decode_text(texts["cls"]).strip())
        if "json" in texts:
            fields = json_object(texts["json"])
            value = next((fields[name] for name in _LABEL_FIELDS if name in fields), None)
            if isinstance(value, int) and not isinstance(value, bool):
                return self._by_index(str(value))
            if isinstance(value, str):
                return self._by_name(clean(value))
            if value is not None:
                raise bad_json("the label is neither a whole number nor a string")
        if "txt" in texts:
            return self._by_name(clean(decode_text(texts["txt"])))
        raise BadSample("no_label", "no .cls, no label in .json, no class name in .txt")

    def _by_index(self, text: str) -> int:
        # isdecimal alone would admit other scripts' digits and any length.
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) < len(self.class_names)):
            raise BadSample(
                "unknown_label",
                f"'{printable(text, 20)}' is not an index into {len(self.class_names)} class names",
                text,
            )
        return int(text)

    def _by_name(self, name: str) -> int:
        if name not in self._label_of_name:
            raise BadSample("unknown_label", f"'{printable(name, 40)}' is not in the class names", name)
        label = self._label_of_name[name]
        if label is None:
            raise BadSample("unknown_label", f"'{printable(name, 40)}' stands for several classes", name)
        return label


def templates_of(
    options: AuditOptions | ScanOptions, labelled: LabelledDataset, *, where: str = "audit"
) -> tuple[str, ...]:
    """Those of the options, else of the set, else ImageNet's 80; `where` the options stand in the order.

    Raises OptionsRejected `bad_template`.
    """
    for refusal in check_templates(options.templates, where=f"{where}.templates"):
        raise refusal
    return options.templates or labelled.templates or IMAGENET_80


def open_labelled(path: Path) -> LabelledDataset:
    """A labelled set from shards, or from any other folder or file that `cleanclip datasets push` takes.

    Reads headers and the text files only. Raises DatasetRejected.
    """
    if not path.exists():
        raise not_found(path)
    shards = find_shards(path) if path.is_dir() else []
    if not shards and (path.is_dir() or path.suffix.lower() in {".csv", ".tsv"}):
        return _of_loose_files(path)
    if not shards:
        raise _no_class_names(f"{path.name} is a single file")
    listings = [path / name for name in (CLASS_NAMES_NAME, TEMPLATES_NAME) if (path / name).is_file()]
    texts = {listing.name: _listing(listing) for listing in listings}
    if CLASS_NAMES_NAME not in texts:
        raise _no_class_names(f"{path.name} holds shards but no {CLASS_NAMES_NAME}")
    names = _class_names(texts[CLASS_NAMES_NAME])
    templates = None
    if TEMPLATES_NAME in texts:
        templates = parse_templates(texts[TEMPLATES_NAME], where=TEMPLATES_NAME)
    return _labelled(path, ShardSource(shards), names, templates, listings)


def _of_loose_files(path: Path) -> LabelledDataset:
    for name in (CLASS_NAMES_NAME, TEMPLATES_NAME):
        if (path / name).is_file():
            _listing(path / name)  # only what is strict UTF-8
    contents = loose(path, "labelled")
    names = _class_names("\n".join(contents.class_names or ()))
    templates = None
    if contents.templates:
        templates = parse_templates("\n".join(contents.templates), where=TEMPLATES_NAME)
    return _labelled(path, LooseSource(contents), names, templates, [])


def _labelled(
    path: Path,
    source: Source,
    names: tuple[str, ...],
    templates: tuple[str, ...] | None,
    listings: list[Path],
) -> LabelledDataset:
    if len(source) == 0:
        raise empty_dataset(path)
    if not source.has_text(frozenset({"cls", "json", "txt"})):
        raise DatasetRejected(
            "no_labels",
            f"None of the {len(source)} samples of {path.name} has a label.",
            "Give a .cls with the class index beside every image.",
            where=printable(source.key(0)),
        )
    return LabelledDataset(source, names, templates, listings)


def _no_class_names(what: str) -> DatasetRejected:
    return DatasetRejected(
        "no_class_names",
        f"{what}.",
        f"Give a folder with the shards and a {CLASS_NAMES_NAME}: one class name a line, line 1 for label 0.",
        where=CLASS_NAMES_NAME,
    )


def _listing(path: Path) -> str:
    """A text file beside the samples, strict UTF-8. Raises DatasetRejected."""
    code = "bad_class_names" if path.name == CLASS_NAMES_NAME else "bad_template"
    with path.open("rb") as stream:
        data = stream.read(MAX_LISTING_BYTES + 1)
    if len(data) > MAX_LISTING_BYTES:
        raise DatasetRejected(code, f"{path.name} is too large.", "Give one entry a line.", where=path.name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetRejected(
            code, f"{path.name} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.", where=path.name
        ) from None


def _is_unseen(character: str) -> bool:
    """Zero-width, a tag, private: two names would look the same. Persian and others need the joiners."""
    return unicodedata.category(character) in {"Cf", "Co", "Cn"} and character not in "\u200c\u200d"


def _class_names(text: str) -> tuple[str, ...]:
    """One a line; blank lines at the end are dropped. Raises DatasetRejected `bad_class_names`."""
    # Only what every program takes for the end of a line: splitlines() would shift the labels at U+2028.
    names = tuple(clean(line) for line in text.rstrip().replace("\r\n", "\n").split("\n"))
    if not 1 <= len(names) <= MAX_CLASSES:
        problem = f"has {len(names)} lines, not 1 to {MAX_CLASSES}"
    elif not all(names):
        problem = f"has an empty line ({names.index('') + 1})"
    elif unseen := next((character for character in "".join(names) if _is_unseen(character)), None):
        problem = f"has an invisible character (U+{ord(unseen):04X})"
    elif max(map(len, names)) > MAX_CLASS_NAME_LENGTH:
        problem = f"has a line of more than {MAX_CLASS_NAME_LENGTH} characters"
    else:
        return names
    raise DatasetRejected(
        "bad_class_names",
        f"{CLASS_NAMES_NAME} {problem}.",
        "Give one class name a line, line 1 for label 0.",
        where=CLASS_NAMES_NAME,
    )
