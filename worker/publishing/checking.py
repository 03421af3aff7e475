"""Checks a report against what the service knows itself, and writes it again from that.

The child read an untrusted file, so by its end it may be taken over. The order (recipe, policy, attacks,
seed), the inputs and what the inspection found are ours to say: a report that says otherwise fails the job,
and the file that goes on is written here, its sentences too. What is left to believe are figures; whether
they fit each other is checked before the folder is signed (`worker.publishing.packing`).
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from cleanclip.evidence.findings import Finding
from cleanclip.evidence.reading import Malformed, parse_json
from cleanclip.evidence.report import check_audit
from cleanclip.vocabulary.attack_options import names_of
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.control import ControlFigures
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.jobspec import CONFIG_NAME, MAX_RANKS, REPORT_NAME, JudgedSpec
from cleanclip.vocabulary.recipe import AuditOptions, Recipe, to_json
from cleanclip.vocabulary.recommended import Model, RecipeSource
from cleanclip.vocabulary.report import Report, load_json
from cleanclip.vocabulary.report_inputs import CheckpointInput, Environment
from cleanclip.vocabulary.report_kinds import AnyReport
from cleanclip.vocabulary.sections import section_fields
from cleanclip.vocabulary.settled import MIN_IMAGES, SettledArchitecture
from cleanclip.vocabulary.strict_json import refuse_unbounded
from cleanclip.vocabulary.verdicts import Verdict
from sanitizer.software import device, machine, software
from worker.failures import outputs_rejected
from worker.publishing.settings_claimed import check_settings
from worker.publishing.verdicts import judged_alone
from worker.staging.known import Known
from worker.staging.weights import dtype_summary, read_architecture

T = TypeVar("T")


def check_report(
    raw: bytes,
    spec: JudgedSpec,
    known: Known,
    *,
    cleaned_sha256: str | None,
    at: datetime,
    uses_cuda: bool,
) -> Report:
    """report.json with everything that we know written by us. Raises AttemptFailed.

    `cleaned_sha256`: of the weights that lie beside it, None for an audit. `at`: when it is read.
    `uses_cuda`: whether children may compute on a GPU.
    """
    report = read_json(REPORT_NAME, raw, load_json)
    known = replace(known, checkpoint=check_input(known, report.architecture, seed=spec.seed))
    ordered = _ordered(spec, known.checkpoint.model)
    check_pairs(_pairs(report, spec, known, ordered, cleaned_sha256))
    _check_verdict(report)
    _check_names(_class_names(report), spec.audit, known.class_names)
    return replace(
        report,
        created_at=at,
        origin=known.origin,
        checkpoint=known.checkpoint,
        as_uploaded=(),
        environment=our_environment(report.environment, uses_cuda=uses_cuda),
        **ordered,
    )


def our_environment(reported: Environment, *, uses_cuda: bool) -> Environment:
    """With the machine and the versions of this installation, which is the child's. Raises AttemptFailed."""
    if not 1 <= reported.num_threads <= (os.cpu_count() or 1) or not 1 <= reported.num_processes <= MAX_RANKS:
        raise outputs_rejected("it used more threads or processes than there are")
    return replace(reported, **software(), machine=machine(), device=device(uses_cuda=uses_cuda))


def check_first_audit(
    figures: AuditFigures, reported: SettledArchitecture, spec: JudgedSpec, known: Known
) -> Verdict:
    """Our verdict on an audit that is shown before there is a report. Raises AttemptFailed.

    Held against all that a report's is held against: order, input, the classes' names, and itself.
    """
    checkpoint = check_input(known, reported, seed=spec.seed)
    weights = ("weights_sha256", figures.weights_sha256, checkpoint.weights_sha256)
    check_pairs((weights, ("seed", figures.seed, spec.seed), *_of_audit(figures, spec)), "first audit")
    _check_names(_names_of_audit(figures), spec.audit, known.class_names)
    try:
        verdict = judged_alone(figures, spec, spec.scan_section)
    except (ArithmeticError, LookupError, OptionsRejected, ValueError) as error:
        raise outputs_rejected("no verdict follows from the figures of its first audit") from error
    findings = check_audit(
        figures,
        seed=spec.seed,
        checkpoint=checkpoint,
        architecture=reported,
        audit=spec.audit,
        policy=spec.policy,
        policy_source=spec.policy_source,
        scan=spec.scan_section,
    )
    check_findings(findings, "first audit")
    return verdict


def check_pairs(pairs: Iterable[tuple[str, object, object]], what: str = REPORT_NAME) -> None:
    """Triples: a place, what the child says there, what we know of it. Raises AttemptFailed."""
    for where, reported, ours in pairs:
        if reported != ours:
            raise outputs_rejected(f"its {what} says something else of {where} than order or input")


def check_findings(findings: Iterable[Finding], what: str = REPORT_NAME) -> None:
    """Raises AttemptFailed where `cleanclip verify` would find something wrong."""
    if places := sorted({finding.where or finding.file for finding in findings}):
        raise outputs_rejected(
            f"the figures of its {what} do not fit each other (at {', '.join(places[:3])})"
        )


def input_pairs(report: AnyReport, known: Known) -> Iterator[tuple[str, object, object]]:
    """What any report says of its checkpoint, and of samples that were left out, and what we know of them."""
    for name in CheckpointInput.__dataclass_fields__:
        yield f"checkpoint.{name}", getattr(report.checkpoint, name), getattr(known.checkpoint, name)
    for one in report.data:
        yield f"data.{one.kind}.excluded", one.excluded, known.excluded.get(one.kind)
        most = known.num_skipped.get(one.kind)
        yield f"data.{one.kind}.num_skipped", most is not None and one.num_skipped > most, False


def check_input(known: Known, reported: SettledArchitecture, *, seed: int) -> CheckpointInput:
    """What came in, under the settings that a child says were measured. Raises AttemptFailed."""
    architecture = check_settings(
        reported,
        read_architecture(known.checkpoint.architecture),
        known.config["checkpoint"],
        seed=seed,
        can_measure=known.num_labelled >= MIN_IMAGES and len(known.class_names or ()) >= 2,
    )
    return replace(known.checkpoint, architecture=architecture.to_config())


def _ordered(spec: JudgedSpec, model: Model | None) -> dict[str, Any]:
    """The fields of a report that follow from the order and the model."""
    recipe, given = spec.recipe, spec.recipe_given
    return {
        "kind": "audit" if recipe is None else "sanitize",
        "seed": spec.seed,
        "audit": spec.audit,
        "policy": spec.policy,
        "policy_source": spec.policy_source,
        "scan": spec.scan_section,
        "recipe": recipe,
        "recipe_source": None if recipe is None or given is None else RecipeSource.of(recipe, given, model),
    }


def _pairs(
    report: Report,
    spec: JudgedSpec,
    known: Known,
    ordered: Mapping[str, Any],
    cleaned_sha256: str | None,
) -> Iterator[tuple[str, object, object]]:
    """What the report says, and what we know of the same."""
    for name, value in ordered.items():
        yield name, getattr(report, name), value
    yield from input_pairs(report, known)
    yield "before.weights_sha256", report.before.weights_sha256, known.checkpoint.weights_sha256
    yield "after.weights_sha256", report.after and report.after.weights_sha256, cleaned_sha256
    is_cleaned = cleaned_sha256 is not None
    yield "withheld", report.withheld, None
    yield "control", report.control is not None, spec.searches
    if isinstance(report.control, ControlFigures):
        yield "control.seed", report.control.seed, spec.seed
    for name in ("after", "ca_lost", "training"):
        yield name, getattr(report, name) is not None, is_cleaned
    for name, kind in section_fields(Report):
        yield name, getattr(report, name) is not None, is_cleaned or not kind.is_of_cleaning
    yield "rebound", report.rebound is not None, is_cleaned and spec.audit.rebound is not None
    for audit in filter(None, (report.before, report.after)):
        yield from _of_audit(audit, spec)
    yield "before", report.before, known.before or report.before
    yield "examples", report.examples is not None, spec.audit.examples > 0
    if report.examples is not None:
        image_size = known.config["preprocess_cfg"]["size"]
        shown = report.examples
        yield "examples", (shown.seed, shown.image_size), (spec.seed, image_size)


def _of_audit(audit: AuditFigures, spec: JudgedSpec) -> Iterator[tuple[str, object, object]]:
    yield "retrieval", audit.retrieval is not None, spec.has_retrieval
    yield "linear_probe", audit.linear_probe is not None, spec.audit.linear_probe is not None
    yield "attacks", [(one.name, one.options) for one in audit.attacks], _attacks(spec)


def _attacks(spec: JudgedSpec) -> list[tuple[str, dict[str, Any]]]:
    names = names_of(map(to_json, spec.audit.attacks))
    return [(name, to_json(one)) for name, one in zip(names, spec.audit.attacks, strict=True)]


def _check_verdict(report: Report) -> None:
    """Outcomes and sentences must follow from the figures: pages, lists and statements quote them."""
    lost = report.ca_lost
    if lost is not None and not (lost.n == report.before.ca.n > 0 and 0 <= lost.lost <= lost.n):
        raise outputs_rejected(f"the counts of ca_lost in its {REPORT_NAME} are not those of its figures")


def _check_names(names: Iterable[str], audit: AuditOptions, class_names: tuple[str, ...] | None) -> None:
    """Only classes that the dataset has are named: they stand in pages, and are untrusted words."""
    if class_names is None:
        return
    allowed = {*class_names, audit.target, *(one.target for one in audit.attacks)}
    if not allowed.issuperset(names):
        raise outputs_rejected("its figures name a class that the dataset does not have")


def _class_names(report: Report) -> Iterator[str]:
    for audit in filter(None, (report.before, report.after)):
        yield from _names_of_audit(audit)
    yield from (one.class_name for one in report.classes_lost)
    yield from (one.class_name for one in (report.control.families if report.control else ()))
    for example in report.examples.examples if report.examples else ():
        yield example.true_class
        for image in (example.clean, *example.triggered):
            yield from (said.class_name for said in (image.before, image.after) if said is not None)


def _names_of_audit(audit: AuditFigures) -> Iterator[str]:
    yield from (one.class_name for one in audit.ca_per_class)
    yield from (one.target for one in audit.further_targets)
    yield from (one.target for one in audit.attacks)
    led = (towards for one in audit.attacks for towards in (one.towards, one.towards_now))
    yield from (towards.class_name for towards in led if towards is not None)


def check_cleaned_config(
    raw: bytes, recipe: Recipe, known: Known, report: Report, weights_sha256: str
) -> bytes:
    """config.json of cleaned weights, written by us: all of it follows from what came in, the order and the
    settings of `report`, which has been checked."""
    origin = known.config["checkpoint"]
    section = {
        **origin,
        "assumed": (origin.get("assumed") or {}) | report.architecture.as_assumed(),
        "cleaned": {
            "recipe": to_json(recipe),
            "seed": report.seed,
            "from_weights_sha256": known.checkpoint.weights_sha256,
        },
        "weights_sha256": weights_sha256,
        "weights_dtype": dtype_summary(known.tensors),
    }
    ours = config_bytes({**report.checkpoint.architecture, "checkpoint": section})
    if read_json(CONFIG_NAME, raw, json.loads) != json.loads(ours):
        raise outputs_rejected(f"its {CONFIG_NAME} is not that of the checkpoint, cleaned as it was ordered")
    return ours


def config_bytes(config: Mapping[str, Any]) -> bytes:
    """config.json as it goes on."""
    return (json.dumps(config, indent=2, allow_nan=False) + "\n").encode()


def read_json(name: str, raw: bytes, parse: Callable[[bytes], T]) -> T:
    """A child's file, bounded before it is parsed: no key twice, numbers finite. Raises AttemptFailed."""
    try:
        refuse_unbounded(parse_json(raw))
        return parse(raw)
    except (Malformed, ValidationError, ValueError) as error:
        raise outputs_rejected(f"its {name} cannot be read") from error
