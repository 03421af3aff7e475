"""What pages of several jobs show of a result: one line for each attack, words for outcomes and methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.db.models.job import Job
from app.schemas.jobs import ResultOut
from cleanclip.vocabulary.attack_options import names_of
from cleanclip.vocabulary.audit_figures import AttackFigures
from cleanclip.vocabulary.verdicts import WORST_FIRST, Outcome

METHODS = {"cleanclip": "CleanCLIP", "par": "PAR", "supervised": "Supervised", "uar": "UAR"}


@dataclass(frozen=True, kw_only=True)
class VerdictLabel:
    """A job's headline: what stands before its outcome, and that, which is the class of its badge too. None:
    it judges nothing."""

    lead: str
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class AttackLine:
    """One attack before and, where something was cleaned, after. `outcome` None: there is no verdict.
    `judged` False: only a scan found it, and that scan did not fail."""

    name: str
    before: AttackFigures | None
    after: AttackFigures | None
    outcome: Outcome | None
    judged: bool = True

    @property
    def badness(self) -> tuple[int, float]:
        """The worst first: by outcome, then by ASR as it is now."""
        now = self.after or self.before
        rank = len(WORST_FIRST) if self.outcome is None else WORST_FIRST.index(self.outcome)
        return rank, 0.0 if now is None else -now.asr.value


def result_of(job: Job) -> ResultOut | None:
    return ResultOut.of(job.result)


def verdict_label(result: ResultOut | None) -> VerdictLabel | None:
    """What a whole job comes to; None until it has succeeded."""
    if result is None or result.headline is None:
        return None
    return VerdictLabel(lead=result.headline.removesuffix(result.outcome or ""), outcome=result.outcome)


def attack_lines(result: ResultOut) -> Sequence[AttackLine]:
    """In the order of the audit."""
    after = {attack.name: attack for attack in result.after.attacks} if result.after else {}
    verdicts = {one.attack: one for one in result.verdict.attacks} if result.verdict else {}
    return [
        AttackLine(
            name=attack.name,
            before=attack,
            after=after.get(attack.name),
            outcome=None if verdict is None else verdict.outcome,
            judged=verdict is None or verdict.judged,
        )
        for attack in (result.before.attacks if result.before else ())
        for verdict in [verdicts.get(attack.name)]
    ]


def method_of(job: Job) -> str | None:
    """None for an audit."""
    recipe = job.spec.get("recipe")
    if recipe is None:
        return None
    method = str(recipe.get("method", "cleanclip"))
    return METHODS.get(method, method)


def targets_of(job: Job) -> Sequence[str]:
    """Those that the order names: the audit's first, then those that attacks have of their own."""
    audit = job.spec.get("audit", {})
    own = [attack.get("target") for attack in audit.get("attacks", ())]
    return list(dict.fromkeys(str(target) for target in (audit.get("target"), *own) if target))


def ordered_attacks(job: Job) -> Sequence[str]:
    """The names that the audit gives, or would give, the attacks that it was ordered with."""
    return names_of(job.spec.get("audit", {}).get("attacks", ()))


def took_s(job: Job) -> float | None:
    """From the first start to the end, or until now; pauses are in it."""
    if job.started_at is None:
        return None
    return ((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds()
