"""The gate of this repository: what must be unchanged since thresholds were frozen."""

from __future__ import annotations

from pathlib import Path

from lab.zoo.freezing import Gate
from lab.zoo.plan import plan_sha256
from lab.zoo.scanning import detectors_sha256


def gate_of(root: Path) -> Gate:
    """With the plan and the detectors as they are now."""
    return Gate(root, plan_sha256=plan_sha256, detectors_sha256=detectors_sha256)
