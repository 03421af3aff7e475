"""Fuzzes every target for a while and tells: `python -m lab.fuzz.run [--seconds N] [--target NAME]`.

Seeds are made again, inputs that reached new code are kept under --folder between runs, findings beside them.
Exit codes: 0 nothing found, 1 something was.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.fuzz.seeds import seeds_of
from lab.fuzz.target import MODULES

ROOT = Path(__file__).parents[2]
MAX_INPUT_S = 20
MAX_MEMORY_MB = 2500  # PyTorch under atheris takes 1500 before the first input
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What came of one target. `edges`: places in the readers' code that were reached."""

    target: str
    seconds: float
    executions: int
    edges: int
    findings: tuple[Path, ...]
    log_tail: str


def is_available() -> bool:
    """Whether the extra `fuzz` is installed."""
    return importlib.util.find_spec("atheris") is not None


def fuzz(
    seconds: float,
    folder: Path,
    *,
    targets: Sequence[str] = tuple(MODULES),
    say: Callable[[str], None] = print,
    seed: int = 1,
) -> list[Fuzzed]:
    """Fuzz each of `targets` for its share of `seconds`. `folder` keeps corpora and findings."""
    results = []
    for name in targets:
        fuzzed = _fuzz(name, seconds / len(targets), folder / name, seed)
        say(f"{name}: {fuzzed.executions} executions, {fuzzed.edges} edges, {len(fuzzed.findings)} findings")
        results.append(fuzzed)
    return results


def _fuzz(name: str, seconds: float, folder: Path, seed: int) -> Fuzzed:
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
        target=name,
        seconds=seconds,
        executions=int(executed[-1]) if executed else 0,
        edges=max((int(edges) for edges, _ in coverage), default=0),
        findings=tuple(sorted(found.iterdir())),
        log_tail=log[-3000:],
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", choices=sorted(MODULES), action="append")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "fuzz")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if not is_available():
        parser.error("atheris is not installed; where there is a wheel: pip install -e '.[fuzz]'")
    results = fuzz(given.seconds, given.folder, targets=given.target or tuple(MODULES), seed=given.seed)
    for result in results:
        if result.findings or not result.executions:
            sys.stdout.write(
                f"\n{result.target}: {[str(path) for path in result.findings]}\n{result.log_tail}\n"
            )
    return 0 if all(result.executions and not result.findings for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
