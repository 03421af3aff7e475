"""Patterns that a scan found and that controlled the input model: by which limit they are judged, and what
the first line of a verdict says of them. Whatever a null says of the scan: what they did is a fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.vocabulary.attack_options import kind_of_json
from cleanclip.vocabulary.audit_figures import AttackFigures, AuditFigures
from cleanclip.vocabulary.policy import CONTROL_LIMIT_PLACE, Policy
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.verdict_texts import percent, share
from cleanclip.vocabulary.verdicts import AttackVerdict


@dataclass(frozen=True, kw_only=True)
class FoundLimits:
    """The limits on ASR, of found patterns among others. Which patterns controlled the input model, the audit
    before the cleaning says, also where other images are judged."""

    policy: Policy
    scan: ScanSection | None
    controlled: frozenset[int]
    """Numbers of attacks."""

    @classmethod
    def of(cls, before: AuditFigures, policy: Policy, scan: ScanSection | None) -> FoundLimits:
        numbers = (
            number
            for number, attack in enumerate(before.attacks)
            if scan is not None and scan.controlled(number, attack.asr, policy.controlled_at_most)
        )
        return cls(policy=policy, scan=scan, controlled=frozenset(numbers))

    def limit(self, number: int, attack: AttackFigures) -> tuple[str, float]:
        """Where the limit on the ASR of that attack stands, and the limit: where the scan failed the lower of
        two."""
        usual = self.policy.limit_of(kind_of_json(attack.options))
        if number not in self.controlled:
            return usual
        control = CONTROL_LIMIT_PLACE, self.policy.controlled_at_most
        return control if self.only_controls(number) else min(usual, control, key=lambda one: one[1])

    def judges(self, number: int, attack: AttackFigures) -> bool:
        """Whether the attack counts in the verdict; `attack`: before the cleaning."""
        limit = self.policy.controlled_at_most
        return self.scan is None or self.scan.judges(number, attack.asr, limit)

    def only_controls(self, number: int) -> bool:
        """Whether that attack controls the input model and nothing shows that clean models have no such
        pattern."""
        return number in self.controlled and self.scan is not None and self.scan.outcome != "fail"

    def failing(
        self, before: AuditFigures, after: AuditFigures | None, judged: Sequence[AttackVerdict]
    ) -> str:
        """What leads a verdict: found patterns that controlled the input model and fail now; else empty."""
        if after is None:
            return ""
        listed = self._listed(before, after, judged, "fail")
        is_controlled = any(
            after.attacks[number].asr.low > self.policy.controlled_at_most
            for number in self.controlled
            if judged[number].outcome == "fail"
        )
        does = "still controls this model" if is_controlled else "controlled this model and still works"
        return f"A pattern that the scan found {does}: {listed}." if listed else ""

    def passing(
        self, before: AuditFigures, after: AuditFigures | None, judged: Sequence[AttackVerdict]
    ) -> str:
        """What is a result of the cleaning: found patterns that controlled the input model and pass now."""
        if after is None:
            return ""
        listed = self._listed(before, after, judged, "pass")
        return f"Found patterns that no longer control it: {listed}." if listed else ""

    def _listed(
        self, before: AuditFigures, after: AuditFigures, judged: Sequence[AttackVerdict], outcome: str
    ) -> str:
        return "; ".join(
            f"{judged[number].attack} led {percent(before.attacks[number].asr.value)} of the images to its "
            f"target, and now {share(after.attacks[number].asr)}, limit "
            f"{percent(self.limit(number, before.attacks[number])[1])}"
            for number in sorted(self.controlled)
            if judged[number].outcome == outcome
        )
