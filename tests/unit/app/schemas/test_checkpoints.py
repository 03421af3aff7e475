"""A checkpoint's row on the wire: the evidence of other scanners, as the inspection stored it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from app.db.models.assets import Checkpoint
from app.db.repositories.verdicts import NO_VERDICTS
from app.domain.states import CheckpointState
from app.schemas.checkpoints import CheckpointOut
from cleanclip.vocabulary.report_inputs import ScannerEvidence


def row(inspection: dict[str, Any] | None) -> Checkpoint:
    now = datetime.now(UTC)
    return Checkpoint(
        id="ckpt_1",
        upload_id="upl_1",
        state=CheckpointState.ACCEPTED,
        filename="x.pt",
        size_bytes=1,
        declared={},
        inspection=inspection,
        created_at=now,
        updated_at=now,
    )


def test_what_scanners_said_is_shown_as_it_was_stored() -> None:
    evidence = ScannerEvidence(
        name="picklescan", version="1.0.5", verdict="dangerous", num_issues=1, issues=("dangerous: a.b",)
    )
    shown = CheckpointOut.of(row({"scanners": [asdict(evidence)]}), NO_VERDICTS).model_dump(mode="json")
    assert shown["scanners"] == [asdict(evidence) | {"issues": ["dangerous: a.b"]}]


def test_an_inspection_from_before_there_were_scanners_shows_none() -> None:
    assert CheckpointOut.of(row({"layout": "open_clip"}), NO_VERDICTS).scanners is None
    assert CheckpointOut.of(row(None), NO_VERDICTS).scanners is None
