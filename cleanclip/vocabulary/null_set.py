"""A null set: what was measured of reference models, by which a scan is judged. One JSON file. Free of torch.

It holds the digests of all that went in: weights, class names, images, options, seed. `sha256` is over the
document without that field, as `digest_of` makes it, so that a damaged file is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from statistics import median
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import TypeAdapter, ValidationError

from cleanclip.vocabulary.bounds import STRICT, ShortText
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.exclusions import Digest
from cleanclip.vocabulary.image_edits import bank
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Ratio, derived
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from cleanclip.vocabulary.scan_statistics import (
    DoseRate,
    NullFigures,
    PatternFigures,
    ScanStatistics,
    misfits,
)
from cleanclip.vocabulary.strict_json import MOST_PARTS_OF_MANY, parse_bounded

MAX_NULL_BYTES = 64 * 2**20
NULL_VERSION = 1
MAX_ABOUT = 2_000
"""Characters."""
Chosen = Literal["by_name", "by_auto"]
"""Whether an order named its null, or left the choice to the service, which then takes of the nulls that fit
one whose signature was checked before any other, of these one with the most models, of these the one added
first. A null that is added later so changes no choice unless it is better."""
_MOST_SHOWN = 3
"""Of the options that differ."""
_DIGEST_CHARACTERS = 12
_MOST_CHARACTERS = 60
"""Of an option's value in a sentence."""


@dataclass(frozen=True, kw_only=True)
class NullPattern(PatternFigures):
    """The most conspicuous pattern of one detector and family on a reference model, by its own statistic,
    measured as a scan measures its hypotheses."""

    detector: Detector
    family: ShortText
    """A family of patterns, "patch:0.25"; of edits their kind, "tint"."""


@dataclass(frozen=True, kw_only=True)
class NullModel:
    """One reference model. `source` is where it came from; of several that were trained from one `base` one
    counts."""

    source: ShortText
    base: ShortText | None = None
    statistics: ScanStatistics
    patterns: Annotated[tuple[NullPattern, ...], MaxLen(64)]
    """Empty where no pattern has a target: without class names."""


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class NullUsed:
    """The null that the scan was judged by."""

    name: str
    sha256: str
    about: str
    num_models: Count
    """Those that count: of several from one base one does."""
    code_version: ShortText
    """Of the code that measured them."""
    fine_tunes_of: ShortText | None = None
    """Of which base all of them are fine-tunes: they judge another fine-tune of it, and no other model."""
    chosen: Chosen | None = None
    """By whom. None of `python -m sanitizer`, which is given a file."""

    @derived
    def smallest_p(self) -> Ratio:
        """That so many models allow."""
        return 1 / (self.num_models + 1)

    @property
    def why(self) -> str:
        """Why it is this one, as a sentence."""
        if self.chosen is None:
            return ""
        return (
            "The order named it."
            if self.chosen == "by_name"
            else "The order left the choice to the service: of the nulls that fit and are not of fine-tunes "
            "of one model, signed ones come first, then those with the most models, then the one added first."
        )


@dataclass(frozen=True, kw_only=True)
class NullSet:
    """Reference models of one architecture, measured on one image set with one class list and options, and
    with one anchor where there is one.

    `about` says what the models are, and that they were never poisoned as far as whoever built it knows.
    """

    __pydantic_config__ = STRICT

    kind: Literal["null_set"] = "null_set"
    version: Literal[1] = 1
    name: ShortText
    about: Annotated[str, MaxLen(MAX_ABOUT)] = ""
    created_at: datetime
    code_version: ShortText
    architecture: dict[str, Any]
    """As in a report's `checkpoint.architecture`."""
    class_names_sha256: Digest
    num_classes: Count
    images_sha256: Digest
    options: ScanOptions
    seed: int
    models: Annotated[tuple[NullModel, ...], MaxLen(10_000)]
    sha256: str = ""
    anchor_sha256: Digest | None = None
    fine_tunes_of: ShortText | None = None
    """As in `NullUsed`."""

    @property
    def counted(self) -> tuple[NullModel, ...]:
        """The models that count: of several from one base the one with the lowest digest, unless the null is
        of fine-tunes."""
        if self.fine_tunes_of is not None:
            return self.models
        of_base: dict[str, NullModel] = {}
        for model in sorted(self.models, key=lambda one: one.statistics.weights_sha256):
            of_base.setdefault(model.base or model.statistics.weights_sha256, model)
        chosen = {id(model) for model in of_base.values()}
        return tuple(model for model in self.models if id(model) in chosen)

    @property
    def used(self) -> NullUsed:
        """What the report of a scan says of it."""
        return NullUsed(
            name=self.name,
            sha256=self.sha256,
            about=self.about,
            num_models=len(self.counted),
            code_version=self.code_version,
            fine_tunes_of=self.fine_tunes_of,
        )

    def figures_of(self, detector: Detector, family: str) -> NullFigures | None:
        """What such patterns do on clean models: medians over the models that count. None: none has one.

        Of the same family, because families differ in how much they change an image. Of whatever class,
        because each model has an easiest class of its own.
        """
        known = [
            pattern
            for model in self.counted
            for pattern in model.patterns
            if (pattern.detector, pattern.family) == (detector, family)
        ]
        if not known:
            return None
        asr_at: dict[float, list[float]] = {}
        for point in (point for pattern in known for point in pattern.dose):
            asr_at.setdefault(point.share, []).append(point.asr)
        return NullFigures(
            num_models=len(known),
            asr=median(one.asr for one in known),
            pa=median(one.pa for one in known),
            dose=tuple(DoseRate(share=share, asr=median(asr_at[share])) for share in sorted(asr_at)),
        )


_BUILD_AGAIN = "Give the file as `python -m sanitizer null build` wrote it, or build it again."


def null_refused(code: str, message: str, remedy: str = _BUILD_AGAIN) -> OptionsRejected:
    """Refuses a file that is not a null set, is damaged, or is of another version. `code` says which."""
    return OptionsRejected(code, message, remedy, where="null")


def null_mixed(what: str) -> OptionsRejected:
    return null_refused(
        "null_mixed",
        f"The null set's models are not of one architecture, or were not measured alike: {what}.",
        "Build one null set for each architecture, and measure all its models by one command.",
    )


def null_repeated(what: str) -> OptionsRejected:
    return null_refused(
        "null_repeated",
        f"The null set counts a model twice: {what}.",
        "Name each model once: a model that counts twice makes the null look larger than it is.",
    )


def unreadable_null(why: object) -> OptionsRejected:
    """Refuses a file of which nothing can be said but `why`."""
    return null_refused("null_unreadable", f"The null set cannot be read: {why}.")


def names_sha256(class_names: Sequence[str]) -> str:
    """Of a class list: over its JSON. The order counts."""
    return hashlib.sha256(json.dumps(list(class_names)).encode()).hexdigest()


def sealed(null: NullSet) -> NullSet:
    """With its own digest."""
    return replace(null, sha256=digest_of(null))


def digest_of(null: NullSet) -> str:
    """SHA-256 over its JSON without `sha256`, keys sorted."""
    document = {name: value for name, value in _document(null).items() if name != "sha256"}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def dump_null(null: NullSet) -> bytes:
    """The file: one line for each model."""
    return json.dumps(_document(null), indent=None).encode() + b"\n"


def load_null(data: bytes) -> NullSet:
    """Raises OptionsRejected (`null_unreadable`, `null_damaged`, `null_version`, `null_mixed`,
    `null_repeated`)."""
    if len(data) > MAX_NULL_BYTES:
        raise null_refused("null_unreadable", f"The null set is larger than {MAX_NULL_BYTES // 2**20} MiB.")
    try:
        document = parse_bounded(data, most_parts=MOST_PARTS_OF_MANY)
    except ValueError as error:
        raise unreadable_null(error) from error
    if not isinstance(document, dict) or document.get("kind") != "null_set":
        raise null_refused("null_unreadable", "The file is not a null set.")
    if document.get("version") != NULL_VERSION:
        version = str(document.get("version"))[:40]
        raise null_refused(
            "null_version", f"The null set has version {version}; this program reads {NULL_VERSION}."
        )
    try:
        null = _adapter().validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise null_refused(
            "null_damaged", f"The null set is damaged at '{where}': {first['msg']}."
        ) from error
    if digest_of(null) != null.sha256:
        raise null_refused("null_damaged", "The null set is damaged: its digest is not that of its content.")
    if not null.models:
        raise null_refused("null_damaged", "The null set is damaged: it has no model.")
    if mixed := next(_mixed(null), None):
        raise null_mixed(mixed)
    weights = [model.statistics.weights_sha256 for model in null.models]
    if len(set(weights)) < len(weights):
        raise null_repeated("two have the same weights")
    return null


def _mixed(null: NullSet) -> Iterator[str]:
    """Which model was not measured as the null says that all of them were, and where."""
    groups = {("collapse", family.group) for family in null.options.families} | {
        (detector, edit.group)
        for detector in ("edits", "residual")
        if detector in null.options.detectors
        for edit in bank()
    }
    for number, model in enumerate(null.models):
        reported = model.statistics
        for what in ("class_names_sha256", "images_sha256", "seed", "anchor_sha256"):
            if getattr(reported, what) != getattr(null, what):
                yield f"models[{number}].statistics.{what} is not the null's"
        for where, wrong in misfits(reported, null.options, null.num_classes):
            yield f"models[{number}].statistics.{where} {wrong}"
        if _sizes(reported) != _sizes(null.models[0].statistics):
            yield f"models[{number}].statistics are of another number of images"
        patterns = [(one.detector, one.family) for one in model.patterns]
        if len(set(patterns)) < len(patterns) or not groups.issuperset(patterns):
            yield f"models[{number}].patterns are not one of each family"


def _sizes(statistics: ScanStatistics) -> tuple[set[int], int | None]:
    """Held-out images by detector. Of `residual` they differ: a cell is another set of images."""
    num_edited = None if statistics.edits is None else statistics.edits.n
    return {one.n for one in statistics.collapse}, num_edited


@dataclass(frozen=True, kw_only=True)
class ScanToJudge:
    """What a scan is of, and what it measures with: a null that judges it must share all of it."""

    architecture: dict[str, Any]
    class_names: Sequence[str]
    images_sha256: str
    options: ScanOptions
    seed: int
    anchor_sha256: str | None = None


def refusals(null: NullSet, scan: ScanToJudge, *, holds_suspect: bool) -> Iterator[OptionsRejected]:
    """Why this null cannot judge this scan. `holds_suspect`: whether the scanned model is one of its own."""
    if holds_suspect:
        yield OptionsRejected(
            "null_holds_the_suspect",
            f"The model that is scanned is one of the models of the null set '{null.name}'.",
            "Choose a null of other models, or none: the scan then gives ranks and no p-value.",
            where="null",
        )
    if found := list(differences(null, scan)):
        values = "".join(f" {sentence}" for sentence in _differing_values(null, scan))
        yield OptionsRejected(
            "null_does_not_fit",
            f"The null set '{null.name}' differs in: {', '.join(found)}.{values}",
            "Choose or build a null for this model, its images and its options, or choose none: the scan "
            "then gives ranks and no p-value.",
            where="null",
        )


def differences(null: NullSet, scan: ScanToJudge) -> Iterator[str]:
    """What keeps a scan from being judged by this null: "architecture", "class list", "image set", "options",
    "seed" or "anchor"."""
    if null.architecture != scan.architecture:
        yield "architecture"
    if null.class_names_sha256 != names_sha256(scan.class_names):
        yield "class list"
    if null.images_sha256 != scan.images_sha256:
        yield "image set"
    if _measured_by(null.options) != _measured_by(scan.options):
        yield "options"
    if null.seed != scan.seed:
        yield "seed"
    if null.anchor_sha256 != scan.anchor_sha256:
        yield "anchor"


def _differing_values(null: NullSet, scan: ScanToJudge) -> list[str]:
    """Sentences with both values of what keeps a scan from being judged by this null, of the architecture
    and of the options the first few."""
    digests = (
        ("Class lists", null.class_names_sha256, names_sha256(scan.class_names)),
        ("Image sets", null.images_sha256, scan.images_sha256),
        ("Anchors", null.anchor_sha256, scan.anchor_sha256),
    )
    sentences = [
        f"{what}: {_digest(theirs)} in the null and {_digest(ours)} in the scan."
        for what, theirs, ours in digests
        if theirs != ours
    ]
    if named := _first(_differing("", null.architecture, scan.architecture)):
        sentences.insert(0, f"Architectures: {named}.")
    if null.seed != scan.seed:
        sentences.append(f"Seeds: {null.seed} in the null and {scan.seed} in the scan.")
    if named := _differing_options(null, scan.options):
        sentences.append(f"Options that differ: {named}.")
    return sentences


def _digest(sha256: str | None) -> str:
    return "none" if sha256 is None else f"SHA-256 {sha256[:_DIGEST_CHARACTERS]}…"


def _differing_options(null: NullSet, options: ScanOptions) -> str:
    adapter = TypeAdapter(ScanOptions)
    theirs = adapter.dump_python(_measured_by(null.options), mode="json")
    return _first(_differing("", theirs, adapter.dump_python(_measured_by(options), mode="json")))


def _first(differing: Iterator[str]) -> str:
    """The first few, and how many more there are."""
    found = [*differing]
    more = [f"and {len(found) - _MOST_SHOWN} more"] if len(found) > _MOST_SHOWN else []
    return ", ".join([*found[:_MOST_SHOWN], *more])


def _differing(where: str, theirs: Any, ours: Any) -> Iterator[str]:
    """Values that differ, by their places; lists of different lengths as they stand."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            yield from _differing(f"{where}.{name}".lstrip("."), theirs.get(name), ours.get(name))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for place, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differing(f"{where}.{place}", one, other)
    elif theirs != ours:
        yield f"{where} {_shown(theirs)} in the null and {_shown(ours)} in the scan"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _measured_by(options: ScanOptions) -> ScanOptions:
    """The options without those that change no statistic."""
    neutral = ScanOptions()
    return replace(
        options,
        vocabulary=neutral.vocabulary,
        significance=neutral.significance,
        images_at_once=neutral.images_at_once,
        num_examples=neutral.num_examples,
    )


def _document(null: NullSet) -> dict[str, Any]:
    document: dict[str, Any] = _adapter().dump_python(null, mode="json")
    return document


@cache
def _adapter() -> TypeAdapter[NullSet]:
    return TypeAdapter(NullSet)
