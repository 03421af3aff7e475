"""A second audit of the weights that are published, by a fresh child: it must find what the report says.

The first child read an untrusted upload; figures that fit each other could be invented. The second sees no
byte of it: it is given the weights as they came in and as they are published, configurations that we wrote,
the labelled images, the pairs for retrieval, and the order. It settles heads and activation itself, on the
weights as they came in: under wrong ones a poisoned model could look clean. It measures the images that the
first child had, where it must find the same figures before and after, and images that were withheld from
that child (`worker.publishing.withholding`), to which no weights can have been fitted. Where a rebound was
ordered, it trains the copies again. It does read the same images, so an image that takes a process over takes
over both; and what it does not measure (the training) stays the first one's word.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cleanclip.vocabulary.audit_figures import Measured
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.jobspec import (
    CHECKPOINT_PATH,
    CLEANED_PATH,
    CONFIG_NAME,
    FIGURES_NAME,
    LABELLED_PATH,
    PAIRS_PATH,
    RECHECKED_ADAPTER,
    RETRIEVAL_PATH,
    TRAINING_PATH,
    WEIGHTS_NAME,
    WITHHELD_PATH,
    JudgedSpec,
    RecheckedFigures,
    RecheckSpec,
    exclude_path,
)
from cleanclip.vocabulary.progress import Advanced, ProgressEvent
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.sections import section_fields
from cleanclip.vocabulary.settled import SettledArchitecture
from worker.failures import AttemptFailed, not_confirmed
from worker.publishing.checking import config_bytes, read_json
from worker.publishing.ending import Publication
from worker.publishing.fresh_child import Fresh, take_input
from worker.publishing.statement import Recheck, Why
from worker.tracker import Tracker

TOLERATED_SHARE = 0.005
"""Of a figure's images, on CUDA or in bf16: sums may be made in another order, and an image near a tie be
counted otherwise. On a CPU in float32 nothing is tolerated."""
_MAX_FIGURES_BYTES = 32 * 2**20
TRAINED_ON = frozenset({"pairs", "training"})
_MESSAGE = "Checking the figures again."
_INEXACT = frozenset(
    {
        "target_rank",
        "untriggered_target_rank",
        "num_iterations",
        "is_converged",
        "classes_lost",
        "retrieval_lost",
        *(name for name, section in section_fields(Measured) if not section.is_counted),
    }
)
"""What one image that is counted otherwise may move far, and what is no count."""


def is_due(spec: JudgedSpec, *, signs: bool) -> tuple[bool, Why]:
    """Whether a second audit is made, and why: as ordered, else wherever the operator signs."""
    ordered = spec.audit.recheck
    if ordered is not None:
        return ordered, "ordered" if ordered else "not_ordered"
    return signs, "by_default" if signs else "not_signed"


def confirm(work: Publication, report: Report) -> tuple[Report, Recheck]:
    """Have the checked `report` confirmed where that is due; the report as it goes on, and whether it was.

    All that the second audit measured goes on in place of the first one's, with what it found on withheld
    images, and the verdict is judged anew: comparing decides only whether the job fails.
    Raises AttemptFailed 'figures_not_confirmed' where the audits differ; Stopped, OSError.
    """
    spec, known, tracker = work.spec(JudgedSpec), work.known, work.tracker
    due, why = is_due(spec, signs=work.signs)
    if not due:
        return report, Recheck(done=False, why=why)
    order = _order(work, report)
    found = _audited(work.fresh, order, _hand_over(work, order), tracker)
    if _settle_otherwise(report.architecture, found.architecture, work.is_exact):
        raise not_confirmed("it settles the architecture otherwise")
    tolerated = TOLERATED_SHARE if work.fresh.uses_cuda or spec.audit.precision != "fp32" else 0.0
    places = list(differences(report.measured, found.measured, tolerated, known.class_names or ()))
    if work.is_exact and tolerated == 0.0 and report.rebound != found.rebound:
        places.append("rebound")
    if places:
        raise not_confirmed(f"it differs at {', '.join(places[:3])}")
    report = replace(
        report,
        **found.measured.fields(),
        architecture=found.architecture,
        rebound=found.rebound,
        withheld=found.withheld,
        control=found.control,
    )
    try:
        _ = report.verdict, report.warnings
    except (ArithmeticError, LookupError, OptionsRejected, ValueError) as error:
        raise not_confirmed("no verdict follows from its figures") from error
    tracker.note("info", "A second audit, in a process that never read the upload, confirmed the figures.")
    num_withheld = 0 if found.withheld is None else found.withheld.num_samples
    return report, Recheck(done=True, why=why, num_withheld=num_withheld, tolerated_share=tolerated)


def _settle_otherwise(claimed: SettledArchitecture, remeasured: SettledArchitecture, is_exact: bool) -> bool:
    """Whether two measurements of the same weights differ: in anything, or in values and what they are by."""
    if is_exact:
        return claimed != remeasured
    ours, theirs = (
        (one.n, [(part.option, part.value, part.settled) for part in one.settings])
        for one in (claimed, remeasured)
    )
    return ours != theirs


def _audited(
    fresh: Fresh, order: RecheckSpec, copied: Mapping[str, Path], tracker: Tracker
) -> RecheckedFigures:
    """What a fresh child finds. One that crashes or is ended by an outage is tried again with the job."""
    tracker.advance(0.0, message=_MESSAGE)
    try:
        left = fresh.run(
            order, copied, {FIGURES_NAME: _MAX_FIGURES_BYTES}, hear=lambda event: _show(tracker, event)
        )
        return read_json(FIGURES_NAME, left.files[0].read_bytes(), RECHECKED_ADAPTER.validate_json)
    except AttemptFailed as failure:
        if failure.retry_in_s is not None:
            raise
        raise not_confirmed(f"it ended with {failure.code}") from failure


def _order(work: Publication, report: Report) -> RecheckSpec:
    """The seeds for withheld images and of the search are drawn here, when the first child is dead."""
    spec = work.spec(JudgedSpec)
    is_cleaned = spec.recipe is not None
    rebounds = is_cleaned and spec.audit.rebound is not None
    roles = TRAINED_ON if rebounds else frozenset()
    return RecheckSpec(
        audit=spec.audit,
        seed=spec.seed,
        has_retrieval=spec.has_retrieval,
        exclude=tuple(role for role in spec.exclude if role in {*roles, "labelled", "retrieval"}),
        labelled_part=spec.labelled_part,
        is_cleaned=is_cleaned,
        recipe=report.recipe if rebounds else None,
        num_processes=report.environment.num_processes if rebounds else 1,
        withheld_seed=None if work.staged.withheld is None else secrets.randbelow(2**31),
        control_seed=secrets.randbelow(2**31) if is_cleaned else None,
    )


def _hand_over(work: Publication, order: RecheckSpec) -> Mapping[str, Path]:
    """Move what was measured on to the fresh child's folder; returns what is to be copied there.

    Those are the weights that are published, and the withheld images. What came in is moved, too, with the
    configuration as it was before any child ran.
    """
    staged, inputs, place, check = work.staged, work.inputs, work.fresh.folder_of(order), work.check
    paths = {f"{CHECKPOINT_PATH}/{WEIGHTS_NAME}"}
    if order.has_retrieval:
        paths.add(RETRIEVAL_PATH)
    if order.recipe is not None:
        paths |= {PAIRS_PATH, TRAINING_PATH}
    paths.update(map(exclude_path, order.exclude))
    copied: dict[str, Path] = {}
    if staged.withheld is None:
        paths.add(LABELLED_PATH)
    else:
        for one in staged.withheld.given:
            take_input(inputs, one, place, check)
        copied = {f"{WITHHELD_PATH}/{path.name}": path for path in staged.withheld.files}
    for one in staged.received:
        if not paths.isdisjoint({one.path, str(PurePosixPath(one.path).parent)}):
            take_input(inputs, one, place, check)
    (place / CHECKPOINT_PATH / CONFIG_NAME).write_bytes(config_bytes(work.known.config))
    if order.is_cleaned:
        copied |= {f"{CLEANED_PATH}/{name}": work.packing.path(name) for name in (WEIGHTS_NAME, CONFIG_NAME)}
    return copied


def _show(tracker: Tracker, event: ProgressEvent) -> None:
    if isinstance(event, Advanced) and event.total:
        tracker.advance(
            0.5 * event.done / event.total,
            step=event.done,
            total_steps=event.total,
            eta_s=event.eta_s,
            message=_MESSAGE,
        )


def differences(
    claimed: Measured, remeasured: Measured, tolerated_share: float, class_names: tuple[str, ...]
) -> Iterator[str]:
    """Places where two measurements of the same weights and images differ, in more than `tolerated_share` of
    the images. Examples are not compared: those of the second are shown."""
    ours, theirs = asdict(claimed), asdict(remeasured)
    for figures in (ours, theirs):
        del figures["examples"]
        for audit in filter(None, (figures["before"], figures["after"])):
            for attack in audit["attacks"]:
                _forget_unclear(attack, class_names)
    if tolerated_share == 0:
        yield from _unequal(ours, theirs)
    else:
        yield from _differing("", ours, theirs, tolerated_share)


def _unequal(claimed: dict[str, Any], remeasured: dict[str, Any]) -> Iterator[str]:
    """Fields, of each audit by themselves, that are not the same."""
    for name, one in claimed.items():
        other = remeasured[name]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from (f"{name}.{inside}" for inside in one if one[inside] != other.get(inside))
        elif one != other:
            yield name


def _forget_unclear(attack: dict[str, Any], class_names: tuple[str, ...]) -> None:
    """Of two classes with one name nobody can say which an attack leads to."""
    if class_names.count(attack["towards"]["class_name"]) > 1:
        del attack["towards"]


def _differing(where: str, claimed: Any, remeasured: Any, share: float) -> Iterator[str]:
    if isinstance(claimed, dict) and isinstance(remeasured, dict) and claimed.keys() == remeasured.keys():
        if "successes" in claimed:
            if claimed["n"] != remeasured["n"] or abs(claimed["successes"] - remeasured["successes"]) > max(
                1, share * claimed["n"]
            ):
                yield where
            return
        if "gained" in claimed:
            most = max(1, share * claimed["n"])
            if any(abs(claimed[name] - remeasured[name]) > most for name in ("n", "lost", "gained")):
                yield where
            return
        if "triggered" in claimed and claimed.get("class_name") != remeasured.get("class_name"):
            # Two classes about as often: which of them is most is then an image near a tie.
            one, other = claimed["triggered"]["successes"], remeasured["triggered"]["successes"]
            if abs(one - other) > max(1, share * claimed["triggered"]["n"]):
                yield where
            return
        for name in claimed.keys() - _INEXACT:
            yield from _differing(f"{where}.{name}".lstrip("."), claimed[name], remeasured[name], share)
    elif (
        isinstance(claimed, list | tuple)
        and isinstance(remeasured, list | tuple)
        and len(claimed) == len(remeasured)
    ):
        for number, (one, other) in enumerate(zip(claimed, remeasured, strict=True)):
            yield from _differing(f"{where}[{number}]", one, other, share)
    elif claimed != remeasured:
        yield where
