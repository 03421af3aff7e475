"""Scans on the wire: how one was ordered, and what it found. The whole is in its report.json."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from app.db.models.job import Job
from app.schemas.common import CheckpointId, DatasetId, WireOut
from cleanclip.vocabulary.measures import Count, Estimate, Ratio
from cleanclip.vocabulary.null_set import Chosen, NullUsed
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from cleanclip.vocabulary.scan_report import DosePoint
from cleanclip.vocabulary.scan_statistics import Finite, NullFigures
from cleanclip.vocabulary.scan_verdicts import ScanVerdict


class ChosenNull(WireOut):
    """The null that the scan is judged by, as it was chosen when the scan was ordered."""

    id: str
    name: str
    sha256: str
    chosen: Chosen = Field(
        description="`by_name`: the order named it. `by_auto`: of the nulls that fitted when it was ordered, "
        "signed ones first, then those with the most models, then the one added first."
    )


@dataclass(frozen=True, kw_only=True)
class OrderedScan(ScanOptions):
    """The options of a scan, also of one that a cleaning begins with, its labelled dataset, the null that was
    chosen (null: none fits), and the anchor that it trusts."""

    dataset_id: DatasetId
    null: ChosenNull | None
    anchor_checkpoint_id: CheckpointId | None

    @classmethod
    def of(cls, row: Job) -> dict[str, Any] | None:
        """None for a job that is no scan."""
        options = row.spec.get("scan")
        if options is None:
            return None
        return {
            **options,
            "dataset_id": row.labelled_dataset_id,
            "null": row.spec.get("null"),
            "anchor_checkpoint_id": row.anchor_checkpoint_id,
        }


class ScanCellOut(WireOut):
    """Images that are alike to the anchor, and ASR among them."""

    number: Count
    asr: Estimate


class ControlOut(WireOut):
    """Of one family of patterns the one that leads the most held-out images to one class."""

    family: str
    class_name: str
    led: Estimate
    without: Estimate = Field(description="The same images without the pattern.")
    judged: bool = Field(
        description="Whether the outcome `controlled` looks at this family, within this budget."
    )


class ScanHypothesisOut(WireOut):
    """One trigger that was found. Shares are of held-out images."""

    detector: Detector
    family: str = Field(examples=["patch:0.25"])
    target: str | None
    words: list[str] = Field(description="Of the open vocabulary, the nearest first.")
    asr: Estimate | None
    pa: Estimate | None
    untriggered_target_rate: Estimate | None
    statistic: Finite
    null_median: Finite | None
    dose: list[DosePoint] = Field(description="ASR at parts of the trigger's strength.")
    null_figures: NullFigures | None = Field(
        description="ASR, PA and dose of clean models: medians over the null's models of each one's own most "
        "conspicuous pattern of the same detector and family; null: no null, or none of them has one."
    )
    cell: ScanCellOut | None = Field(
        None, description="Of a kind of images that answers alone; null: of all."
    )


class ScanJudgementOut(WireOut):
    """How far one detector sets the model apart: rank 1 is the most conspicuous."""

    detector: Detector
    what: str
    z: Finite
    rank: Count
    of: Count
    among: str


class ScanResultOut(WireOut):
    """What a scan found. `p_value` is null where no null fits: then there are ranks only."""

    verdict: ScanVerdict
    p_value: Ratio | None
    null: NullUsed | None
    judgements: list[ScanJudgementOut]
    control: list[ControlOut] = Field(
        default_factory=list, description="One for each family of the detector collapse, in its order."
    )
    hypotheses: list[ScanHypothesisOut] = Field(
        description="At most five: first the one that the verdict is about, then the most conspicuous."
    )
    ca: Estimate | None
    num_held_out: Count
