"""Whether a report's figures fit: every share its counts, counts each other, after what was before.

One figure changed by hand does not fit the rest, and is named, even where nothing is signed and every sum was
made anew: here, or by what else is checked (verdicts, training, scanners, and the statement, which has copies
of what stands alone in a report: inputs, order, trigger digests, scanners, names of classes, warnings). Who
changes all that hangs together, copies in the statement included, passes: only a signature tells that. Held
against nothing: `created_at`, `skipped_examples` and `vouched_for`, which are no figures.
"""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence import classes, drift, probe, ranks, targets
from cleanclip.evidence.counted import difference, estimate, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.report import (
    AttackFigures,
    AuditFigures,
    DataInput,
    Difference,
    Estimate,
    Report,
    TargetFigures,
    TopK,
    Towards,
)

MOST_CLASSES_TOLD = 10
"""Of those that lost accuracy the worst are told. Fewer: these are all that lost any."""


def check(report: Report) -> Iterator[Finding]:
    """Figures of both audits, what was lost, and what was counted."""
    yield from _audit("before", report.before, report)
    if report.after is not None:
        yield from _audit("after", report.after, report)
        yield from _same_images(report.before, report.after)
    yield from classes.check_changes(report, most=MOST_CLASSES_TOLD)
    yield from same("before.weights_sha256", report.before.weights_sha256, report.checkpoint.weights_sha256)
    yield from _skipped(report)
    yield from drift.check(report, report.before.ca.n, _num_classes(report))
    if (report.kind == "sanitize") != (report.after is not None):
        yield misfit("after", "is there for a cleaning and for nothing else")
    if (report.after is None) != (report.ca_lost is None):
        yield misfit("ca_lost", "belongs to an audit after cleaning")
    elif report.after is not None and report.ca_lost is not None:
        yield from difference("ca_lost", report.ca_lost, report.before.ca, report.after.ca)
        yield from _classes_lost(report, report.before.ca, report.after.ca, report.ca_lost)
    yield from _attack_changes(report)
    if report.after is None and report.classes_lost:
        yield misfit("classes_lost", "belongs to an audit after cleaning")


def _audit(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    num_images, ks = figures.ca.n, [one.k for one in figures.untriggered_target_top_k]
    yield from same(f"{where}.seed", figures.seed, report.seed)
    yield from estimate(f"{where}.ca", figures.ca, num_images)
    yield from estimate(f"{where}.ca_top5", figures.ca_top5, num_images)
    for index, floor in enumerate(_floors(figures, report)):
        inside = f"{where}.further_targets[{index - 1}]" if index else where
        yield from _floor(inside, floor, num_images, ks)
    yield from targets.check(where, figures, report)
    yield from classes.check(where, figures, _floors(figures, report))
    yield from _ranks(where, figures, report)
    if figures.ca_top5.successes < figures.ca.successes:
        yield misfit(f"{where}.ca_top5.successes", "is smaller than that of ca")
    for data in _labelled(report):
        yield from same(f"{where}.ca.n", num_images, data.num_samples - data.num_skipped)
        if data.num_classes is not None and ks and max(ks) >= data.num_classes:
            told = f"goes up to {max(ks)}, of {data.num_classes} classes"
            yield misfit(f"{where}.untriggered_target_top_k", told)
    num_others = [targets.rate_under(attack, figures, report).n for attack in figures.attacks]
    for place, share, n in probe.shares(where, figures, num_others):
        yield from estimate(place, share, n)
    yield from probe.check(where, figures, report)
    options = [attack.options for attack in figures.attacks]
    yield from same(f"{where}.attacks", options, report.audit.attacks)
    for index, attack in enumerate(figures.attacks):
        where_attack = f"{where}.attacks[{index}]"
        yield from _attack(where_attack, attack, num_images=num_images, num_others=num_others[index])
        is_due = where == "after" and attack.towards is not None and num_others[index] > 0
        if attack.towards_now is None if is_due else where == "before" and attack.towards_now is not None:
            yield misfit(f"{where_attack}.towards_now", "is there after a cleaning and nowhere else")
        yield from same(f"{where_attack}.asr_top_k", [one.k for one in attack.asr_top_k], ks)


def _floor(where: str, floor: TargetFigures, num_images: int, ks: list[int]) -> Iterator[Finding]:
    rate = floor.untriggered_target_rate
    yield from estimate(f"{where}.untriggered_target_rate", rate, rate.n)
    yield from _top_k(f"{where}.untriggered_target_top_k", floor.untriggered_target_top_k, rate)
    if rate.n > num_images:
        yield misfit(f"{where}.untriggered_target_rate.n", "is more than all images")
    yield from same(
        f"{where}.untriggered_target_top_k", [one.k for one in floor.untriggered_target_top_k], ks
    )


def _ranks(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    """The places of the targets, which are told of all or, before they were measured, of none."""
    told = [rank for _, rank in ranks.of_audit(figures, report)]
    if any(rank is None for rank in told):
        if any(told):
            yield misfit(f"{where}.untriggered_target_rank", "is missing, or that of an attack is")
        return
    shares = [(one.untriggered_target_rate, one.untriggered_target_top_k) for one in _floors(figures, report)]
    shares += [(attack.asr, attack.asr_top_k) for attack in figures.attacks]
    num_classes = _num_classes(report)
    for (place, rank), (first, top_k) in zip(ranks.of_audit(figures, report), shares, strict=True):
        if rank is not None:
            yield from ranks.check(f"{where}.{place}", rank, first, top_k, num_classes)


def _floors(figures: AuditFigures, report: Report) -> list[TargetFigures]:
    return list(targets.floors(figures, report).values())


def _skipped(report: Report) -> Iterator[Finding]:
    """Samples that were left out are told in a warning too."""
    for index, data in enumerate(report.data):
        told = f"{data.num_skipped} of {data.num_samples} "
        if data.num_skipped > data.num_samples:
            yield misfit(f"data[{index}].num_skipped", "is more than num_samples")
        elif data.num_skipped and not any(warning.startswith(told) for warning in report.warnings):
            yield misfit(f"data[{index}].num_skipped", f"is {data.num_skipped}, and no warning says so")


def _attack(where: str, attack: AttackFigures, *, num_images: int, num_others: int) -> Iterator[Finding]:
    asr, inclusive, pa = attack.asr, attack.asr_including_target, attack.pa
    yield from estimate(f"{where}.asr", asr, num_others)
    yield from estimate(f"{where}.asr_including_target", inclusive, num_images)
    yield from estimate(f"{where}.pa", pa, num_images)
    yield from _top_k(f"{where}.asr_top_k", attack.asr_top_k, asr)
    for name, towards in (("towards", attack.towards), ("towards_now", attack.towards_now)):
        if towards is not None:
            yield from _towards(f"{where}.{name}", attack, towards, num_images)
    if attack.towards is not None and attack.towards_now is not None:
        yield from _moved(f"{where}.towards_now", attack.towards, attack.towards_now)
    # Images of the target class that are called the target: right answers too.
    right_targets = inclusive.successes - asr.successes
    if not 0 <= right_targets <= num_images - num_others:
        yield misfit(f"{where}.asr_including_target.successes", "does not fit that of asr")
    elif not right_targets <= pa.successes <= num_images - asr.successes:
        yield misfit(f"{where}.pa.successes", "does not fit the attack's successes")


def _moved(where: str, towards: Towards, now: Towards) -> Iterator[Finding]:
    """Of the class that triggered images go to most no fewer can be than of the one from before."""
    if towards.class_name == now.class_name and towards != now:
        yield misfit(where, "is not the same, though the class is")
    if now.triggered.successes < towards.triggered.successes:
        yield misfit(f"{where}.triggered.successes", "is smaller than that of another class")


def _towards(where: str, attack: AttackFigures, towards: Towards, num_images: int) -> Iterator[Finding]:
    """Where triggered images go most, of which the target is one possible answer."""
    for place, share in (("triggered", towards.triggered), ("untriggered", towards.untriggered)):
        yield from estimate(f"{where}.{place}", share, towards.triggered.n)
    if towards.triggered.n > num_images:
        yield misfit(f"{where}.triggered.n", "is more than all images")
    if towards.class_name == attack.target and towards.triggered != attack.asr:
        yield misfit(f"{where}.triggered", "is not the ASR, though the class is the target")


def _top_k(where: str, shares: list[TopK], first: Estimate) -> Iterator[Finding]:
    """Each k with its share, which only grows; `first` is that of k = 1."""
    k, successes = 1, first.successes
    for index, one in enumerate(shares):
        yield from estimate(f"{where}[{index}].share", one.share, first.n)
        if one.k <= k:
            yield misfit(f"{where}[{index}].k", f"is {one.k}, after {k}")
        if one.share.successes < successes:
            yield misfit(f"{where}[{index}].share.successes", "is smaller than that of a smaller k")
        k, successes = one.k, one.share.successes


def _attack_changes(report: Report) -> Iterator[Finding]:
    """Each leads from the figures before to those after; a report from before they were told has none."""
    if report.after is None:
        if report.attack_changes:
            yield misfit("attack_changes", "belong to an audit after cleaning")
        return
    if "attack_changes" not in report.model_fields_set:
        return
    names = [change.attack for change in report.attack_changes]
    sides = (report.before.attacks, report.after.attacks)
    if any([attack.name for attack in attacks] != names for attacks in sides):
        yield misfit("attack_changes", "are not of the attacks that were measured")
        return
    for index, change in enumerate(report.attack_changes):
        where, was, now = (
            f"attack_changes[{index}]",
            report.before.attacks[index],
            report.after.attacks[index],
        )
        yield from difference(f"{where}.asr_lost", change.asr_lost, was.asr, now.asr)
        yield from difference(f"{where}.pa_lost", change.pa_lost, was.pa, now.pa)


def _classes_lost(report: Report, was: Estimate, now: Estimate, ca_lost: Difference) -> Iterator[Finding]:
    """Each class by itself, worst first, and all together with what is left for the classes not told."""
    changes = report.classes_lost
    if "classes_lost" not in report.model_fields_set:
        # A report from before classes were told has no k either.
        if "untriggered_target_top_k" in report.before.model_fields_set:
            yield misfit("classes_lost", "is missing, though what came with it is there")
        return
    for index, change in enumerate(changes):
        where = f"classes_lost[{index}]"
        yield from estimate(f"{where}.before", change.before, change.lost.n)
        yield from estimate(f"{where}.after", change.after, change.lost.n)
        yield from difference(f"{where}.lost", change.lost, change.before, change.after)
        if change.lost.lost <= change.lost.gained:
            yield misfit(f"{where}.lost", "is no loss")
        if index and change.lost.value > changes[index - 1].lost.value:
            yield misfit(f"{where}.lost", "is more than what the class before it lost")
    if len(changes) > MOST_CLASSES_TOLD:
        yield misfit("classes_lost", f"are {len(changes)}, more than {MOST_CLASSES_TOLD}")
    if any(data.num_classes is not None and len(changes) > data.num_classes for data in _labelled(report)):
        yield misfit("classes_lost", "are more than there are classes")
    left = {
        "n": ca_lost.n - sum(change.lost.n for change in changes),
        "lost": ca_lost.lost - sum(change.lost.lost for change in changes),
        "gained": ca_lost.gained - sum(change.lost.gained for change in changes),
        "before.successes": was.successes - sum(change.before.successes for change in changes),
        "after.successes": now.successes - sum(change.after.successes for change in changes),
    }
    for name, rest in left.items():
        if rest < 0:
            yield misfit("classes_lost", f"makes a larger {name} than all images have")
        elif rest > left["n"] >= 0:
            yield misfit("classes_lost", f"leaves a larger {name} to the other classes than they have images")
    # A class that is not told lost at most as much as the last that is; nothing, where all losers are told.
    net = left["lost"] - left["gained"]
    if len(changes) < MOST_CLASSES_TOLD:
        if net > 0:
            yield misfit("classes_lost", f"leaves out classes: {net} more images were lost than it tells of")
    elif net * changes[-1].lost.n > left["n"] * (changes[-1].lost.lost - changes[-1].lost.gained):
        yield misfit("classes_lost", "leaves out classes that lost more than the last that is told")


def _same_images(before: AuditFigures, after: AuditFigures) -> Iterator[Finding]:
    yield from same("after.ca.n", after.ca.n, before.ca.n)
    yield from same(
        "after.untriggered_target_rate.n", after.untriggered_target_rate.n, before.untriggered_target_rate.n
    )
    others = [[one.untriggered_target_rate.n for one in audit.further_targets] for audit in (after, before)]
    yield from same("after.further_targets", *others)
    ks = [[one.k for one in audit.untriggered_target_top_k] for audit in (after, before)]
    yield from same("after.untriggered_target_top_k", *ks)
    triggers = [(one.name, one.trigger_sha256) for one in after.attacks]
    yield from same("after.attacks", triggers, [(one.name, one.trigger_sha256) for one in before.attacks])
    classes = [[one.towards and one.towards.class_name for one in audit.attacks] for audit in (after, before)]
    yield from same("after.attacks: the classes of towards", *classes)


def _num_classes(report: Report) -> int | None:
    return min((data.num_classes for data in _labelled(report) if data.num_classes), default=None)


def _labelled(report: Report) -> list[DataInput]:
    """The images that were measured on: one set, if the report is whole."""
    return [data for data in report.data if data.kind == "labelled"]
