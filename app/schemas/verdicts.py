"""Verdicts on weights on the wire: what jobs of the project found out about them, worst first."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.db.models.assets import WeightsVerdict
from app.db.repositories.verdicts import FoundVerdicts
from app.domain.verdicts import VerdictStage
from app.schemas.common import Time, WireOut
from cleanclip.vocabulary.verdicts import Outcome, headline, scan_headline


class VerdictLinks(WireOut):
    job: str


class VerdictOut(WireOut):
    """What one job found out about these weights, whichever checkpoint they came in."""

    object: Literal["verdict"] = "verdict"
    job_id: str
    stage: Literal["audit", "before_cleaning", "after_cleaning", "scan"] = Field(
        description="The verdict of an audit or a scan; or, of a cleaning, on its input weights or on "
        "the weights that it made."
    )
    outcome: Outcome
    headline: str = Field(examples=["Nothing found with the 4 triggers tested: inconclusive"])
    num_triggers: int = Field(description="How many different triggers were tested; of a scan, families.")
    preliminary: bool = Field(
        description="Measured before cleaning, by a job that has not succeeded: not signed, and confirmed by"
        " no second audit."
    )
    created_at: Time
    links: VerdictLinks

    @classmethod
    def of(cls, row: WeightsVerdict) -> VerdictOut:
        return cls.of_row(
            row,
            headline=_headline(row),
            preliminary=row.is_preliminary,
            links=VerdictLinks(job=f"/v1/jobs/{row.job_id}"),
        )


def _headline(row: WeightsVerdict) -> str:
    if row.stage is VerdictStage.SCAN:
        return scan_headline(row.outcome.value, has_null=None)
    is_cleaned = row.stage is VerdictStage.AFTER_CLEANING
    return headline(row.outcome.value, is_cleaned=is_cleaned, num_triggers=row.num_triggers)


class VerdictList(WireOut):
    """Worst first: fail, undecided, inconclusive, pass; of equal ones the newest first."""

    object: Literal["list"] = "list"
    weights_sha256: str | None = Field(
        description="The digest of the weights that they are about: those that a cleaning "
        "made, or its input weights until it has succeeded. Null before the first audit."
    )
    data: list[VerdictOut]
    num_verdicts: int = Field(description="How many there are, counted up to 1,000.")

    @classmethod
    def of(cls, weights_sha256: str | None, verdicts: FoundVerdicts) -> VerdictList:
        data = [VerdictOut.of(row) for row in verdicts.rows]
        return cls(weights_sha256=weights_sha256, data=data, num_verdicts=verdicts.num)
