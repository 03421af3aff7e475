"""What follows from one audit, or from two of the same images with a cleaning between them."""

from cleanclip.vocabulary.audit_figures import Measured
from cleanclip.vocabulary.examples import Examples
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.audits.accuracy import classes_lost
from sanitizer.audits.audit import AuditResult, attack_changes
from sanitizer.audits.example_images import examples_of
from sanitizer.audits.retrieval import lost_between
from sanitizer.audits.statistics import paired_difference


def measured(
    before: AuditResult,
    after: AuditResult | None,
    options: AuditOptions,
    *,
    class_names: tuple[str, ...],
    seed: int,
    image_size: int,
) -> Measured:
    """`class_names` of the labelled set, `image_size` of the model that came in."""
    examples = _examples(before, after, options, seed, image_size)
    if after is None:
        return Measured(before=before.figures, examples=examples, plain_template_ca=before.plain_template_ca)
    return Measured(
        before=before.figures,
        after=after.figures,
        ca_lost=paired_difference(before.correct_N.tolist(), after.correct_N.tolist()),
        attack_changes=attack_changes(before, after, options, class_names),
        classes_lost=classes_lost(before.correct_N, after.correct_N, after.label_N, class_names),
        drift=after.drift,
        retrieval_lost=lost_between(before.retrieval, after.retrieval),
        examples=examples,
        plain_template_ca=before.plain_template_ca,
    )


def _examples(
    before: AuditResult, after: AuditResult | None, options: AuditOptions, seed: int, image_size: int
) -> Examples | None:
    """Of the audit, or of both with the later one's images. None where not ordered."""
    if options.examples == 0:
        return None
    return examples_of(seed, image_size, before.examples, None if after is None else after.examples)
