"""report.json: read strictly, and held to itself. Rendering, supervisors and `cleanclip verify` use this.

A figure that was changed by hand does not fit the rest, and is named, even where nothing is signed and every
sum was made again. Who changes all that hangs together passes: only a signature tells that.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from cleanclip.evidence import control, rebound, retrieval, scan_section, settings, training
from cleanclip.evidence import figures as figures_of
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.reading import Malformed, malformed
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.examples import num_examples
from cleanclip.vocabulary.policy import Policy, PolicySource, policy_sha256
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.report import Report, load_json
from cleanclip.vocabulary.report_inputs import CheckpointInput, Environment, ScannerEvidence
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.settled import SettledArchitecture
from cleanclip.vocabulary.strict_json import parse_bounded

_MAX_ISSUES_SHOWN = 20
_ANSWERS = frozenset({"nothing_found", "suspicious", "dangerous", "inconclusive"})


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
    yield from _scanners(report)
    yield from settings.check(report)
    yield from _examples(report)
    yield from scan_section.check(report)
    yield from _withheld(report)
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


def _scanners(report: Report) -> Iterator[Finding]:
    """A scanner that answered shows all its issues, or the first twenty; one that did not has none."""
    for index, scanner in enumerate(report.checkpoint.scanners):
        where = f"checkpoint.scanners[{index}]"
        has_answered = scanner.verdict in _ANSWERS
        num_shown = min(scanner.num_issues, _MAX_ISSUES_SHOWN) if has_answered else 1  # why it did not
        if len(scanner.issues) != num_shown or (scanner.num_issues and not has_answered):
            yield misfit(
                f"{where}.num_issues", f"is {scanner.num_issues}, and {len(scanner.issues)} are shown"
            )
        expected = _expected_verdict(scanner)
        if has_answered and expected not in {None, scanner.verdict}:
            yield misfit(f"{where}.verdict", f"is {scanner.verdict}, but its issues make {expected}")


def _expected_verdict(scanner: ScannerEvidence) -> str | None:
    """picklescan's verdict is its worst issue, and the worst come first; the other has rules of its own."""
    if scanner.name != "picklescan":
        return None
    if not scanner.issues:
        return None if scanner.verdict in {"nothing_found", "inconclusive"} else "nothing_found"
    return scanner.issues[0].partition(":")[0]


def _examples(report: Report) -> Iterator[Finding]:
    """No more than were ordered, each with every attack's trigger, none of a target class; all are of the
    models and the seed that the figures are of."""
    shown = report.examples
    if shown is None:
        return
    attacks = report.before.attacks
    targets = {report.audit.target, *(attack.target for attack in attacks)}
    if len(shown.examples) > num_examples(report.audit.examples, len(attacks)):
        yield misfit("examples", "are more than were ordered")
    if shown.seed != report.before.seed:
        yield misfit("examples.seed", "is not that of the audit")
    if len({one.index for one in shown.examples}) != len(shown.examples):
        yield misfit("examples", "show an image twice")
    for place, one in enumerate(shown.examples):
        where, images = f"examples.examples[{place}]", (one.clean, *one.triggered)
        if len(one.triggered) != len(attacks):
            yield misfit(where, "does not show every trigger")
        if one.true_class in targets:
            yield misfit(where, "is of a target class")
        if any((image.after is None) != (report.after is None) for image in images):
            yield misfit(where, "was asked of other models than the figures")
        if any(image.plain.side != shown.side for image in images):
            yield misfit(where, "does not have the size that is stated")


def _withheld(report: Report) -> Iterator[Finding]:
    """Held to themselves as if they were the report's own, of other images."""
    withheld = report.withheld
    if withheld is None:
        return
    num_good = withheld.num_samples - withheld.num_skipped
    alone = replace(
        report,
        **withheld.measured.fields(),
        seed=withheld.seed,
        audit=replace(report.audit, linear_probe=None, examples=0),
        data=tuple(
            replace(one, num_samples=num_good, num_skipped=0) for one in report.data if one.kind == "labelled"
        ),
        rebound=None,
        withheld=None,
        control=None,
    )
    for finding in figures_of.check(alone):
        yield replace(finding, where=f"withheld.{finding.where}")
