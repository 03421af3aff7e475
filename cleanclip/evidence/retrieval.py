"""Whether the figures of retrieval fit each other, the data, the order and, after cleaning, those before."""

from collections.abc import Iterator, Sequence
from typing import Any

from cleanclip.evidence.counted import difference, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.retrieval_figures import (
    RecallAtK,
    RecallLost,
    RetrievalFigures,
    RetrievalLost,
    TargetCaptions,
)

KS = (1, 5, 10)
TARGET_K = 5


def check(report: Report) -> Iterator[Finding]:
    """Of both audits; they are there where a set of pairs was given for it, and nowhere else."""
    is_given = any(data.kind == "retrieval" for data in report.data)
    before, after = report.before.retrieval, report.after.retrieval if report.after else None
    for where, audit, figures in (("before", report.before, before), ("after", report.after, after)):
        if audit is not None and (figures is not None) != is_given:
            yield misfit(f"{where}.retrieval", "belongs to a retrieval set, and each to the other")
    if before is not None:
        yield from _figures("before.retrieval", before, report)
    if before is None or after is None:
        if report.retrieval_lost is not None:
            yield misfit("retrieval_lost", "belongs to a cleaning with a retrieval set")
        return
    yield from _figures("after.retrieval", after, report)
    yield from same("after.retrieval", set_counts(after), set_counts(before))
    if report.retrieval_lost is None:
        yield misfit("retrieval_lost", "is missing")
        return
    yield from _lost(report.retrieval_lost, before, after)


def set_counts(figures: RetrievalFigures | None) -> dict[str, Any] | None:
    """What the set alone decides, whatever the model."""
    if figures is None:
        return None
    return {
        "num_images": figures.num_images,
        "num_captions": figures.num_captions,
        "targets": [
            {"target": one.target, "num_naming": one.num_naming, "num_images": one.num_images}
            for one in figures.targets
        ],
    }


def _figures(where: str, figures: RetrievalFigures, report: Report) -> Iterator[Finding]:
    for data in report.data:
        if data.kind == "retrieval":
            num_drawn = min(data.num_samples, report.audit.max_retrieval_pairs)
            yield from same(f"{where}.num_pairs", figures.num_pairs, num_drawn - data.num_skipped)
    images, captions = figures.num_images, figures.num_captions
    for name, count in (("num_images", images), ("num_captions", captions)):
        if not 2 <= count <= figures.num_pairs:
            yield misfit(f"{where}.{name}", f"is {count}, of {figures.num_pairs} pairs")
    yield from _recall(f"{where}.image_to_text", figures.image_to_text, captions)
    yield from _recall(f"{where}.text_to_image", figures.text_to_image, images)
    yield from _captions(where, figures, report)


def _recall(where: str, recalls: Sequence[RecallAtK], num_candidates: int) -> Iterator[Finding]:
    yield from same(where, [one.k for one in recalls], [k for k in KS if k < num_candidates])
    successes = 0
    for index, one in enumerate(recalls):
        if one.share.successes < successes:
            yield misfit(f"{where}[{index}].share.successes", "is smaller than that of a smaller k")
        successes = one.share.successes


def _captions(where: str, figures: RetrievalFigures, report: Report) -> Iterator[Finding]:
    """Captions that name a target: of every attack and of every target of theirs."""
    expected = [(attack.name, attack.target) for attack in report.before.attacks]
    yield from same(f"{where}.attacks", [(one.attack, one.target) for one in figures.attacks], expected)
    names = list(dict.fromkeys(target for _, target in expected))
    yield from same(f"{where}.targets", [one.target for one in figures.targets], names)
    targets = {one.target: one for one in figures.targets}
    for index, one in enumerate(figures.targets):
        place = f"{where}.targets[{index}]"
        yield from same(f"{place}.k", one.k, TARGET_K)
        if one.num_naming > figures.num_captions:
            yield misfit(f"{place}.num_naming", f"is {one.num_naming} of {figures.num_captions} captions")
        if one.num_images > figures.num_images:
            yield misfit(f"{place}.num_images", f"is {one.num_images} of {figures.num_images} images")
        yield from _share(f"{place}.untriggered", one.untriggered, one, figures)
    for index, attack in enumerate(figures.attacks):
        if attack.target in targets:
            place = f"{where}.attacks[{index}].triggered"
            yield from _share(place, attack.triggered, targets[attack.target], figures)


def _share(
    where: str, share: Estimate | None, of: TargetCaptions, figures: RetrievalFigures
) -> Iterator[Finding]:
    is_shown = of.num_naming > 0 and of.num_images > 0 and figures.num_captions > TARGET_K
    if (share is not None) != is_shown:
        yield misfit(where, "is there where the set can show it, and nowhere else")
    elif share is not None:
        yield from same(f"{where}.n", share.n, of.num_images)


def _lost(lost: RetrievalLost, before: RetrievalFigures, after: RetrievalFigures) -> Iterator[Finding]:
    yield from _lost_one_way(
        "retrieval_lost.image_to_text", lost.image_to_text, before.image_to_text, after.image_to_text
    )
    yield from _lost_one_way(
        "retrieval_lost.text_to_image", lost.text_to_image, before.text_to_image, after.text_to_image
    )


def _lost_one_way(
    where: str, changes: Sequence[RecallLost], before: Sequence[RecallAtK], after: Sequence[RecallAtK]
) -> Iterator[Finding]:
    yield from same(where, [one.k for one in changes], [one.k for one in before])
    for index, (one, was, now) in enumerate(zip(changes, before, after, strict=False)):
        yield from difference(f"{where}[{index}].lost", one.lost, was.share, now.share)
