"""STUB of the model, for the drill of the queue alone: python -I -S stub_child.py REPORT FOLDER

Keeps the job folder's contract, computes nothing: says its phase, sleeps a moment, writes the report that
it was given and an outcome. Standard library alone, so that ten thousand jobs measure the queue.
"""

import json
import sys
import time
from pathlib import Path

_WORK_S = 0.05


def main() -> None:
    report, folder = sys.argv[1], Path(sys.argv[-1])
    print(json.dumps({"type": "phase_started", "phase": "baseline_audit", "total": 1, "unit": "images"}))
    sys.stdout.flush()
    time.sleep(_WORK_S)
    (folder / "outputs" / "report.json").write_text(report)
    outcome = {"status": "succeeded", "outputs": ["report.json"], "failure": None}
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
