"""Whether a report's example images fit: no more than were ordered, each with every attack's trigger."""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.examples import HOW_CHOSEN, num_examples
from cleanclip.spec.report import Report


def check(report: Report) -> Iterator[Finding]:
    """None is of a target class, and all are of the models and the seed that the figures are of."""
    shown = report.examples
    if shown is None:
        return
    if shown.choice != HOW_CHOSEN:
        yield misfit("examples.choice", "is not how they are chosen")
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
