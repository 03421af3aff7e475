"""`make gpu` keeps each part that is done, tries again what failed, and says on its page what ran where.

All parts together, with a tiny model on the CPU, run in the full suite; the pipeline that they call is tested
daily (tests/unit/sanitizer/test_pipeline.py).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.gpu import __main__ as command
from lab.gpu import page, parts
from lab.gpu.order import Order


def run_quickly(folder: Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and page."""
    code = command.main(["--device", "cpu", "--quick", "--folder", str(folder)])
    results = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    return code, results, (folder / "gpu.md").read_text(encoding="utf-8")


def test_a_part_that_is_there_is_not_run_again_and_one_that_failed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(work: Any, name: str, order: Order) -> dict[str, Any]:
        ran.append(name)
        return {"failure": "OutOfMemoryError: a | b"} if ran == ["tests", "audit"] else {"figures": {"n": 3}}

    monkeypatch.setattr(command, "PARTS", ("tests", "audit"))
    monkeypatch.setattr(command, "as_a_job", run)
    code, results, text = run_quickly(tmp_path)
    assert (code, ran) == (1, ["tests", "audit"])
    assert "| audit | **failed**: OutOfMemoryError: a / b |" in text
    code, results, text = run_quickly(tmp_path)
    assert (code, ran) == (0, ["tests", "audit", "audit"])
    assert results["parts"] == {name: {"figures": {"n": 3}} for name in ("tests", "audit")}
    monkeypatch.setattr(command, "commit", lambda: "another")
    run_quickly(tmp_path)
    assert len(ran) == 5


def test_without_the_device_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert command.main([]) == 2
    assert "DEVICE=cpu QUICK=1" in capsys.readouterr().err


def test_a_page_of_a_gpu_has_the_plan_beside_what_was_measured() -> None:
    row = {
        "figures": {"batch": 2_048, "samples/s": 1234.5},
        "minutes": 1.5,
        "plan_minutes": [0.5, 3.25],
        "busy": 0.934,
        "phases": {"finetune": {"seconds": 90.0, "plan": 3e9, "allocated": 2e9, "reserved": 2.5e9}},
    }
    machine = dict.fromkeys(("date", "commit", "processor", "cores", "versions"), "x")
    machine |= {"device": "NVIDIA L4", "driver": "570.1", "device_bytes": 24 * 10**9}
    text = page.tables(
        {"machine": machine, "model": "ViT-B-32.pt", "has_data": True, "parts": {"updates-uar": row}}
    )
    assert page.NO_GPU not in text
    assert "NVIDIA L4, 24 GB, driver 570.1" in text
    assert "| updates-uar | batch 2,048; samples/s 1,234 | 1.5 | 0.5 to 3.25 | 93 % |" in text
    assert "| updates-uar | `finetune` | 90.0 | 3.00 | 2.00 | 2.50 |" in text


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_every_part_runs_with_a_tiny_model_on_a_processor(tmp_path: Path) -> None:
    code, results, text = run_quickly(tmp_path)
    assert code == 0, results
    assert list(results["parts"]) == list(parts.PARTS)
    assert all(f"| {name} |" in text for name in parts.PARTS)
    assert page.NO_GPU in text
    assert results["parts"]["audit"]["figures"]["CA before"] > 0.9
    assert {*results["parts"]["cleaning"]["phases"]} == {"baseline_audit", "finetune", "final_audit"}
    jobs = (results["parts"][name] for name in ("audit", "scan", "cleaning"))
    assert all(row["plan"] for job in jobs for row in job["phases"].values())
