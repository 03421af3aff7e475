"""Whether a report's counts fit each other, and those after a cleaning those before.

Which shares there are stands in `cleanclip.vocabulary.figures`. Held against nothing: `created_at`,
`skipped_examples` and `vouched_for`, which are no figures.
"""

from collections.abc import Iterator, Sequence

from cleanclip.evidence import ranks
from cleanclip.evidence.counted import difference, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary.audit_figures import MOST_CLASSES_REPORTED, AttackFigures, AuditFigures
from cleanclip.vocabulary.figures import Line, Others, at, of_attack, of_model, of_retrieval
from cleanclip.vocabulary.measures import Difference, Estimate, TopK, Towards
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.sections import section_fields, sections_of


def check(report: Report) -> Iterator[Finding]:
    """Figures of both audits, what was lost, and what was counted."""
    if report.is_cleaning != (report.after is not None):
        yield misfit("after", "is there for a cleaning and for nothing else")
    for where, audit in audits(report):
        yield from _audit(where, audit, report)
        yield from _classes(where, audit)
    yield from same("before.weights_sha256", report.before.weights_sha256, report.checkpoint.weights_sha256)
    yield from _skipped(report)
    yield from _sections(report)
    if report.after is not None:
        yield from _same_images(report.before, report.after)
        yield from _same_classes(report, report.after)
    if report.after is not None and report.ca_lost is not None:
        yield from difference("ca_lost", report.ca_lost, report.before.ca, report.after.ca)
        yield from _classes_lost(report, report.before.ca, report.after.ca, report.ca_lost)
    elif report.classes_lost:
        yield misfit("classes_lost", "belongs to an audit after cleaning")
    yield from _attack_changes(report)
    lines = [*of_model(report), *of_retrieval(report)]
    for number in range(len(report.before.attacks)):
        lines += of_attack(report, number)
    for line in lines:
        yield from _line(line, report)


def audits(report: Report) -> list[tuple[str, AuditFigures]]:
    """That before, and that after where there is one, by name."""
    sides = (("before", report.before), ("after", report.after))
    return [(side, audit) for side, audit in sides if audit is not None]


def num_classes(report: Report) -> int | None:
    """Of the set of images that was measured on, where it is reported."""
    return min(
        (one.num_classes for one in report.data if one.kind == "labelled" and one.num_classes), default=None
    )


def _line(line: Line, report: Report) -> Iterator[Finding]:
    """A share against its own counts, and against the number of images that it must be of."""
    if report.after is not None and (line.before is None) != (line.after is None):
        yield misfit(line.path("after"), "is there before or after alone")
    for side, share in line.sides():
        audit, of = getattr(report, side), line.figure.of
        if isinstance(share, Estimate):
            expected = audit.floor_under(at(audit, line.steps[:2])).n if of == Others else at(audit, of or "")
            yield from same(f"{line.path(side)}.n", share.n, share.n if of is None else expected)


def _audit(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    num_images, ks = figures.ca.n, [one.k for one in figures.untriggered_target_top_k]
    yield from same(f"{where}.seed", figures.seed, report.seed)
    if figures.ca_top5.successes < figures.ca.successes:
        yield misfit(f"{where}.ca_top5.successes", "is smaller than that of ca")
    for data in (one for one in report.data if one.kind == "labelled"):
        yield from same(f"{where}.ca.n", num_images, data.num_samples - data.num_skipped)
        if data.num_classes is not None and ks and max(ks) >= data.num_classes:
            reported = f"goes up to {max(ks)}, of {data.num_classes} classes"
            yield misfit(f"{where}.untriggered_target_top_k", reported)
    yield from _targets(where, figures, report)
    for inside, floor in ranks.floors(where, figures):
        rate, top_k = floor.untriggered_target_rate, floor.untriggered_target_top_k
        if rate.n > num_images:
            yield misfit(f"{inside}.untriggered_target_rate.n", "is more than all images")
        yield from _top_k(f"{inside}.untriggered_target_top_k", top_k, rate, ks)
    yield from ranks.check(where, figures, num_classes(report))
    yield from _probe(where, figures, report)
    ordered = [to_json(attack) for attack in report.audit.attacks]
    yield from same(f"{where}.attacks", [attack.options for attack in figures.attacks], ordered)
    for index, attack in enumerate(figures.attacks):
        inside, num_others = f"{where}.attacks[{index}]", figures.floor_under(attack).n
        yield from _attack(inside, attack, num_images=num_images, num_others=num_others)
        yield from _top_k(f"{inside}.asr_top_k", attack.asr_top_k, attack.asr, ks)
        if (attack.towards_now is None) != (where == "before"):
            yield misfit(f"{inside}.towards_now", "is there after a cleaning and nowhere else")


def _targets(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    """Which class each attack leads to, and that each class has its floor."""
    ordered = [attack.target or report.audit.target for attack in report.audit.attacks]
    for index, (attack, expected) in enumerate(zip(figures.attacks, ordered, strict=False)):
        if attack.target != expected:
            yield misfit(f"{where}.attacks[{index}].target", "is not the one that was ordered")
    further = [target for target in dict.fromkeys(ordered) if target != report.audit.target]
    if [one.target for one in figures.further_targets] != further:
        yield misfit(f"{where}.further_targets", "are not those of its attacks")
    if figures.ca_per_class:
        own = (report.audit.target, figures.untriggered_target_rate)
        floors = [own, *((one.target, one.untriggered_target_rate) for one in figures.further_targets)]
        for target, rate in floors:
            counted = sum(one.accuracy.n for one in figures.ca_per_class if one.class_name == target)
            if counted != figures.ca.n - rate.n:
                reported = f"has {counted} images for a target that has another number"
                yield misfit(f"{where}.ca_per_class", reported)


def _classes(where: str, figures: AuditFigures) -> Iterator[Finding]:
    """Clean accuracy by class: each by itself, and all together CA. Names need not differ."""
    listed, place = figures.ca_per_class, f"{where}.ca_per_class"
    for index, one in enumerate(listed):
        if one.accuracy.n == 0:
            yield misfit(f"{place}[{index}].accuracy.n", "is 0: a class without images is not listed")
    for name in ("n", "successes"):
        total, expected = sum(getattr(one.accuracy, name) for one in listed), getattr(figures.ca, name)
        if listed and total != expected:
            yield misfit(place, f"make {name} {total} together, and ca has {expected}")


def _same_classes(report: Report, after: AuditFigures) -> Iterator[Finding]:
    """The same classes before and after, and in `classes_lost` those that lost the most."""
    before = report.before.ca_per_class
    counted = [[(one.class_name, one.accuracy.n) for one in side] for side in (before, after.ca_per_class)]
    if counted[0] != counted[1]:
        yield misfit("after.ca_per_class", "is not of the same classes and images as before")
    if not before or counted[0] != counted[1]:
        return
    changes = [
        (one.class_name, one.accuracy.n, one.accuracy.successes, now.accuracy.successes)
        for one, now in zip(before, after.ca_per_class, strict=True)
        if now.accuracy.successes < one.accuracy.successes
    ]
    changes.sort(key=lambda change: -(change[2] - change[3]) / change[1])  # stable, as the library's
    reported = [
        (one.class_name, one.lost.n, one.before.successes, one.after.successes) for one in report.classes_lost
    ]
    if reported != changes[:MOST_CLASSES_REPORTED]:
        yield misfit("classes_lost", "are not those that lost the most by ca_per_class")


def _probe(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    """The linear probe: there where it was ordered, and of counts that can be."""
    ordered, reported = report.audit.linear_probe, figures.linear_probe
    if (reported is None) != (ordered is None):
        yield misfit(f"{where}.linear_probe", "is there exactly where one was ordered")
    elif reported and ordered and reported.num_iterations > ordered.max_iterations:
        yield misfit(f"{where}.linear_probe.num_iterations", f"is over {ordered.max_iterations}")
    floors: dict[str, int] = {}
    for index, attack in enumerate(figures.attacks):
        inside, probed = f"{where}.attacks[{index}].linear_probe", attack.linear_probe
        if (probed is None) != (reported is None):
            yield misfit(inside, "is there exactly where that without a trigger is")
        if probed is None or reported is None:
            continue
        if probed.pa.successes + probed.asr.successes > figures.ca.n:
            yield misfit(f"{inside}.pa.successes", "does not fit the attack's successes")
        floor = probed.untriggered_target_rate.successes
        if reported.accuracy.successes + floor > figures.ca.n:
            yield misfit(f"{inside}.untriggered_target_rate.successes", "does not fit the accuracy")
        if floors.setdefault(attack.target, floor) != floor:
            yield misfit(f"{inside}.untriggered_target_rate", "is another than before, of the same target")


def _sections(report: Report) -> Iterator[Finding]:
    """Each is there where it belongs, and its figures are of all images or of all classes."""
    there = dict(sections_of(report))
    for name, kind in section_fields(Report):
        if kind.is_of_cleaning and (name in there) != (report.after is not None):
            yield misfit(name, "belongs to an audit after cleaning")
        elif not kind.is_of_cleaning and name not in there:
            yield misfit(name, "is missing")
    for name, section in there.items():
        for one in section.figures():
            num, of = one.figure.n, {"images": report.before.ca.n, "classes": num_classes(report)}
            yield from same(f"{name}.{one.name}.n", num, of[one.of] or num)


def _skipped(report: Report) -> Iterator[Finding]:
    """No more samples were left out, and no more classes are missing, than there are."""
    for index, data in enumerate(report.data):
        if data.num_skipped > data.num_samples:
            yield misfit(f"data[{index}].num_skipped", "is more than num_samples")
        if (data.num_missing is not None) != (data.kind == "training"):
            yield misfit(f"data[{index}].num_missing", "belongs to labelled images to train on")
        elif (data.num_missing or 0) > (num_classes(report) or 0):
            yield misfit(f"data[{index}].num_missing", "is more than the classes of the audit")
    plain = report.plain_template_ca
    if plain is not None:
        yield from same("plain_template_ca.n", plain.n, report.before.ca.n)
        if report.audit.templates is not None:
            yield misfit("plain_template_ca", "is there though the order gives templates")


def _attack(where: str, attack: AttackFigures, *, num_images: int, num_others: int) -> Iterator[Finding]:
    asr, inclusive, pa = attack.asr, attack.asr_including_target, attack.pa
    for name, towards in (("towards", attack.towards), ("towards_now", attack.towards_now)):
        if towards is not None:
            yield from _towards(f"{where}.{name}", attack, towards, num_images)
    if attack.towards_now is not None:
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


def one_class(where: str, towards: Towards, num_images: int) -> Iterator[Finding]:
    """Both shares of a class that triggered images go to: of the same images, no more than there are."""
    yield from same(f"{where}.untriggered.n", towards.untriggered.n, towards.triggered.n)
    if towards.triggered.n > num_images:
        yield misfit(f"{where}.triggered.n", "is more than all images")


def _towards(where: str, attack: AttackFigures, towards: Towards, num_images: int) -> Iterator[Finding]:
    """Where triggered images go most, of which the target is one possible answer."""
    yield from one_class(where, towards, num_images)
    if towards.class_name == attack.target and towards.triggered != attack.asr:
        yield misfit(f"{where}.triggered", "is not the ASR, though the class is the target")


def _top_k(where: str, shares: Sequence[TopK], first: Estimate, ks: list[int]) -> Iterator[Finding]:
    """Each k with its share, which only grows; `first` is that of k = 1."""
    yield from same(where, [one.k for one in shares], ks)
    k, successes = 1, first.successes
    for index, one in enumerate(shares):
        yield from same(f"{where}[{index}].share.n", one.share.n, first.n)
        if one.k <= k:
            yield misfit(f"{where}[{index}].k", f"is {one.k}, after {k}")
        if one.share.successes < successes:
            yield misfit(f"{where}[{index}].share.successes", "is smaller than that of a smaller k")
        k, successes = one.k, one.share.successes


def _attack_changes(report: Report) -> Iterator[Finding]:
    """Each leads from the figures before to those after."""
    changes, after = report.attack_changes, report.after
    if after is None:
        if changes:
            yield misfit("attack_changes", "belong to an audit after cleaning")
        return
    names = [change.attack for change in changes]
    sides = (report.before.attacks, after.attacks)
    if any([attack.name for attack in attacks] != names for attacks in sides):
        yield misfit("attack_changes", "are not of the attacks that were measured")
        return
    for index, (change, was, now) in enumerate(zip(changes, *sides, strict=True)):
        where = f"attack_changes[{index}]"
        yield from difference(f"{where}.asr_lost", change.asr_lost, was.asr, now.asr)
        yield from difference(f"{where}.pa_lost", change.pa_lost, was.pa, now.pa)


def _classes_lost(report: Report, was: Estimate, now: Estimate, ca_lost: Difference) -> Iterator[Finding]:
    """Each class by itself, worst first, and all together with what is left for the classes not reported."""
    changes = report.classes_lost
    for index, change in enumerate(changes):
        where = f"classes_lost[{index}]"
        yield from difference(f"{where}.lost", change.lost, change.before, change.after)
        if change.lost.lost <= change.lost.gained:
            yield misfit(f"{where}.lost", "is not a loss")
        if index and change.lost.value > changes[index - 1].lost.value:
            yield misfit(f"{where}.lost", "is more than what the class before it lost")
    if len(changes) > MOST_CLASSES_REPORTED:
        yield misfit("classes_lost", f"are {len(changes)}, more than {MOST_CLASSES_REPORTED}")
    if len(changes) > (num_classes(report) or len(changes)):
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
    # A class that is not reported lost at most as much as the last that is; nothing, where all losers are.
    net = left["lost"] - left["gained"]
    if len(changes) < MOST_CLASSES_REPORTED:
        if net > 0:
            yield misfit("classes_lost", f"leaves out classes: {net} more images were lost than it lists")
    elif net * changes[-1].lost.n > left["n"] * (changes[-1].lost.lost - changes[-1].lost.gained):
        yield misfit("classes_lost", "leaves out classes that lost more than the last one listed")


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
    classes = [[one.towards.class_name for one in audit.attacks] for audit in (after, before)]
    yield from same("after.attacks: the classes of towards", *classes)
