"""What a scan measures of one model, before anything is judged: rows of a null, and lines of a study.

Two models' statistics can be compared where class names, images, options and seed are the same. Free of
torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen

from cleanclip.vocabulary.exclusions import Digest
from cleanclip.vocabulary.image_edits import Edit, bank
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Ratio, derived
from cleanclip.vocabulary.scan_options import PatternFamily, ScanOptions

Finite = Annotated[float, Interval(ge=-1e12, le=1e12)]


@dataclass(frozen=True, kw_only=True)
class CollapseRestart:
    """One inversion: `values` is ‖mean unit embedding‖² of the held-out images at the options' steps."""

    values: tuple[Ratio, ...]
    towards: Count | None = None
    """The number of the class that most held-out images go to at the end. None without class names."""
    num_sent: Count | None = None
    """How many do."""


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class CollapseFigures:
    """D2 of one family. `n` held-out images."""

    family: PatternFamily
    n: Count
    restarts: tuple[CollapseRestart, ...]
    agreed_class: Count | None = None
    """The class that most images go to, over all restarts."""
    agreement: Ratio | None = None
    """Their share, the mean of all restarts."""

    @derived
    def num_agreeing(self) -> Count | None:
        """Restarts of which it is the first class."""
        classes = [one.towards for one in self.restarts]
        return None if self.agreed_class is None else classes.count(self.agreed_class)

    @property
    def most_sent(self) -> tuple[int, int]:
        """The class that one restart leads the most images to, and how many. Raises ValueError without class
        names."""
        counts = [(-(one.num_sent or 0), one.towards) for one in self.restarts if one.towards is not None]
        sent, towards = min(counts)
        return towards, -sent


@dataclass(frozen=True, kw_only=True)
class EditFigures:
    """What one edit leaves of the residual in the cell that answers it most."""

    edit: Edit
    value: Finite
    """log₁₀(1 + q/v): q the squared whitened length of the mean residual, v the mean of clean images' own."""
    cell: Count
    """0: all images; else the number of the cell."""
    n: Count
    """Held-out images in it."""
    towards: Count | None = None
    """The class that the mean residual points to the most. None without class names."""


@dataclass(frozen=True, kw_only=True)
class ResidualFigures:
    """D3: one entry for each edit of the bank, in its order."""

    num_cells: Count
    """With enough images to count."""
    edits: tuple[EditFigures, ...]


@dataclass(frozen=True, kw_only=True)
class EditRise:
    """How many more images go to one class with an edit than without it."""

    edit: Edit
    rise: Finite
    """Of the class whose share rises the most, by how much. Without class names the rise of
    ‖mean unit embedding‖²."""
    towards: Count | None = None
    """The number of that class. None without class names."""


@dataclass(frozen=True, kw_only=True)
class EditsFigures:
    """D5: one entry for each edit of the bank but "none", in its order. `n` held-out images."""

    n: Count
    edits: tuple[EditRise, ...]


@dataclass(frozen=True, kw_only=True)
class DoseRate:
    """ASR at a part of a pattern's strength."""

    share: Ratio
    asr: Ratio


@dataclass(frozen=True, kw_only=True)
class PatternFigures:
    """What a pattern does on held-out images, as bare shares: those of a scan's hypothesis."""

    asr: Ratio
    pa: Ratio
    dose: Annotated[tuple[DoseRate, ...], MaxLen(20)] = ()


@dataclass(frozen=True, kw_only=True)
class NullFigures(PatternFigures):
    """Medians over reference models: each one's own most conspicuous pattern of the same detector and family,
    whatever class it leads to."""

    num_models: Count
    """That have such a pattern."""

    def words(self, name: Literal["asr", "pa"]) -> str:
        """ "clean models' median 21.0 % (n = 20)"."""
        return f"clean models' median {100 * getattr(self, name):.1f} % (n = {self.num_models})"


@dataclass(frozen=True, kw_only=True)
class ScanStatistics:
    """All that was measured of the model with `weights_sha256`."""

    weights_sha256: Digest
    class_names_sha256: Digest
    """Over the names in their order, as `null_set.names_sha256` makes it."""
    images_sha256: Digest
    """That of the labelled set."""
    seed: Count
    num_passes: Count
    """Images that went through the image tower, forward or forward and backward."""
    wall_s: Finite
    collapse: tuple[CollapseFigures, ...] = ()
    edits: EditsFigures | None = None
    residual: ResidualFigures | None = None
    anchor_sha256: Digest | None = None
    """Of the anchor's weights. None: the scan used no anchor."""


def misfits(statistics: ScanStatistics, options: ScanOptions, num_classes: int) -> Iterator[tuple[str, str]]:
    """Where the statistics are not those of a scan with these options and so many classes (0: without names),
    and what is wrong there."""
    yield from _of_collapse(statistics.collapse, options, num_classes)
    for detector in ("edits", "residual"):
        figures = getattr(statistics, detector)
        if (figures is not None) != (detector in options.detectors):
            yield detector, "does not agree with the detectors that were ordered"
    if (statistics.anchor_sha256 is not None) != (statistics.residual is not None):
        yield "anchor_sha256", "does not agree with the detectors that were ordered"
    if (edits := statistics.edits) is not None:
        yield from _of_edits("edits.edits", edits.edits, bank()[1:], num_classes)
        for place, one in enumerate(edits.edits):
            if not -1 <= one.rise <= 1 or (num_classes and not _is_count(one.rise * edits.n)):
                yield f"edits.edits[{place}].rise", f"is {one.rise:.6g}, no count of {edits.n} images"
    if (residual := statistics.residual) is not None:
        yield from _of_edits("residual.edits", residual.edits, bank(), num_classes)
        if max((one.cell for one in residual.edits), default=0) > options.residual.cells:
            yield "residual.edits", "are answered in more cells than were ordered"


def _of_edits(
    where: str, reported: Sequence[EditRise | EditFigures], edits: Sequence[Edit], num_classes: int
) -> Iterator[tuple[str, str]]:
    if [one.edit for one in reported] != [*edits]:
        yield where, "are not those of the bank, in its order"
    for place, one in enumerate(reported):
        if not _is_class(one.towards, num_classes):
            yield f"{where}[{place}].towards", f"is {one.towards}, of {num_classes} classes"


def _of_collapse(
    reported: Sequence[CollapseFigures], options: ScanOptions, num_classes: int
) -> Iterator[tuple[str, str]]:
    if [one.family for one in reported] != [*options.families]:
        yield "collapse", "is not of the families that were ordered"
    for place, one in enumerate(reported):
        sizes = {len(restart.values) for restart in one.restarts}
        if len(one.restarts) != options.collapse.restarts or sizes != {len(options.collapse.steps)}:
            yield f"collapse[{place}].restarts", "are not as many as were ordered"
        elif not _is_agreed(one, num_classes):
            yield f"collapse[{place}].agreement", "does not follow from the restarts"


def _is_agreed(one: CollapseFigures, num_classes: int) -> bool:
    """Whether so many images can go to one class over all restarts: of each no more than to its first."""
    classes = [one.agreed_class, *(restart.towards for restart in one.restarts)]
    counts = [restart.num_sent for restart in one.restarts]
    if not all(_is_class(number, num_classes) for number in classes):
        return False
    if num_classes == 0 or one.agreement is None:
        return num_classes == 0 and {one.agreement, *counts} == {None}
    sent = [0 if count is None else count for count in counts]
    least = sum(
        count for count, towards in zip(sent, classes[1:], strict=True) if towards == one.agreed_class
    )
    total = one.agreement * one.n * len(sent)
    return max(sent) <= one.n and _is_count(total) and least <= round(total) <= sum(sent)


def _is_class(number: int | None, num_classes: int) -> bool:
    return number is None if num_classes == 0 else number is not None and number < num_classes


def _is_count(number: float) -> bool:
    return isclose(number, round(number), rel_tol=1e-9, abs_tol=1e-6)
