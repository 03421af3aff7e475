"""What a scan measures of one model, before anything is judged: rows of a null, and lines of a study.

Two models' statistics can be compared where class names, images, options and seed are the same. Free of
torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen

from cleanclip.spec.image_edits import Edit
from cleanclip.spec.measures import Count, Ratio
from cleanclip.spec.scan_options import PatternFamily

Finite = Annotated[float, Interval(ge=-1e12, le=1e12)]


@dataclass(frozen=True, kw_only=True)
class CollapseRestart:
    """One inversion: `values` is ‖mean unit embedding‖² of the held-out images at the options' steps."""

    values: tuple[Ratio, ...]
    towards: Count | None = None
    """The number of the class that most held-out images go to at the end. None without class names."""
    num_sent: Count | None = None
    """How many do."""


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
    num_agreeing: Count | None = None
    """Restarts of which it is the first class."""


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

    weights_sha256: str
    class_names_sha256: str
    """Over the names in their order, as `null_set.names_sha256` makes it."""
    images_sha256: str
    """That of the labelled set."""
    seed: Count
    num_passes: Count
    """Images that went through the image tower, forward or forward and backward."""
    wall_s: Finite
    collapse: tuple[CollapseFigures, ...] = ()
    edits: EditsFigures | None = None
    residual: ResidualFigures | None = None
    anchor_sha256: str | None = None
    """Of the anchor's weights. None: the scan used no anchor."""
