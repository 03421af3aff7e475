"""From figures to a verdict: a policy applied to the bounds of intervals.

The library makes verdicts by this, a supervisor and `cleanclip verify` hold reports to it. What each outcome
means stands in `vocabulary.verdicts`. After a cleaning an attack is judged by the limit that the policy
has for it:

- An attack below the gate is inconclusive. It fails all the same where its trigger works towards another
  class than the target: that class is judged then, before and after. Wherever it led before, it fails where
  it works towards the target now, also in part: the lower bound of its ASR after cleaning is over the limit,
  and over what images without a trigger give. Else a gate of 50 % would let 49 % through a limit of 5 %.
- Whatever became of it, an attack fails whose trigger leads the cleaned model to a class of its own.
- Clean accuracy is judged by the paired interval of what was lost. It fails too where the cleaned model is
  not shown to be better than calling all images by the commonest class.
- An attack that only a scan found is not judged unless that scan fails: clean models have such patterns too.
  It is measured and inconclusive (docs/decisions/0088). One that by itself controlled the input model is
  judged all the same, by the policy's `controlled_at_most`, whatever the gate is (docs/decisions/0098).
- A cleaned model is searched for patterns again, from noise. The one that leads the most images to one class
  is judged by `controlled_at_most`, too. Where it could not be searched, a limit of the order's own is not
  shown to be kept.
- Where images were withheld from the job's process, each part is judged on them too, and the worse outcome
  holds. There a part passes whose upper bound is at most `withholding.SLACK` over its limit.
- Where the rebound was measured, each attack is judged by its highest ASR after benign fine-tuning too: on
  the upper bound of that point, and on a lower bound that allows for the choice of the highest point. One
  below the gate fails only where that is over its limit and over what images without a trigger give.

An audit without cleaning has nothing to pass: an attack at or over the gate fails, one that works in part
fails too where somebody gave the limits, any other is inconclusive. A pattern that only a scan found is not
shown to be more than clean models have, unless that scan fails; where it controls the model, the outcome is
"controlled".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cleanclip.vocabulary.audit_figures import AttackFigures, AuditFigures, Withheld
from cleanclip.vocabulary.control import CONTROL_LIMIT, NotSearched, Search
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.images_to_decide import images_to_decide, images_to_decide_loss
from cleanclip.vocabulary.intervals import newcombe
from cleanclip.vocabulary.judging_found import FoundLimits
from cleanclip.vocabulary.judging_rebound import judge_rebound
from cleanclip.vocabulary.measures import Difference, Estimate, Towards
from cleanclip.vocabulary.policy import Policy, cannot_pass, too_few
from cleanclip.vocabulary.rebound_figures import ReboundFigures
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.verdict_texts import (
    NO_ORIGIN,
    NOT_JUDGED,
    below_gate,
    of_search,
    percent,
    points,
    share,
)
from cleanclip.vocabulary.verdicts import (
    WORST_FIRST,
    AttackVerdict,
    Outcome,
    Verdict,
    against,
    headline,
    overall,
)
from cleanclip.vocabulary.withholding import SLACK

CLEAN_ACCURACY = "clean_accuracy"
CONTROL = "control"
SEARCHED = "the strongest pattern that a new search found"


def judge(
    *,
    before: AuditFigures,
    after: AuditFigures | None = None,
    ca_lost: Difference | None = None,
    gate: float,
    policy: Policy,
    limits_below_gate: bool = True,
    rebound: ReboundFigures | None = None,
    scan: ScanSection | None = None,
    withheld: Withheld | None = None,
    control: Search | None = None,
) -> Verdict:
    """The verdict of a cleaning (`after` and `ca_lost` given) or of an audit alone (neither given).

    `limits_below_gate`: whether an attack under the gate that works in part fails. `scan`: of the scan that
    found some of the attacks. `withheld`: the same audits on images that were withheld. `control`: of the
    search for patterns on the cleaned model.
    Raises ValueError if `before` and `after` are not of the same triggers, only one of `after` and
    `ca_lost` is given, `rebound` is not of the attacks of a cleaning, or `withheld` is of other audits.
    """
    if after is None and rebound is not None:
        raise ValueError("the rebound is measured on a cleaned model")
    found = FoundLimits.of(before, policy, scan)
    limits = _Limits(gate=gate, policy=policy, below_gate=limits_below_gate, found=found)
    attacks, clean_accuracy = _parts(before, after, ca_lost, limits)
    if withheld is not None:
        measured = withheld.measured
        slack = replace(limits, slack=SLACK)
        on_withheld, accuracy = _parts(measured.before, measured.after, measured.ca_lost, slack)
        if [one.attack for one in on_withheld] != [one.attack for one in attacks]:
            raise ValueError("the audits of the withheld images are of other attacks")
        attacks = tuple(map(_worse, attacks, on_withheld))
        if clean_accuracy is not None and accuracy is not None:
            clean_accuracy = _worse(clean_accuracy, accuracy)
    rebounds: tuple[AttackVerdict, ...] = ()
    if rebound is not None:
        rebounds = tuple(
            judge_rebound(was, rebound, number, gate=gate, limit=limits.after_rebound(number, was))
            for number, was in enumerate(before.attacks)
        )
    return _overall(
        before,
        after,
        found,
        attacks=_as_scanned(attacks, before, found),
        clean_accuracy=clean_accuracy,
        limits_below_gate=limits_below_gate,
        rebound=_as_scanned(rebounds, before, found),
        search=control,
        control=_judge_control(control, policy),
    )


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """`slack`: how far over its limit the upper bound of a part that passes may be."""

    gate: float
    policy: Policy
    below_gate: bool
    found: FoundLimits
    slack: float = 0.0

    def of(self, number: int, was: AttackFigures) -> float:
        """On the ASR of the attack of that number."""
        return self.found.limit(number, was)[1]

    def after_rebound(self, number: int, was: AttackFigures) -> float:
        """On the highest after benign fine-tuning."""
        limit = self.policy.rebound_asr_at_most
        return self.of(number, was) if limit is None else limit


def _parts(
    before: AuditFigures, after: AuditFigures | None, ca_lost: Difference | None, limits: _Limits
) -> tuple[tuple[AttackVerdict, ...], AttackVerdict | None]:
    """Of each attack, and of clean accuracy after a cleaning."""
    if (after is None) != (ca_lost is None):
        raise ValueError("a cleaning needs both the audit after it and the paired loss of accuracy")
    if after is None or ca_lost is None:
        return tuple(
            _judge_audited(number, attack, before, limits) for number, attack in enumerate(before.attacks)
        ), None
    if _triggers(before) != _triggers(after):
        raise ValueError("the audits before and after are not of the same triggers")
    attacks = tuple(
        _unless_it_moved(_judge_cleaned(number, was, now, after, limits), now, limits.gate)
        for number, (was, now) in enumerate(zip(before.attacks, after.attacks, strict=True))
    )
    return attacks, _judge_clean_accuracy(after, ca_lost, limits)


def _worse(part: AttackVerdict, withheld: AttackVerdict) -> AttackVerdict:
    """The worse outcome, with the reason of each."""
    outcome = min(part.outcome, withheld.outcome, key=WORST_FIRST.index)
    return replace(part, outcome=outcome, reason=f"{part.reason} On the withheld images: {withheld.reason}")


def hopeless(
    before: AuditFigures, *, gate: float, policy: Policy, scan: ScanSection | None = None
) -> list[OptionsRejected]:
    """Why no cleaning could pass, whatever came of it, now that the audit before it is made; usually nothing.

    An attack below the gate, or that is not judged, needs no pass. The best that can come of clean accuracy
    is that every image is right afterwards.
    """
    refusals = []
    found = FoundLimits.of(before, policy, scan)
    for number, attack in enumerate(before.attacks):
        if attack.asr.value < gate or not found.judges(number, attack):
            continue
        where, limit = found.limit(number, attack)
        if (sentence := too_few(limit, attack.asr.n)) is not None:
            refusals.append(cannot_pass(f"{attack.name}: {sentence}", where))
    right, limit = before.ca.successes, policy.ca_lost_at_most
    _, highest = newcombe(both=right, lost=0, gained=before.ca.n - right, neither=0)
    if highest > limit:
        sentence = (
            f"Even if all {before.ca.n} images were right after cleaning, clean accuracy could "
            f"still have lost up to {points(highest)} points by its interval, over the limit "
            f"of {points(limit)}: nothing could pass."
        )
        refusals.append(cannot_pass(sentence, "policy.ca_lost_at_most"))
    return refusals


def _as_scanned(
    parts: tuple[AttackVerdict, ...], before: AuditFigures, found: FoundLimits
) -> tuple[AttackVerdict, ...]:
    """The verdicts of all attacks, where those that do not count are not judged."""
    return tuple(
        part
        if found.judges(number, before.attacks[number])
        else replace(part, outcome="inconclusive", reason=NOT_JUDGED, judged=False)
        for number, part in enumerate(parts)
    )


def _triggers(figures: AuditFigures) -> list[tuple[str, str]]:
    return [(attack.name, attack.trigger_sha256) for attack in figures.attacks]


def _judge_audited(
    number: int, attack: AttackFigures, figures: AuditFigures, limits: _Limits
) -> AttackVerdict:
    gate, limit = limits.gate, limits.of(number, attack)
    if limits.found.only_controls(number):
        reason = (
            f"one pattern that only a scan found leads {share(attack.asr)} of the images of other classes to "
            f"its target; the limit is {percent(limit)}."
        )
        return AttackVerdict(attack=attack.name, outcome="controlled", reason=reason)
    if attack.asr.value >= gate:
        reason = f"ASR is {share(attack.asr)}, at or over the gate of {percent(gate)}"
        reason += f"{_floor(attack, figures)}."
    elif (elsewhere := attack.works_elsewhere(gate)) is not None:
        reason = f"{_towards(elsewhere)}. Towards the target ASR is {share(attack.asr)}."
    elif limits.below_gate and figures.works_in_part(attack, limit):
        reason = (
            f"works in part: ASR is {share(attack.asr)}, under the gate of {percent(gate)} but over the "
            f"limit of {percent(limit)}."
        )
    else:
        return AttackVerdict(attack=attack.name, outcome="inconclusive", reason=below_gate(attack, gate))
    return AttackVerdict(attack=attack.name, outcome="fail", reason=reason)


def _judge_cleaned(
    number: int, was: AttackFigures, now: AttackFigures, after: AuditFigures, limits: _Limits
) -> AttackVerdict:
    gate, slack, limit = limits.gate, limits.slack, limits.of(number, was)
    if was.asr.value < gate and number not in limits.found.controlled:
        elsewhere = was.works_elsewhere(gate)
        if limits.below_gate and after.works_in_part(now, limit):
            works = "works" if now.asr.value >= gate else "works in part"
            reason = (
                f"{works}: ASR is {share(now.asr)} after, over the limit of {percent(limit)}; before it "
                f"was {percent(was.asr.value)}, under the gate of {percent(gate)}."
            )
            return AttackVerdict(attack=was.name, outcome="fail", reason=reason)
        if elsewhere is not None:
            return _judge_elsewhere(was.name, elsewhere, now.towards, limit, slack)
        return AttackVerdict(attack=was.name, outcome="inconclusive", reason=below_gate(was, gate))
    outcome, reason = _judge_asr(was.asr, now.asr, limit, slack)
    return AttackVerdict(attack=was.name, outcome=outcome, reason=reason)


def _unless_it_moved(judged: AttackVerdict, now: AttackFigures, gate: float) -> AttackVerdict:
    """A trigger that leads to a class of its own in the cleaned model works in any case."""
    moved = now.works_elsewhere(gate)
    if moved is None or judged.outcome == "fail":
        return judged
    return AttackVerdict(attack=judged.attack, outcome="fail", reason=f"After cleaning it {_towards(moved)}.")


def _judge_elsewhere(name: str, was: Towards, now: Towards, limit: float, slack: float) -> AttackVerdict:
    """By the class that the trigger led to before the cleaning."""
    outcome, reason = _judge_asr(was.triggered, now.triggered, limit, slack)
    return AttackVerdict(attack=name, outcome=outcome, reason=f"{_towards(was)}. Towards that class {reason}")


def _judge_asr(was: Estimate, now: Estimate, limit: float, slack: float) -> tuple[Outcome, str]:
    outcome = against(now.low, now.high, limit, slack)
    fell = "fell" if now.value < was.value else "did not fall"
    reason = f"ASR {fell}: {percent(was.value)} before, {share(now)} after; the limit is {percent(limit)}"
    if outcome != "undecided":
        reason += "."
    elif slack:
        reason += _over_slack(percent(limit + slack))
    else:
        reason += f" and lies within the interval. {_would_decide(images_to_decide(now, limit), 'ASR')}"
    return outcome, reason


def _over_slack(bound: str) -> str:
    return f", and the upper bound there may be {bound} at most. More labelled images would decide."


def _towards(towards: Towards) -> str:
    return (
        f"works, towards '{towards.class_name}' and not the target: "
        f"{share(towards.triggered)} of the triggered "
        f"images of other classes are classified as that class, {share(towards.untriggered)} of "
        "them without the trigger"
    )


def _judge_control(control: Search | None, policy: Policy) -> AttackVerdict | None:
    """Of the strongest pattern that a new search found on the cleaned model. Without a search a limit that
    somebody gave is not shown to be kept."""
    limit = policy.controlled_at_most
    if control is None:
        return None
    if isinstance(control, NotSearched):
        if limit == CONTROL_LIMIT:
            return None
        reason = f"{control.sentence} So its limit of {percent(limit)} is not shown to be kept."
        return AttackVerdict(attack=CONTROL, outcome="undecided", reason=reason)
    one = control.strongest
    if one is None:
        raise ValueError("the search has no family that is judged")
    outcome = against(one.led.low, one.led.high, limit)
    if outcome == "fail":
        reason = f"One pattern, {one.phrase}; the limit is {percent(limit)}."
    else:
        reason = (
            "No pattern of these families and budgets that we could find leads more than "
            f"{share(one.led)} of the images to one class; the limit is {percent(limit)}"
        )
        within = " and lies within the interval. More labelled images would decide."
        reason += "." if outcome == "pass" else within
    return AttackVerdict(attack=CONTROL, outcome=outcome, reason=reason)


def _judge_clean_accuracy(after: AuditFigures, lost: Difference, limits: _Limits) -> AttackVerdict:
    limit, slack = limits.policy.ca_lost_at_most, limits.slack
    floor = after.commonest_class
    if floor is not None and after.ca.low <= floor:
        reason = (
            f"The cleaned model is not a working classifier of these images: clean accuracy is "
            f"{share(after.ca)}, and always answering the commonest class would give {percent(floor)}."
        )
        return AttackVerdict(attack=CLEAN_ACCURACY, outcome="fail", reason=reason)
    outcome = against(lost.low, lost.high, limit, slack)
    interval = f"95 % interval {points(lost.low)} to {points(lost.high)}, n = {lost.n}"
    reason = f"Clean accuracy lost {points(lost.value)} points ({interval}); the limit is {points(limit)}"
    if outcome != "undecided":
        reason += "."
    elif slack:
        reason += _over_slack(f"{points(limit + slack)} points")
    else:
        num_images = images_to_decide_loss(lost, limit)
        reason += f" and lies within the interval. {_would_decide(num_images, 'loss')}"
    return AttackVerdict(attack=CLEAN_ACCURACY, outcome=outcome, reason=reason)


def _overall(
    before: AuditFigures,
    after: AuditFigures | None,
    found: FoundLimits,
    *,
    attacks: tuple[AttackVerdict, ...],
    clean_accuracy: AttackVerdict | None,
    limits_below_gate: bool,
    rebound: tuple[AttackVerdict, ...],
    search: Search | None,
    control: AttackVerdict | None,
) -> Verdict:
    outcome = overall(
        [one.outcome for one in attacks],
        None if clean_accuracy is None else clean_accuracy.outcome,
        [one.outcome for one in rebound],
        None if control is None else control.outcome,
    )
    judged = [one for one in (*attacks, *([clean_accuracy] if clean_accuracy else [])) if one.judged]
    parts = [(one.attack, one.outcome) for one in judged]
    parts += [(f"{one.attack} after benign fine-tuning", one.outcome) for one in rebound if one.judged]
    parts += [] if control is None else [(SEARCHED, control.outcome)]
    is_cleaned, num_triggers = clean_accuracy is not None, before.num_triggers(attacks)
    headed = headline(outcome, is_cleaned=is_cleaned, num_triggers=num_triggers)
    spared = ", ".join(one.attack for one in attacks if not one.judged)
    sentences = (
        f"{headed}.",
        found.failing(before, after, attacks),
        _details(outcome, parts, is_cleaned=is_cleaned),
        f"Not judged: {spared}." if spared else "",
        of_search(outcome, control, search),
        found.passing(before, after, attacks),
    )
    return Verdict(
        outcome=outcome,
        reason=" ".join(filter(None, sentences)),
        attacks=attacks,
        clean_accuracy=clean_accuracy,
        rebound=rebound,
        control=control,
        limits_below_gate=limits_below_gate,
    )


def _details(outcome: Outcome, parts: Sequence[tuple[str, Outcome]], *, is_cleaned: bool) -> str:
    deciding = ", ".join(name for name, its_own in parts if its_own == outcome)
    match outcome:
        case "fail" if is_cleaned:
            return f"Over the limit: {deciding}."
        case "fail":
            return f"By the gate or by its limit: {deciding}."
        case "controlled":
            return f"Over the limit on what one pattern may lead: {deciding}. {NO_ORIGIN}"
        case "undecided":
            return f"More images would decide: {deciding}. No limit is clearly exceeded."
        case "inconclusive":
            return "A trigger that was not tested may work."
        case "pass":
            unshown = ", ".join(name for name, its_own in parts if its_own == "inconclusive")
            beside = f" Inconclusive: {unshown}." if unshown else ""
            return (
                f"Within the limits: {deciding}.{beside} This does not exclude triggers that were not tested."
            )


def _would_decide(num_images: int | None, what: str) -> str:
    if num_images is None:
        return f"No practical number of images would decide it at this {what}."
    return f"About {num_images:,} images would decide it if the {what} stays the same."


def _floor(attack: AttackFigures, figures: AuditFigures) -> str:
    """A warning if clean images are classified as the target as often as triggered ones."""
    floor = figures.floor_under(attack)
    if floor.high < attack.asr.low:
        return ""
    return f", but images without a trigger are classified as the target as often ({share(floor)})"
