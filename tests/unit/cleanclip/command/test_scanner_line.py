"""What other scanners reported of a checkpoint: one line each."""

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


def test_what_each_torch_save_file_holds_makes_none_suspicious() -> None:
    usual = "warning: NON_ALLOWLISTED_GLOBAL: Found a global: torch._utils._rebuild_tensor_v2"
    reported = "warning: NON_ALLOWLISTED_GLOBAL: Found a global: os.system"

    def line(issues: list[str], num_issues: int) -> str:
        one = {"name": "modelaudit", "version": "1", "verdict": "suspicious", "num_issues": num_issues}
        row = {"id": "ckpt_1", "state": "accepted", "scanners": [one | {"issues": issues}]}
        return checkpoint(Checkpoint.model_validate(row))

    assert "modelaudit 1: nothing but what torch.save writes (" in line([usual], 1)
    assert "modelaudit 1: suspicious (" in line([usual, reported], 2)
    assert "modelaudit 1: suspicious (" in line([usual], 2), "the others are not listed"
