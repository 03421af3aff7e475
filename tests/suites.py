"""Which tests run when: `make test` daily, `make test-all` before a release, in CI an eighth of the rest.

A test marked `full` proves at length what a daily test proves once. `--eighth N` runs only those, and only
the Nth of eight shares of them. The shares take about equally long by docs/test-all.json, which keeps the
last result of each file with such tests: `--record-all` writes those that were run. `--durations` also prints
the seconds of each folder.
"""

import json
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
NUM_SHARES = 8
UNKNOWN_S = 20.0
"""For a file that the last result does not name."""


def mostly_full(values: Iterable[Any], *, daily: Container[Any]) -> list[Any]:
    """The values as parameters of a test: those in `daily` every day, the others only in the full suite."""
    return [value if value in daily else pytest.param(value, marks=pytest.mark.full) for value in values]


def pairs(one: Iterable[Any], other: Iterable[Any]) -> list[Any]:
    """Of the values of two parameters: daily so many that each is in one, the others in the full suite."""
    first, second = [*one], [*other]
    daily = {(n % len(first), n % len(second)) for n in range(max(len(first), len(second)))}
    return [
        pytest.param(left, right, marks=() if (n, m) in daily else pytest.mark.full)
        for n, left in enumerate(first)
        for m, right in enumerate(second)
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("suites")
    group.addoption("--eighth", type=int, choices=range(1, NUM_SHARES + 1), help="of the tests marked full")
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
    if (eighth := config.getoption("--eighth")) is None:
        return
    full = [item for item in items if item.get_closest_marker("full")]
    files = {_file(item.nodeid) for item in full}
    turn = eighths(files, last_seconds())[eighth - 1]
    kept = [item for item in full if _file(item.nodeid) in turn]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def eighths(files: set[str], seconds: dict[str, float]) -> list[set[str]]:
    """Eight shares of about the same duration: the longest file first, each to the shortest share."""
    shares: list[set[str]] = [set() for _ in range(NUM_SHARES)]
    sums = [0.0] * NUM_SHARES
    for file in sorted(files, key=lambda file: (-seconds.get(file, UNKNOWN_S), file)):
        least = sums.index(min(sums))
        shares[least].add(file)
        sums[least] += seconds.get(file, UNKNOWN_S)
    return shares


def last_seconds() -> dict[str, float]:
    """By file, of the tests marked full alone."""
    return {file: result["seconds"] for file, result in _last_results().items()}


def _last_results() -> dict[str, dict[str, Any]]:
    return json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
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
        _record(reports)


def _record(reports: list[pytest.TestReport]) -> None:
    """Of each file's tests marked full: outcome, seconds, when, at which commit. What was not run stays."""
    full = [report for report in reports if "full" in report.keywords]
    changed = _git("status", "--porcelain", "--", ".", f":!{RESULT.relative_to(ROOT)}")
    run = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _git("rev-parse", "HEAD") + (" with changes" if changed else ""),
    }
    results = {file: result for file, result in _last_results().items() if (ROOT / file).exists()}
    for file, spent in _seconds(full, str).items():
        ended = [one for one in full if _file(one.nodeid) == file and (one.when == "call" or not one.passed)]
        outcomes = Counter(one.outcome for one in ended)
        results[file] = {"outcomes": dict(sorted(outcomes.items())), "seconds": round(spent, 1), **run}
    RESULT.write_text(json.dumps(dict(sorted(results.items())), indent=2) + "\n", encoding="utf-8")


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
