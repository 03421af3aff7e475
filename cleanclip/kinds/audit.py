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
from cleanclip.kinds.phase import Load, Phase, counted
from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.device_plan import CAPTION_SHARE
from cleanclip.vocabulary.errors import OptionsRejected, SanitizerError
from cleanclip.vocabulary.found_attacks import TARGET_OF_SCAN
from cleanclip.vocabulary.jobspec import REPORT_NAME, AuditSpec
from cleanclip.vocabulary.model_cost import ModelCost
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


class Auditing(Phase):
    """Accuracy and triggers on the labelled images, retrieval on pairs."""

    def sentence(self, load: Load) -> str:
        triggers = counted(len(of_same_pixels(load.parts["audit"].attacks)), "trigger")
        found = f", and up to {load.num_found} that the scan finds" if load.num_found else ""
        return f"Measures clean accuracy and {triggers}{found}: {self.measured_on(load)}"

    def measured_on(self, load: Load) -> str:
        """How many images, and how often."""
        audit: AuditOptions = load.parts["audit"]
        if load.num_labelled is None:
            return "how many images is not known."
        images = f"{counted(load.num_labelled, 'image')}, each {self.passes(load)} times through a model."
        if (num_pairs := load.sizes.get(RETRIEVAL.column)) is None:
            return images
        pairs = counted(min(num_pairs, audit.max_retrieval_pairs), "pair")
        return f"{images} Retrieval on {pairs}, each {1 + len(audit.attacks) + load.num_found} times."

    def passes(self, load: Load) -> int:
        """How often each labelled image passes through a model: without a trigger and with each different
        one; once more for a linear probe."""
        audit: AuditOptions = load.parts["audit"]
        return 1 + len(of_same_pixels(audit.attacks)) + load.num_found + (audit.linear_probe is not None)

    def amount(self, load: Load) -> int | None:
        audit: AuditOptions = load.parts["audit"]
        if load.num_labelled is None:
            return None
        pairs = min(load.sizes.get(RETRIEVAL.column) or 0, audit.max_retrieval_pairs)
        return load.num_labelled * self.passes(load) + pairs * (1 + len(audit.attacks) + load.num_found)

    def flop(self, load: Load, cost: ModelCost) -> float | None:
        images, texts = super().flop(load, cost), load.num_prompts(load.parts["audit"].templates)
        return None if images is None else images + texts * CAPTION_SHARE * cost.text.flop


AUDIT = Kind(
    name="audit",
    title="Audit",
    computes=(Auditing(name="baseline_audit", title="Audit", weight=12),),
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
