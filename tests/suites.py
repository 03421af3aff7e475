"""Which tests run when: `make test` daily, `make test-all` before a release, in CI a quarter of the rest.

A test marked `full` proves at length what a daily test proves once. `--quarter N` runs only those, and only
the Nth of four shares of them. The shares take about equally long by docs/test-all.json, the last result of
`make test-all`; `--record-all` writes it. `--durations` also prints the seconds of each folder.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "docs" / "test-all.json"
SHARED = ("tests/browser/", "tests/docs/", "tests/end_to_end/")
NUM_QUARTERS = 4
UNKNOWN_S = 20.0
"""For a file that the last result does not name."""


def mostly_full(values: Iterable[Any], *, daily: Container[Any]) -> list[Any]:
    """The values as parameters of a test: those in `daily` every day, the others only in the full suite."""
    return [value if value in daily else pytest.param(value, marks=pytest.mark.full) for value in values]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("suites")
    group.addoption(
        "--quarter", type=int, choices=range(1, NUM_QUARTERS + 1), help="of the tests marked full"
    )
    group.addoption("--record-all", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file is run by one process; so is a folder whose files share a running service, which starts once."""
    from xdist.scheduler import LoadFileScheduling  # the environment without torch has no xdist

    class OneServiceOnce(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in SHARED if nodeid.startswith(folder)), _file(nodeid))

    return OneServiceOnce(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (quarter := config.getoption("--quarter")) is None:
        return
    full = [item for item in items if item.get_closest_marker("full")]
    files = {_file(item.nodeid) for item in full}
    turn = quarters(files, last_seconds())[quarter - 1]
    kept = [item for item in full if _file(item.nodeid) in turn]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def quarters(files: set[str], seconds: dict[str, float]) -> list[set[str]]:
    """Four shares of about the same duration: the longest file first, each to the shortest share."""
    shares: list[set[str]] = [set() for _ in range(NUM_QUARTERS)]
    sums = [0.0] * NUM_QUARTERS
    for file in sorted(files, key=lambda file: (-seconds.get(file, UNKNOWN_S), file)):
        least = sums.index(min(sums))
        shares[least].add(file)
        sums[least] += seconds.get(file, UNKNOWN_S)
    return shares


def last_seconds() -> dict[str, float]:
    """By file, of the tests marked full alone."""
    return json.loads(RESULT.read_text(encoding="utf-8"))["full_s"] if RESULT.exists() else {}


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
    ]
    if config.getoption("durations") is not None:
        terminalreporter.section("seconds by folder, all processes together")
        folders = _seconds(
            reports, lambda file: "/".join(file.split("/")[: 3 if "/integration/" in file else 2])
        )
        for folder, spent in sorted(folders.items()):
            terminalreporter.write_line(f"{spent:8.1f}s {folder}")
    if config.getoption("--record-all"):
        _record(reports, exitstatus)


def _record(reports: list[pytest.TestReport], exitstatus: int) -> None:
    outcomes = Counter(report.outcome for report in reports if report.when == "call" or not report.passed)
    full = [report for report in reports if "full" in report.keywords]
    result = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _git("rev-parse", "HEAD") + (" with changes" if _git("status", "--porcelain") else ""),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "exit_status": int(exitstatus),
        "outcomes": dict(sorted(outcomes.items())),
        "seconds": round(sum(report.duration for report in reports)),
        "full_s": {file: round(spent, 1) for file, spent in sorted(_seconds(full, str).items())},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _seconds(reports: list[pytest.TestReport], key: Any) -> dict[str, float]:
    seconds: defaultdict[str, float] = defaultdict(float)
    for report in reports:
        seconds[key(_file(report.nodeid))] += report.duration
    return seconds


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown" if answer.returncode else answer.stdout.strip()
