"""What a child says of digests is compared with what the supervisor saw; its files are small or unread."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.db.repositories.attempt_values import CheckpointAccepted
from app.domain.states import JobKind
from worker.failures import AttemptFailed
from worker.publishing import _effect

UPLOAD, WEIGHTS = "1" * 64, "2" * 64
PINS = [{"sha256": UPLOAD, "size_bytes": 7}]
INSPECTION = {
    "upload_sha256": UPLOAD,
    "size_bytes": 7,
    "weights_sha256": WEIGHTS,
    "layout": "open_clip",
    "architecture": {},
    "architecture_name": "x",
    "num_parameters": 1,
    "dtype": "float32",
    "assumed": {},
    "findings": [],
}


def effect(folder: Path, **changes: Any) -> object:
    path = folder / "inspection.json"
    path.write_text(json.dumps(INSPECTION | changes))
    job: Any = SimpleNamespace(kind=JobKind.INSPECT)
    return _effect(job, {"inspection.json": path}, "p/", PINS, {"model.safetensors": WEIGHTS})


def test_an_inspection_that_speaks_of_the_bytes_at_hand_is_accepted(tmp_path: Path) -> None:
    accepted = effect(tmp_path)
    assert isinstance(accepted, CheckpointAccepted)
    assert (accepted.sha256, accepted.weights_sha256) == (UPLOAD, WEIGHTS)


@pytest.mark.parametrize("name", ["upload_sha256", "weights_sha256", "size_bytes"])
def test_an_inspection_of_other_bytes_is_not_believed(name: str, tmp_path: Path) -> None:
    with pytest.raises(AttemptFailed, match="other bytes") as failed:
        effect(tmp_path, **{name: 8 if name == "size_bytes" else "0" * 64})
    assert failed.value.code == "outputs_unusable"


@pytest.mark.parametrize("num_tables", [250_000, 1_000_000])
def test_a_file_of_many_small_tables_costs_the_supervisor_no_memory(num_tables: int, tmp_path: Path) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AttemptFailed, match="no report that can be read"):
        effect(tmp_path, architecture={"a": [{}] * num_tables})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 60 * 1024
