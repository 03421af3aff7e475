"""What a kind of job costs: a toy is added to a copy of the product, and goes through all of it there.

The toy counts the pixels of a dataset. Beside its value and its engine it may change as many files as
`CHANGES` names, and no other.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests/fixtures/toy_kind"
COPIED = ("app", "worker", "sanitizer", "cleanclip", "migrations", "lab", "tests")
JOURNEY = "tests/integration/worker/test_pixels.py"
NEW = {"kind.py": "cleanclip/kinds/pixels.py", "engine.py": "sanitizer/work/pixels.py"}
CHANGES: Mapping[str, Mapping[str, str]] = {
    "cleanclip/kinds/catalogue.py": {
        "import TEXT_SCAN\n": "import TEXT_SCAN\nfrom cleanclip.kinds.pixels import PIXELS\n",
        "SCAN, VET)": "SCAN, VET, PIXELS)",
    },
    "app/domain/states.py": {
        'VET = "vet"\n\n\nRESUMABLE': 'VET = "vet"\n    PIXELS = "pixels"\n\n\nRESUMABLE',
        'VET = "vet"\n    PUBLISH': 'VET = "vet"\n    COUNT = "count"\n    PUBLISH',
    },
    "migrations/versions/0001_initial.py": {
        'scan text_scan vet")': 'scan text_scan vet pixels")',
        "text_scan vet publish": "text_scan vet count publish",
    },
}


def test_a_toy_kind_is_its_value_its_engine_and_three_changes(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    for name, place in NEW.items():
        shutil.copy(TOY / name, copy / place)
    for name, edits in CHANGES.items():
        text = (copy / name).read_text()
        for old, new in edits.items():
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        (copy / name).write_text(text)
    shutil.copy(TOY / "journey.py", copy / JOURNEY)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", JOURNEY, "-p", "no:cacheprovider", "--show-capture=no"],
        cwd=copy,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
