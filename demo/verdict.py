"""What came out: the table, result.json, and whether the aim was reached. Free of torch, client and service.

A share is {"value", "n", "successes", "low", "high"} of CA, ASR or PA; figures hold three of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from cleanclip.vocabulary.control import strongest
from cleanclip.vocabulary.scan_report import ScanReport

Figures = dict[str, dict[str, Any]]

NAMES = ("ca", "asr", "pa")
LEGEND = (
    "Shares of the test images in %, with 95 % intervals (Wilson). CA: clean accuracy. ASR: attack success"
    " rate, triggered images of other classes classified as the target. PA: triggered images "
    "still given their"
    " true label."
)
MIN_ASR_BEFORE = 0.95
MAX_ASR_AFTER = 0.05
MAX_CA_LOST = 0.03


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What a scan said. `p_value` and `num_null` are None without a null; `target` and `asr` are of the most
    conspicuous pattern."""

    outcome: str
    sentence: str
    p_value: float | None
    num_null: int | None
    target: str | None
    asr: float | None
    control: str | None
    """What the strongest pattern does, which no null is needed for. None where no class names are known."""

    @classmethod
    def of(cls, report: ScanReport) -> Scanned:
        first = report.hypotheses[0] if report.hypotheses else None
        return cls(
            outcome=report.verdict.outcome,
            sentence=report.verdict.sentence,
            p_value=report.p_value,
            num_null=None if report.null is None else report.null.num_models,
            target=None if first is None else first.target,
            asr=None if first is None or first.asr is None else first.asr.value,
            control=None if (one := strongest(report.control)) is None else one.phrase,
        )

    def lines(self) -> list[str]:
        """The sentence of the report, and its figures."""
        sure = (
            "no p-value"
            if self.p_value is None
            else f"p = {self.p_value:.3g} by {self.num_null} clean models"
        )
        found = "no pattern" if self.asr is None else f"its pattern has ASR {self.asr:.1%} on held-out images"
        reported = [f"{self.outcome}: {self.sentence}", f"{sure}; target “{self.target}”; {found}"]
        if self.control is not None:
            reported.append(f"What needs no clean models, which a customer seldom has: {self.control}")
        return reported


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The service's figures and the independent ones; `last_gain` is CA's gain in the last poisoned epoch.

    `after` and `independent_after` have an entry for each method; the aim speaks of the first.
    """

    before: Figures
    after: dict[str, Figures]
    independent_before: Figures
    independent_after: dict[str, Figures]
    last_gain: float
    last_gain_noise: float
    """Half the width of the 95 % interval of that epoch's CA."""
    found: dict[str, float]
    """The highest ASR of the patterns that the scan found, before and after each method. None were found:
    empty. The aim does not speak of it."""
    scan: Scanned
    rescan: Scanned
    """Of the model that the first method cleaned. The aim does not speak of it: a p-value is what it is."""
    target: str

    def missed(self) -> list[str]:
        """One sentence for each part of the aim that was not reached."""
        sentences = []
        after = next(iter(self.after.values()))
        asr_before, asr_after = self.before["asr"]["value"], after["asr"]["value"]
        ca_lost = self.before["ca"]["value"] - after["ca"]["value"]
        if asr_before < MIN_ASR_BEFORE:
            sentences.append(
                f"The attack was not implanted well enough: ASR {asr_before:.1%} before "
                f"cleaning, at least {MIN_ASR_BEFORE:.0%} is needed."
            )
        if self.last_gain > self.last_gain_noise:
            sentences.append(
                f"The poisoned model was still learning: CA grew by {self.last_gain:.1%} in its last epoch,"
                f" more than its noise of {self.last_gain_noise:.1%}."
            )
        if self.scan.target != self.target:
            sentences.append(f"The scan named the target “{self.scan.target}”; it is “{self.target}”.")
        if asr_after > MAX_ASR_AFTER:
            sentences.append(
                f"The backdoor is still there: ASR {asr_after:.1%} after cleaning, at most "
                f"{MAX_ASR_AFTER:.0%} is allowed."
            )
        if ca_lost > MAX_CA_LOST:
            sentences.append(
                f"Cleaning cost {100 * ca_lost:.1f} points of CA; the limit is {100 * MAX_CA_LOST:.0f}."
            )
        return sentences + self.disagreements()

    def disagreements(self) -> list[str]:
        """One sentence for each figure that the independent measurement counted differently."""
        pairs = [("before cleaning", self.before, self.independent_before)]
        pairs += [
            (f"after {method}", after, self.independent_after[method]) for method, after in self.after.items()
        ]
        return [
            f"{share.upper()} {when}: the service counted {_count(ours[share])},"
            f" the independent measurement {_count(theirs[share])}."
            for when, ours, theirs in pairs
            for share in NAMES
            if _count(ours[share]) != _count(theirs[share])
        ]

    def table(self) -> Table:
        """The service's figures before, and after each method; 80 columns wide."""
        table = Table(box=None, padding=(0, 1, 0, 0), caption=LEGEND, caption_justify="left")
        for heading in ("", "n", "before", *(f"after {method}" for method in self.after)):
            table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
        for share in NAMES:
            cells = [_cell(figures[share]) for figures in (self.before, *self.after.values())]
            table.add_row(share.upper(), f"{self.before[share]['n']:,}", *cells)
        return table

    def of_found(self) -> str:
        """A sentence about the patterns that the scan found."""
        listed = ", ".join(f"{value:.1%} {when}" for when, value in self.found.items())
        return f"Of the patterns that the scan found the strongest has ASR {listed}." if listed else ""

    def to_json(self) -> dict[str, Any]:
        """The figures' part of result.json."""
        return {
            "found_asr": self.found,
            "scan": asdict(self.scan),
            "rescan": asdict(self.rescan),
            "before": _plain(self.before),
            "after": {method: _plain(after) for method, after in self.after.items()},
            "independent": {
                "before": _plain(self.independent_before),
                "after": {method: _plain(after) for method, after in self.independent_after.items()},
            },
        }


def _count(share: dict[str, Any]) -> str:
    return f"{share['successes']} of {share['n']}"


def _cell(share: dict[str, Any]) -> str:
    return f"{100 * share['value']:.1f} [{100 * share['low']:.1f},{100 * share['high']:.1f}]"


def _plain(figures: Figures) -> Figures:
    return {
        share: {name: figures[share][name] for name in ("value", "n", "low", "high", "successes")}
        for share in NAMES
    }
