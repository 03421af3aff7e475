"""Measure a checkpoint and change nothing."""

from collections.abc import Iterator, Mapping

from cleanclip.kinds.facts import Data, Facts
from cleanclip.kinds.kind import (
    MAX_REPORT_BYTES,
    RETRIEVAL,
    SETTLING_PASSES,
    SUSPECT,
    VERDICT_FOLLOWS,
    Kind,
    labelled,
)
from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.errors import OptionsRejected, SanitizerError
from cleanclip.vocabulary.found_attacks import TARGET_OF_SCAN
from cleanclip.vocabulary.jobspec import REPORT_NAME, AuditSpec
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.targets import find_target
from cleanclip.vocabulary.templates import check_templates

LABELLED = labelled("audit")


def check(facts: Facts) -> Iterator[SanitizerError]:
    """Whether each template has a place for a class, and each target is a class of the labelled dataset."""
    audit: AuditOptions = facts.options
    yield from check_templates(audit.templates, where="audit.templates")
    names = facts.data.get(LABELLED.column, Data()).class_names
    targets: list[tuple[str | None, str]] = [(audit.target, "audit.target")]
    targets += [(one.target, f"audit.attacks.{number}.target") for number, one in enumerate(audit.attacks)]
    for target, where in targets:
        if names is None or target in {None, TARGET_OF_SCAN}:
            continue
        try:
            find_target(target, names, where=where)
        except OptionsRejected as error:
            yield error


def passes(audit: AuditOptions, sizes: Mapping[str, int]) -> int:
    """Of one audit, at most; `sizes`: role → samples."""
    each = 2 + len(of_same_pixels(audit.attacks)) + (audit.linear_probe is not None) + SETTLING_PASSES
    pairs = min(sizes.get("retrieval", 0), audit.max_retrieval_pairs)
    return sizes.get("labelled", 0) * each + pairs * (1 + len(audit.attacks))


AUDIT = Kind(
    name="audit",
    title="Audit",
    phase_titles={"baseline_audit": "Audit"},
    computes=("baseline_audit",),
    inputs=(SUSPECT, LABELLED, RETRIEVAL),
    options=AuditOptions,
    shows=VERDICT_FOLLOWS,
    judges=True,
    engine="sanitizer.work.auditing",
    spec=AuditSpec,
    check=check,
    most_passes=lambda spec, sizes: passes(spec.audit, sizes),
    leaves={REPORT_NAME: MAX_REPORT_BYTES},
)
