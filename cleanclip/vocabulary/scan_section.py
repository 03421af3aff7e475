"""What a report says of the scan whose findings its audits use: what was known, what was found, and what was
not looked for. Free of torch.

The scan itself is a report of its own (`scan_report`), whose digest stands here. Names of classes are
untrusted: code that shows the sentence escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen

from cleanclip.vocabulary.bounds import ShortText, StrictOptions
from cleanclip.vocabulary.control import Strongest, controls
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Estimate, Ratio, derived
from cleanclip.vocabulary.scan_options import Detector
from cleanclip.vocabulary.untrusted import name as untrusted_name
from cleanclip.vocabulary.verdicts import Outcome

MOST_FOUND = 5
_Sha256 = Annotated[str, MaxLen(64)]


@dataclass(frozen=True, kw_only=True)
class FoundPattern(StrictOptions):
    """One pattern that the scan found. What it does an audit measures: the scan's own figures are only the
    word of the process that made them, and stay in its report."""

    detector: Detector
    family: ShortText
    target: ShortText | None
    attack: Count | None
    """Its number in the audit's attacks. None: no audit can use it."""


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class ScanSection:
    """A scan of the input model, made before its audits."""

    schema_version: Literal[1] = 1
    scan_id: ShortText | None = None
    """The scan's job; the report's own where it began with the scan. None of `python -m sanitizer`, which
    knows no job."""
    report_sha256: _Sha256
    """Of the scan's report.json."""
    weights_sha256: _Sha256
    p_value: Annotated[float, Interval(gt=0, le=1)] | None
    """None: no null fitted, so nothing says how rare such a model is."""
    significance: Ratio
    """The scan fails where its p-value is at or under it."""
    families: Annotated[tuple[ShortText, ...], MaxLen(64)]
    """The families of patterns that were looked for, and "edits" where edited images were."""
    num_known: Count
    """Attacks of the audit that are not the scan's: those that the order names, or both suites."""
    only_suites: bool
    """Whether these are both suites and nothing else, which an order that names no trigger gets."""
    found: Annotated[tuple[FoundPattern, ...], MaxLen(MOST_FOUND)]
    control: Strongest | None = None
    """The pattern that leads the most images to one class, of the families that are judged."""

    @derived
    def outcome(self) -> Outcome:
        """As the scan's own report says."""
        if self.p_value is not None and self.p_value <= self.significance:
            return "fail"
        return "controlled" if self.control is not None and controls([self.control]) else "inconclusive"

    def judges(self, attack: int, before: Estimate, limit: float) -> bool:
        """Whether the audit's attack of that number counts in the verdict: one that the order names does, one
        that only the scan found does where the scan fails, or where it controlled the input by itself."""
        return attack < self.num_known or self.outcome == "fail" or self.controlled(attack, before, limit)

    def controlled(self, attack: int, before: Estimate, limit: float) -> bool:
        """Whether that attack is a pattern that only the scan found and that controlled the input model: its
        ASR there, `before`, is over the policy's `limit` on control."""
        return attack >= self.num_known and before.low > limit

    def family_of(self, attack: int) -> str | None:
        """What the scan calls the audit's attack of that number; None of one that it did not find."""
        return next((one.family for one in self.found if one.attack == attack), None)

    @property
    def sentence(self) -> str:
        """What was known, what was found, and what was not looked for, in one sentence."""
        p = "no p-value" if self.p_value is None else f"p = {self.p_value:.3g}"
        sure = f"{self.outcome}, {p}"
        others = "other triggers" if "edits" in self.families else "triggers"
        known = f"names {_count(self.num_known, 'trigger')}"
        if self.only_suites:
            known = f"names no trigger beyond both suites ({self.num_known} triggers), which were tried"
        return (
            f"The order {known}; {_found(self.found)} ({sure}); patterns of "
            f"other families than {', '.join(self.families)}, and {others} that depend on what an image "
            "shows, were not looked for."
        )


def _count(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else number} {noun}{'' if number == 1 else 's'} of its own"


def _found(found: Sequence[FoundPattern]) -> str:
    if not found:
        return "a scan found no pattern"
    audited = sum(one.attack is not None for one in found)
    patterns = "one pattern" if len(found) == 1 else f"{len(found)} patterns"
    taken = "audited here" if audited == len(found) else f"{audited} of them audited here"
    if audited == 0:
        taken = "which no audit can use"
    return f"a scan found {patterns} ({', '.join(map(_one, found))}), {taken}"


def _one(found: FoundPattern) -> str:
    return found.family if found.target is None else f"{found.family} to “{untrusted_name(found.target)}”"
