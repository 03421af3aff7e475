"""Fuzzes targets for a while: the drill `fuzzing` (`DRILLS=fuzzing make drills`).

Seeds are made again, inputs that reached new code are kept between runs, findings beside them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.fuzz.seeds import seeds_of

ROOT = Path(__file__).parents[2]
MAX_INPUT_S = 20
MAX_MEMORY_MB = 2500  # PyTorch under atheris takes 1500 before the first input
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What came of one target. `edges`: places in the readers' code that were reached."""

    executions: int
    edges: int
    findings: tuple[Path, ...]
    log_tail: str


def is_available() -> bool:
    """Whether the extra `fuzz` is installed."""
    return importlib.util.find_spec("atheris") is not None


def fuzz(name: str, seconds: float, folder: Path, *, seed: int) -> Fuzzed:
    """Fuzz a target. `folder` keeps its corpus and findings."""
    corpus, seeds, found = folder / "corpus", folder / "seeds", folder / "findings"
    shutil.rmtree(seeds, ignore_errors=True)
    for place in (corpus, seeds, found):
        place.mkdir(parents=True, exist_ok=True)
    for seed_name, data in seeds_of(name):
        (seeds / seed_name).write_bytes(data)
    command = [
        *(sys.executable, "-m", "lab.fuzz.harness", name, str(corpus), str(seeds)),
        f"-artifact_prefix={found}/",
        f"-max_total_time={max(1, round(seconds))}",
        f"-timeout={MAX_INPUT_S}",
        f"-rss_limit_mb={MAX_MEMORY_MB}",
        f"-seed={seed}",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=seconds + 120,
    )
    log = ended.stdout.decode("utf-8", "replace")
    (folder / "log").write_text(log, encoding="utf-8")
    executed, coverage = _EXECUTED.findall(log), _COVERAGE.findall(log)
    return Fuzzed(
        executions=int(executed[-1]) if executed else 0,
        edges=max((int(edges) for edges, _ in coverage), default=0),
        findings=tuple(sorted(found.iterdir())),
        log_tail=log[-3000:],
    )
