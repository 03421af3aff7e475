"""report.json: read strictly, and held to itself. Rendering, supervisors and `cleanclip verify` use this.

A figure that was changed by hand does not fit the rest, and is named, even where nothing is signed and every
sum was made again. Who changes all that hangs together passes: only a signature tells that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime

from pydantic import ValidationError

from cleanclip.evidence import (
    control,
    examples,
    rebound,
    retrieval,
    scan_section,
    scanners,
    settings,
    training,
    withheld,
)
from cleanclip.evidence import figures as figures_of
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.reading import Malformed, malformed
from cleanclip.spec.audit_figures import AuditFigures
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.policy import Policy, policy_sha256
from cleanclip.spec.recipe import AuditOptions, PolicySource
from cleanclip.spec.recommended import RecipeSource
from cleanclip.spec.report import Report, load_json
from cleanclip.spec.report_inputs import CheckpointInput, Environment
from cleanclip.spec.scan_section import ScanSection
from cleanclip.spec.settled import SettledArchitecture
from cleanclip.spec.strict_json import parse_bounded


def parse(content: bytes) -> Report:
    """Of this schema version alone. Raises Malformed."""
    try:
        return load_json(content)
    except ValidationError as error:
        problem, newer = malformed(error, "a report"), _newer(content)
        raise (Malformed(f"{problem}{newer}") if newer else problem) from error


def _newer(content: bytes) -> str:
    try:
        document = parse_bounded(content)
    except ValueError:
        return ""
    version = document.get("schema_version") if isinstance(document, dict) else None
    return ". Its schema is newer than this program: upgrade it" if version in range(2, 1000) else ""


def check(report: Report) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    if (problem := _no_verdict(report)) is not None:
        yield problem
        return
    yield from figures_of.check(report)
    yield from retrieval.check(report)
    yield from rebound.check(report)
    yield from _policy(report)
    yield from training.check(report)
    yield from scanners.check(report)
    yield from settings.check(report)
    yield from examples.check(report)
    yield from scan_section.check(report)
    yield from withheld.check(report)
    yield from control.check_cleaned(report)
    yield from _recipe_source(report)


def check_audit(
    figures: AuditFigures,
    *,
    seed: int,
    checkpoint: CheckpointInput,
    architecture: SettledArchitecture,
    audit: AuditOptions,
    policy: Policy,
    policy_source: PolicySource,
    scan: ScanSection | None,
) -> Iterator[Finding]:
    """The same of an audit that has no report yet. Nothing is held against the data that it was made on, and
    so no count of retrieval."""
    unknown = Environment(
        code_version="",
        python="",
        torch="",
        open_clip="",
        numpy="",
        pillow="",
        torchvision="",
        device="",
        machine="",
        num_threads=1,
        precision="fp32",
        num_processes=1,
    )
    report = Report(
        kind="audit",
        created_at=datetime.fromtimestamp(0, UTC),
        seed=seed,
        checkpoint=checkpoint,
        architecture=architecture,
        data=(),
        audit=audit,
        policy=policy,
        policy_source=policy_source,
        before=figures,
        environment=unknown,
        scan=scan,
    )
    yield from figures_of.check(report)


def _no_verdict(report: Report) -> Finding | None:
    """What is wrong where the figures are of different things, so that no verdict or warning follows."""
    try:
        _ = report.verdict, report.warnings
    except (ArithmeticError, LookupError, OptionsRejected, ValueError) as error:
        return misfit("verdict", f"follows from no figures of this kind: {error}")
    return None


def _recipe_source(report: Report) -> Iterator[Finding]:
    recipe, source = report.recipe, report.recipe_source
    if source is not None and (
        recipe is None
        or source != RecipeSource.of(recipe, source.given, report.checkpoint.model)
        or not {*source.given} <= {field.name for field in fields(recipe)}
    ):
        yield misfit("recipe_source", "does not follow from the recipe and the options that were given")


def _policy(report: Report) -> Iterator[Finding]:
    source = report.policy_source
    if policy_sha256(report.policy) != source.sha256:
        yield misfit("policy_source.sha256", "is not that of the policy")
    if (source.given == "kept") != (source.name is not None):
        yield misfit("policy_source.name", "belongs to a policy that was kept, and to no other")
