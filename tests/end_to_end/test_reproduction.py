"""`make reproduce QUICK=1` as a user runs it: a model is really poisoned and every defence is tried."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.reproduction import document
from lab.reproduction.cells import GATE
from lab.reproduction.grid import QUICK_DEFENCES, quick
from lab.reproduction.measured import Measured
from lab.reproduction.running import Folders

ROOT = Path(__file__).resolve().parents[2]


def reproduce(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.reproduction", "--quick", "--folder", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_small_subset_shows_the_papers_order_and_is_not_computed_twice(tmp_path: Path) -> None:
    first = reproduce(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    poisoned, *cleaned = (_told(tmp_path, number) for number in range(1 + len(QUICK_DEFENCES)))
    mmcl, self_supervised, cleanclip, supervised, uar = cleaned
    asr = {run.id: run.test.asr.value for run in (poisoned, *cleaned) if run.test.asr is not None}
    assert asr[poisoned.id] > 0.95 > GATE
    assert poisoned.test.ca.value > 0.9
    assert asr[mmcl.id] > 0.5
    assert asr[cleanclip.id] < 0.05
    assert cleanclip.test.ca.value > 0.87
    assert self_supervised.test.ca.value < 0.7
    assert asr[supervised.id] < asr[mmcl.id]
    assert asr[uar.id] < 0.01
    assert uar.test.ca.value > 0.9
    text = (tmp_path / document.DOCUMENT).read_text(encoding="utf-8")
    assert f"| {100 * poisoned.test.ca.value:.1f} [" in text

    second = reproduce(tmp_path)
    assert second.returncode == 0
    assert "6 of 6 cells are there already" in second.stdout

    checked = reproduce(tmp_path, "--check", "1")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("the reference agrees") == 1


def _told(folder: Path, number: int) -> Measured:
    measured = Folders(folder).measured(quick()[number])
    assert measured is not None
    return measured
