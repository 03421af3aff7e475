"""Seeds and earlier findings, given to a target again: what the tests do, and what works without a fuzzer."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab.fuzz.seeds import seeds_of
from lab.fuzz.target import run_one, target

FINDINGS = Path(__file__).parents[2] / "tests" / "fixtures" / "fuzz_findings"
"""One folder a target; each file is an input that something other than a refusal once escaped for."""


def replay(name: str) -> tuple[int, list[str]]:
    """How many inputs there were, and a line for each that was neither read nor refused."""
    tried = target(name)
    kept = [(path.name, path.read_bytes()) for path in sorted(FINDINGS.glob(f"{name}/*"))]
    num_inputs, problems = 0, []
    for label, data in [*seeds_of(name), *kept]:
        num_inputs += 1
        with tempfile.TemporaryDirectory(prefix="replay-") as folder:
            try:
                run_one(tried, data, Path(folder))
            except Exception as error:  # noqa: BLE001 - whatever escaped is what is looked for
                problems.append(f"{label}: {type(error).__name__}: {str(error)[:100]}")
    return num_inputs, problems
