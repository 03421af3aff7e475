"""STUB of the model, for the drill of the queue alone: python -I -S stub_child.py REPORT HEAD FOLDER

Keeps the job folder's contract, computes nothing: says its phase, sleeps a moment, writes the report that
it was given, with its job's seed, and an outcome; its pages are one line. Standard library alone, so that ten
thousand jobs measure the queue. HEAD is what every page begins with.
"""

import json
import sys
import time
from pathlib import Path

_WORK_S = 0.05


def main() -> None:
    report, head, folder = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[-1])
    spec = json.loads((folder / "spec.json").read_text())
    if spec["kind"] == "pages":
        leave(folder, {"report.html": f"{head}<title>Stub</title></head></html>", "report.md": "## Stub"})
        return
    print(json.dumps({"type": "phase_started", "phase": "baseline_audit", "total": 1, "unit": "images"}))
    sys.stdout.flush()
    time.sleep(_WORK_S)
    for part in (report, report["before"], report["architecture"], report.get("examples") or {}):
        part["seed"] = spec["seed"]
    leave(folder, {"report.json": json.dumps(report)})


def leave(folder: Path, files: "dict[str, str]") -> None:
    for name, text in files.items():
        (folder / "outputs" / name).write_text(text)
    outcome = {"status": "succeeded", "outputs": [*files], "failure": None}
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
