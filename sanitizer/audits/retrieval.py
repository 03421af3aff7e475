"""Retrieval with captions: image→text and text→image recall, and whether a trigger brings up the target.

Shapes: I images, T captions.

What the images and captions are, and which belong together, says `gallery`. A query is right at k if one of
its own is among its first k candidates; every query is counted, so chance scores as chance. Comparisons are
made in float64, ties go to what comes first in the set. Decision 0060 says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cleanclip.vocabulary.recipe import AuditPrecision
from cleanclip.vocabulary.retrieval_figures import RecallAtK, RecallLost, RetrievalFigures, RetrievalLost
from sanitizer.audits.embedded import EmbeddedSet
from sanitizer.audits.ranking import best_ranks
from sanitizer.audits.statistics import paired_difference, wilson
from sanitizer.audits.target_captions import Attacked, find_targets, with_triggers, without_trigger
from sanitizer.data.captioned import CaptionedBatches

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint

RECALL_KS = (1, 5, 10)


@dataclass(frozen=True, kw_only=True)
class RetrievalResult:
    """`text_rank_I`: how many captions come before the first right one of each image; `image_rank_T`
    likewise. Both in the order of the set, the same for every model."""

    figures: RetrievalFigures
    text_rank_I: tuple[int, ...]
    image_rank_T: tuple[int, ...]
    num_skipped: int
    skipped_examples: tuple[str, ...]


def measure_retrieval(
    checkpoint: LoadedCheckpoint,
    batches: CaptionedBatches,
    attacks: Sequence[Attacked],
    *,
    seed: int,
    device: torch.device,
    precision: AuditPrecision = "fp32",
    before_pass: Callable[[], None],
    after_images: Callable[[int], None],
) -> RetrievalResult:
    """Measure the model, which must be on `device`, in eval mode and without gradients.

    `before_pass()` is called before every pass of a batch through a tower and between comparisons; what it
    raises passes through.
    `after_images(done)` counts to twice the pairs: they are read once without triggers and once with them.
    Raises DatasetRejected if too many pairs are bad or there is nothing to choose from; CheckpointRejected if
    embeddings are not finite.
    """
    embedded = EmbeddedSet(
        checkpoint,
        batches,
        device=device,
        precision=precision,
        before_pass=before_pass,
        after_images=after_images,
    )
    gallery, image_ID, text_TD = embedded.gallery, embedded.image_ID, embedded.text_TD
    text_rank_I = best_ranks(image_ID, text_TD, gallery.captions_of_image, before_chunk=before_pass)
    image_rank_T = best_ranks(text_TD, image_ID, gallery.images_of_caption, before_chunk=before_pass)
    targets = find_targets(attacks, gallery)
    figures = RetrievalFigures(
        num_pairs=gallery.num_pairs,
        num_images=len(image_ID),
        num_captions=len(text_TD),
        image_to_text=_recall(text_rank_I, num_candidates=len(text_TD)),
        text_to_image=_recall(image_rank_T, num_candidates=len(image_ID)),
        targets=without_trigger(embedded, targets),
        attacks=with_triggers(embedded, attacks, targets, seed=seed),
    )
    after_images(2 * len(batches.indices))
    return RetrievalResult(
        figures=figures,
        text_rank_I=tuple(text_rank_I),
        image_rank_T=tuple(image_rank_T),
        num_skipped=batches.num_skipped,
        skipped_examples=batches.skipped_examples,
    )


def lost_between(before: RetrievalResult | None, after: RetrievalResult | None) -> RetrievalLost | None:
    """What recall lost from one model to another, on the same pairs; None where it was not measured."""
    if before is None or after is None:
        return None
    return RetrievalLost(
        image_to_text=_lost(before.text_rank_I, after.text_rank_I, before.figures.image_to_text),
        text_to_image=_lost(before.image_rank_T, after.image_rank_T, before.figures.text_to_image),
    )


def _lost(was: Sequence[int], now: Sequence[int], recalls: Sequence[RecallAtK]) -> tuple[RecallLost, ...]:
    return tuple(
        RecallLost(
            k=one.k, lost=paired_difference([rank < one.k for rank in was], [rank < one.k for rank in now])
        )
        for one in recalls
    )


def _recall(ranks: Sequence[int], *, num_candidates: int) -> tuple[RecallAtK, ...]:
    """For every k of `RECALL_KS` under the number of candidates: from there on everything is right."""
    return tuple(
        RecallAtK(k=k, share=wilson(sum(rank < k for rank in ranks), len(ranks)))
        for k in RECALL_KS
        if k < num_candidates
    )
