"""docs/how-to/pages.md, "How fast they load": first loads in a real Chromium, and what Lighthouse says.

    make demo KEEP=1                                 leaves a service with a finished job; prints a link
    python -m lab.benchmarks.pages 'LINK' --lighthouse node_modules/.bin/lighthouse

The link signs in once. Each load is by a browser that has nothing kept; a time is from the start of the
navigation to the end of the `load` event. Lighthouse (npm install lighthouse) is left out where not named.
Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from playwright.sync_api import Browser, StorageState, sync_playwright

from tests.fixtures.chromium import ARGUMENTS, installed

NUM_LOADS = 9
CATEGORIES = ("performance", "accessibility", "best-practices")
_TIMED = """() => {
    const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return [all[0].loadEventEnd, all.reduce((sum, one) => sum + one.transferSize, 0), all.length];
}"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """`loads_ms`: one a load. `scores`: of `CATEGORIES`, in 0 … 100; empty without Lighthouse."""

    path: str
    loads_ms: tuple[float, ...]
    num_bytes: int
    num_requests: int
    scores: tuple[float, ...]

    def __str__(self) -> str:
        median, worst = statistics.median(self.loads_ms), max(self.loads_ms)
        times = f"{median:.0f} ({min(self.loads_ms):.0f} to {worst:.0f})"
        scores = " | ".join(f"{score:.0f}" for score in self.scores) or "not run | not run | not run"
        return f"| {self.path} | {times} | {self.num_bytes / 1000:.0f} | {self.num_requests} | {scores} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("link", help="signs in and leads to a page, as `make demo KEEP=1` prints it")
    parser.add_argument("--lighthouse", help="the command")
    given = parser.parse_args(arguments)
    chromium = installed()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context()
        page = context.new_page()
        page.goto(given.link)
        address, state = page.url, context.storage_state()
        context.close()
        parts = urlsplit(address)
        rows = []
        for path in ("/ui/sign-in", "/ui/jobs", parts.path):
            url = f"{parts.scheme}://{parts.netloc}{path}"
            loads = [
                first_load(browser, url, None if path == "/ui/sign-in" else state) for _ in range(NUM_LOADS)
            ]
            scores = () if given.lighthouse is None else lighthouse(given.lighthouse, url, chromium, state)
            rows.append(
                Row(
                    path=path,
                    loads_ms=tuple(load[0] for load in loads),
                    num_bytes=int(loads[0][1]),
                    num_requests=int(loads[0][2]),
                    scores=scores,
                )
            )
            print(path, "done", file=sys.stderr)
        print(f"Chromium {browser.version}, {NUM_LOADS} loads a page.\n")
        browser.close()
    heads = ("Page", "First load, ms: median (range)", "kB", "Requests", *CATEGORIES)
    print(f"| {' | '.join(heads)} |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: |", sep="\n")
    print(*rows, sep="\n")


def first_load(browser: Browser, url: str, state: StorageState | None) -> tuple[float, float, float]:
    """Milliseconds, bytes over the wire, and requests of one load with an empty cache."""
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    page.goto(url, wait_until="load")
    page.wait_for_function("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
    timed: tuple[float, float, float] = tuple(page.evaluate(_TIMED))
    context.close()
    return timed


def lighthouse(command: str, url: str, chromium: str | None, state: StorageState | None) -> tuple[float, ...]:
    """The scores of `CATEGORIES` as on Lighthouse's simulated slow phone, which is its default."""
    cookies = [] if state is None else state.get("cookies", [])
    headers = {"Cookie": "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)}
    ran = subprocess.run(
        [
            *(command, url, "--quiet", "--output=json", f"--only-categories={','.join(CATEGORIES)}"),
            f"--chrome-flags=--headless {' '.join(ARGUMENTS)}",
            *([f"--extra-headers={json.dumps(headers)}"] if cookies else []),
        ],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | ({} if chromium is None else {"CHROME_PATH": chromium}),
    )
    found = json.loads(ran.stdout)["categories"]
    return tuple(100 * found[name]["score"] for name in CATEGORIES)


if __name__ == "__main__":
    main()
