"""The gate of this repository: what must be unchanged since thresholds were frozen.

`python -m lab.zoo.opening --null 20 --beds fashion-resnet fashion-vit` writes the file that opens the closed
splits once it is committed. A model of these beds is then judged by the first 20 calibration models of its
bed, whether they were made before or after the freezing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cleanclip.spec.scan_options import ScanOptions
from lab.zoo.freezing import FROZEN, Frozen, Gate
from lab.zoo.plan import BEDS, plan_sha256
from lab.zoo.rows import read_models
from lab.zoo.scanning import detectors_sha256

ROOT = Path(__file__).resolve().parents[2]


def gate_of(root: Path) -> Gate:
    """With the plan and the detectors as they are now."""
    return Gate(root, plan_sha256=plan_sha256, detectors_sha256=detectors_sha256)


def freeze(root: Path, beds: Sequence[str], num_null: int, note: str) -> Frozen:
    """Write what is decided now; it counts once it is committed."""
    frozen = Frozen(
        significance=ScanOptions().significance,
        num_null=dict.fromkeys(beds, num_null),
        plan_sha256=plan_sha256(),
        detectors_sha256=detectors_sha256(),
        note=note,
    )
    (root / FROZEN).parent.mkdir(parents=True, exist_ok=True)
    (root / FROZEN).write_text(json.dumps(asdict(frozen), indent=2) + "\n", encoding="utf-8")
    return frozen


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.zoo.opening", description=__doc__)
    parser.add_argument("--null", type=int, required=True, help="calibration models of each bed that judge")
    parser.add_argument("--beds", nargs="+", choices=list(BEDS), default=list(BEDS))
    parser.add_argument("--note", default="", help="why, in one sentence")
    given = parser.parse_args(arguments)
    if given.null < 1:
        parser.error("--null must be at least 1")
    frozen = freeze(root, given.beds, given.null, given.note)
    made = read_models((root / FROZEN).parent)
    for bed, wanted in frozen.num_null.items():
        missing = [number for number in range(wanted) if f"calibration-{bed}-{number:03}" not in made]
        if missing:
            print(
                f"{bed}: {len(missing)} of {wanted} null models are not made yet, from number {missing[0]}."
            )
    print(f"Commit {FROZEN} alone. Closed models are made only with the plan and the detectors' code of now.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
