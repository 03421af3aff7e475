"""What other scanners reported of a checkpoint: one line each."""

from __future__ import annotations

from cleanclip.command.views import checkpoint
from cleanclip.models import Checkpoint


def test_each_scanner_has_one_line_with_its_first_issue() -> None:
    found = Checkpoint.model_validate(
        {
            "id": "ckpt_1",
            "state": "accepted",
            "scanners": [
                {"name": "picklescan", "version": "1.0.5", "verdict": "nothing_found"},
                {
                    "name": "modelaudit",
                    "version": "0.1.12",
                    "verdict": "suspicious",
                    "num_issues": 5,
                    "issues": ["warning: PERSISTENT_ID", "warning: another"],
                },
                {"name": "third", "version": None, "verdict": "not_installed", "issues": ["It is missing."]},
            ],
        }
    )
    lines = [" ".join(line.split()) for line in checkpoint(found).splitlines() if line.startswith("scanner")]
    assert lines == [
        "scanner picklescan 1.0.5: nothing found",
        "scanner modelaudit 0.1.12: suspicious (warning: PERSISTENT_ID, 5 in all)",
        "scanner third: not installed (It is missing.)",
    ]


def test_a_service_that_tells_of_no_scanners_is_understood() -> None:
    assert "scanner" not in checkpoint(Checkpoint(id="ckpt_1", state="accepted"))
