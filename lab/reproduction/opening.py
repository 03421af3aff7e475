"""The gate of this repository: what must be unchanged since UAR's recipes were frozen."""

from __future__ import annotations

from pathlib import Path

from lab.reproduction.final import plan_sha256
from lab.reproduction.freezing import ROOT, Gate
from lab.reproduction.measuring import method_sha256


def gate_of(root: Path = ROOT) -> Gate:
    """With the plan and the method's code as they are now."""
    return Gate(root, plan_sha256=plan_sha256, method_sha256=method_sha256)
