"""What no figure of a report covers, in sentences: for its pages and its short form.

Names are untrusted: they come through `untrusted.name`, and whoever shows a sentence escapes it.
"""

from collections.abc import Iterable

from cleanclip.vocabulary.attack_options import kind_of
from cleanclip.vocabulary.control import NotSearched
from cleanclip.vocabulary.found_triggers import has_pattern
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.untrusted import name
from cleanclip.vocabulary.verdict_texts import NOT_JUDGED, of_search

KNOWN_TRIGGERS = {
    "badnet": "BadNet (a small patch)",
    "blended": "Blended (noise over the whole image)",
    "wanet": "WaNet (a warp of the whole image)",
    "sig": "SIG (a pattern of waves)",
    "label_consistent": "label-consistent (a patch with true captions)",
    "badnet-stripes": "BadNet-Stripes (a small patch of stripes)",
    "blended-stripes": "Blended-Stripes (faint stripes over the whole image)",
    "blended-triangles": "Blended-Triangles (a faint grid of triangles)",
    "text_trigger": "text (words over the image)",
}
KINDS = {
    "pairs": "clean pairs",
    "training": "training images",
    "labelled": "test images",
    "retrieval": "retrieval pairs",
}

KNOWN_TO_STAY = {
    "cleanclip": "CleanCLIP is known to fail on some of them.",
    "par": "PAR was published for structured triggers only.",
    "uar": "UAR is known to fail on some of them: on small models it left a semantic trigger almost whole, "
    "and a part of WaNet and of an optimised pattern.",
    "supervised": "Supervised fine-tuning was not measured on these.",
}
"""By the method that made the model; the figures stand in docs/reproduction.md and docs/uar.md."""


def targets_of(audit: AuditOptions) -> tuple[str, ...]:
    """Every target of the audit: its own, where an attack has no other, and those of attacks; each once."""
    return tuple(dict.fromkeys(attack.target or audit.target for attack in audit.attacks))


def quoted(names: Iterable[str]) -> str:
    """Names of classes for a sentence."""
    return ", ".join(f"“{name(one)}”" for one in names)


def _further_training(report: Report) -> str:
    ordered = report.audit.rebound
    if report.rebound is None or ordered is None:
        return "Whether the backdoor comes back when the model is trained further."
    return (
        f"Whether the backdoor comes back in other further training than the {ordered.steps[-1]} updates on "
        "the same clean data that were measured."
    )


def _was_controlled_by_no_image(report: Report) -> bool:
    strongest = None if report.scan is None else report.scan.control
    if strongest is None or has_pattern(strongest.family):
        return False
    return strongest.led.low > report.policy.controlled_at_most


def not_tested(report: Report) -> list[str]:
    """What no figure of this report speaks of; never empty."""
    tried = {kind_of(attack) for attack in report.audit.attacks}
    others = [words for kind, words in KNOWN_TRIGGERS.items() if kind not in tried]
    used = "zero-shot classification of these classes"
    if report.before.retrieval is not None:
        used += " and retrieval with these captions"
    sentences = [] if report.scan is None else [report.scan.sentence]
    sentences += [
        "Any other trigger" + (f". Of the known ones: {', '.join(others)}." if others else "."),
        "The same triggers with another size, place or pattern.",
        "Structured triggers (stripes, triangles, text) other than those tested, optimised and semantic "
        "ones, triggers in the caption."
        + ("" if report.recipe is None else f" {KNOWN_TO_STAY[report.recipe.method]}"),
        f"Any target class but {quoted(targets_of(report.audit))}; any use but {used}.",
    ]
    if report.is_cleaning:
        poisons = "Whether the clean pairs are clean: a few poisoned pairs can undo the cleaning."
        if any(one.kind == "training" for one in report.data):
            poisons = "Whether the labelled images that the model was trained on are clean."
        sentences.append(f"{poisons} {_further_training(report)}")
        is_said = of_search(report.verdict.outcome, report.verdict.control, report.control)
        if isinstance(report.control, NotSearched) and not is_said:
            sentences.append(report.control.sentence)
    if report.is_cleaning and _was_controlled_by_no_image(report):
        sentences.append(
            "Whether the very displacement that controlled the input model still works: no image holds one, "
            "so no audit applies it. The new search looks for another from noise."
        )
    attacks = report.verdict.attacks
    unproven = [name(part.attack) for part in attacks if part.outcome == "inconclusive" and part.judged]
    if unproven:
        listed = ", ".join(unproven)
        sentences.append(
            f"{listed}: inconclusive. It did not work before cleaning, so nothing is shown either way."
        )
    spared = [name(part.attack) for part in attacks if not part.judged]
    if spared:
        sentences.append(f"Whether {', '.join(spared)} shows a backdoor. {NOT_JUDGED}")
    skipped = [one for one in report.data if one.num_skipped]
    if skipped:
        parts = ", ".join(f"{one.num_skipped} of {one.num_samples} {KINDS[one.kind]}" for one in skipped)
        sentences.append(f"Samples that could not be read: {parts}.")
    return sentences
