"""A second audit of the weights that are published, by a fresh child: it must find what the report says.

The first child read a stranger's upload; figures that fit each other could be invented. The second sees no
byte of it: it is given the weights, configurations that we wrote, the labelled images, the pairs for
retrieval, and the order. It settles heads and activation itself, on the weights as they came in: under
wrong ones a poisoned model could look clean. It does read the same images, so an image that takes a process
over takes over both; and what it does not measure (`before` of a cleaning, training, drift) stays the first
one's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from cleanclip.spec.attack_options import of_same_pixels
from cleanclip.spec.cautions import num_updates
from cleanclip.spec.jobspec import (
    CHECKPOINT_PATH,
    CLEANED_PATH,
    CONFIG_NAME,
    FIGURES_NAME,
    LABELLED_PATH,
    RECHECKED_ADAPTER,
    RETRIEVAL_PATH,
    WEIGHTS_NAME,
    AuditSpec,
    RecheckedFigures,
    RecheckSpec,
    SanitizeSpec,
    exclude_path,
)
from cleanclip.spec.ladder import epochs_of
from cleanclip.spec.progress import Advanced, ProgressEvent
from cleanclip.spec.recipe import AutoRecipe
from cleanclip.spec.report import AuditFigures, Report
from cleanclip.spec.settled import SettledArchitecture
from worker.failures import AttemptFailed, not_confirmed
from worker.publishing.believing import config_bytes, read_json
from worker.publishing.fresh_child import Fresh, take_input
from worker.publishing.packing import Packing
from worker.publishing.statement import Recheck, Why
from worker.staging.known import Known
from worker.staging.stage import Staged
from worker.tracker import Tracker

BY_DEFAULT_UNDER = 0.1
"""Of the job's cost: a second audit that costs less is made wherever the operator signs."""
TOLERATED_SHARE = 0.005
"""Of a figure's images, on CUDA or in bf16: sums may be made in another order, and an image near a tie be
counted otherwise. On a CPU in float32 nothing is tolerated."""
_PASSES_OF_A_STEP = 3
"""Forward and backward, in forward passes. Without texts and second views: the share comes out too large."""
_MAX_FIGURES_BYTES = 8 * 2**20
_MESSAGE = "Checking the figures again."
_INEXACT = frozenset({"target_rank", "untriggered_target_rank", "num_iterations", "is_converged"})
"""What one image that is counted otherwise may move far."""


def confirm(
    packing: Packing,
    staged: Staged,
    report: Report,
    fresh: Fresh,
    *,
    inputs: Path,
    signs: bool,
    is_resumed: bool,
    tracker: Tracker,
    check: Callable[[], None],
) -> Recheck:
    """Have the checked `report` confirmed where that is due. `inputs`: the folder of the job's first child,
    which is dead and whose datasets are taken from it. `is_resumed`: by an earlier attempt's saved state.

    Raises AttemptFailed 'figures_not_confirmed' where the audits differ; Stopped, OSError.
    """
    spec, known = staged.spec, staged.known
    if known is None or not isinstance(spec, AuditSpec | SanitizeSpec):
        raise TypeError(f"a job of kind {spec.kind} has no figures")
    is_due, why = _is_due(spec, staged, signs=signs)
    if not is_due:
        return Recheck(done=False, why=why)
    order = _order(spec, report)
    copied = _hand_over(
        packing, staged, known, order, inputs=inputs, place=fresh.folder_of(order), check=check
    )
    found = _audited(fresh, order, copied, tracker)
    # a training that goes on keeps what was settled, perhaps on another machine
    is_exact = not fresh.uses_cuda and not is_resumed
    if _settle_otherwise(report.architecture, found.architecture, is_exact):
        raise not_confirmed("it settles the architecture otherwise")
    told = report.before if report.after is None else report.after
    tolerated = TOLERATED_SHARE if fresh.uses_cuda or spec.audit.precision != "fp32" else 0.0
    places = list(differences(told, found.figures, tolerated, known.class_names or ()))
    if places:
        raise not_confirmed(f"it differs at {', '.join(places[:3])}")
    tracker.note("info", "A second audit, in a process that never read the upload, confirmed the figures.")
    side: Literal["before", "after"] = "before" if report.after is None else "after"
    return Recheck(done=True, why=why, figures=side, tolerated_share=tolerated)


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


def _is_due(spec: AuditSpec | SanitizeSpec, staged: Staged, *, signs: bool) -> tuple[bool, Why]:
    ordered = spec.audit.recheck
    if ordered is not None:
        return ordered, "ordered" if ordered else "not_ordered"
    if not signs:
        return False, "not_signed"
    sizes = {one["role"]: one["num_samples"] for one in staged.datasets}
    share = share_of_job(spec, sizes)
    return (True, "by_default") if share < BY_DEFAULT_UNDER else (False, "costs_too_much")


def share_of_job(spec: AuditSpec | SanitizeSpec, num_samples: Mapping[str, int | None]) -> float:
    """What a second audit costs, of what the job without it costs: in passes of an image through the model.

    Worked out from the order and the rows (role → samples): a clock could be led by the first child. An audit
    is its own whole cost.
    """
    if isinstance(spec, AuditSpec):
        return 1.0
    audit = spec.audit
    num_labelled, num_pairs = num_samples.get("labelled") or 0, num_samples.get("retrieval") or 0
    cost: float = num_labelled * (1 + len(of_same_pixels(audit.attacks)) + (audit.linear_probe is not None))
    cost += min(num_pairs, audit.max_retrieval_pairs) * (1 + len(audit.attacks))
    num_training = num_samples.get("pairs") or num_samples.get("training") or 0
    if isinstance(spec.recipe, AutoRecipe):
        cost *= 1 - spec.recipe.validation_share
        trained = epochs_of(spec.recipe)[0] * num_training * _PASSES_OF_A_STEP
    else:
        trained = num_updates(spec.recipe, num_training) * spec.recipe.batch_size * _PASSES_OF_A_STEP
    return cost / max(1, 2 * cost + trained)


def _order(spec: AuditSpec | SanitizeSpec, report: Report) -> RecheckSpec:
    towards = None
    if report.after is not None:
        towards = tuple(one.towards.class_name for one in report.after.attacks)
    recipe = spec.recipe if isinstance(spec, SanitizeSpec) else None
    return RecheckSpec(
        audit=spec.audit,
        seed=spec.seed,
        has_retrieval=spec.has_retrieval,
        exclude=tuple(role for role in spec.exclude if role in {"labelled", "retrieval"}),
        towards=towards,
        validation_share=recipe.validation_share if isinstance(recipe, AutoRecipe) else None,
    )


def _hand_over(
    packing: Packing,
    staged: Staged,
    known: Known,
    order: RecheckSpec,
    *,
    inputs: Path,
    place: Path,
    check: Callable[[], None],
) -> Mapping[str, Path]:
    """Move what was measured on to the fresh child's `place`; returns what is to be copied there.

    Those are the weights that are published. What came in is moved, too, with the configuration as it was
    before any child ran.
    """
    paths = {LABELLED_PATH, f"{CHECKPOINT_PATH}/{WEIGHTS_NAME}"}
    if order.has_retrieval:
        paths.add(RETRIEVAL_PATH)
    paths.update(map(exclude_path, order.exclude))
    for one in staged.received:
        if not paths.isdisjoint({one.path, str(PurePosixPath(one.path).parent)}):
            take_input(inputs, one, place, check)
    (place / CHECKPOINT_PATH / CONFIG_NAME).write_bytes(config_bytes(known.config))
    if order.towards is None:
        return {}
    return {f"{CLEANED_PATH}/{name}": packing.path(name) for name in (WEIGHTS_NAME, CONFIG_NAME)}


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
    claimed: AuditFigures, remeasured: AuditFigures, tolerated_share: float, class_names: tuple[str, ...]
) -> Iterator[str]:
    """Places where two audits of the same weights differ in more than `tolerated_share` of the images."""
    ours, theirs = asdict(claimed), asdict(remeasured)
    for figures in (ours, theirs):
        for attack in figures["attacks"]:
            _forget_unclear(attack, class_names)
    if tolerated_share == 0:
        yield from (place for place in ours if ours[place] != theirs[place])
    else:
        yield from _differing("", ours, theirs, tolerated_share)


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
