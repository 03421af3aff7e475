"""Whether a trigger brings up captions that name the target.

Shapes: I images, T captions, Q images of a comparison, N images of a batch, D embedding width.

Counted are images none of whose own captions names the target: with the trigger, and without it as the floor.
What is asked of each is whether one of its first k captions does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.retrieval_figures import AttackCaptions, TargetCaptions
from sanitizer.attacks.trigger import Trigger
from sanitizer.audits.embedded import EmbeddedSet
from sanitizer.audits.gallery import Gallery
from sanitizer.audits.ranking import QUERIES_AT_ONCE, best_rank
from sanitizer.audits.statistics import wilson

TARGET_K = 5


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """One attack of the audit: its name there, and the class that it leads to."""

    name: str
    target: str
    trigger: Trigger


@dataclass(frozen=True, kw_only=True)
class Target:
    """The captions that name a target, and the images none of whose own does."""

    name: str
    is_naming_T: Tensor
    images: set[int]

    @property
    def is_shown(self) -> bool:
        """Whether the set can show that an image leads to it which did not before."""
        return bool(self.is_naming_T.any()) and bool(self.images) and len(self.is_naming_T) > TARGET_K

    def share(self, num_hits: int) -> Estimate:
        return wilson(num_hits, len(self.images))


def find_targets(attacks: Sequence[Attacked], gallery: Gallery) -> dict[str, Target]:
    """By name, in the order in which attacks name them."""
    found = {}
    for name in dict.fromkeys(attack.target for attack in attacks):
        is_naming_T = gallery.naming(name)
        naming = set(is_naming_T.nonzero().flatten().tolist())
        images = {image for image, captions in enumerate(gallery.captions_of_image) if not captions & naming}
        found[name] = Target(name=name, is_naming_T=is_naming_T, images=images)
    return found


def without_trigger(embedded: EmbeddedSet, targets: Mapping[str, Target]) -> tuple[TargetCaptions, ...]:
    """Of every target the floor; None where the set cannot show it."""
    return tuple(
        TargetCaptions(
            target=target.name,
            k=TARGET_K,
            num_naming=int(target.is_naming_T.sum()),
            num_images=len(target.images),
            untriggered=target.share(
                _num_hits(embedded.image_ID[sorted(target.images)], embedded.text_TD, target)
            )
            if target.is_shown
            else None,
        )
        for target in targets.values()
    )


def with_triggers(
    embedded: EmbeddedSet, attacks: Sequence[Attacked], targets: Mapping[str, Target], *, seed: int
) -> tuple[AttackCaptions, ...]:
    """Of every attack; images are read again for those that the set can show. None for the others."""
    num_hits = _num_triggered_hits(embedded, attacks, targets, seed)
    return tuple(
        AttackCaptions(
            attack=attack.name,
            target=attack.target,
            triggered=targets[attack.target].share(num_hits[number]) if number in num_hits else None,
        )
        for number, attack in enumerate(attacks)
    )


def _num_triggered_hits(
    embedded: EmbeddedSet, attacks: Sequence[Attacked], targets: Mapping[str, Target], seed: int
) -> dict[int, int]:
    """By number of the attack."""
    num_hits = {number: 0 for number, attack in enumerate(attacks) if targets[attack.target].is_shown}
    first_index_I = embedded.gallery.first_index_I
    image_of_index = {index: image for image, index in enumerate(first_index_I)}
    asked = sorted(set().union(*(targets[attacks[number].target].images for number in num_hits)))
    done = len(embedded.batches.indices)
    for batch in embedded.batches.of([first_index_I[image] for image in asked]):
        pixels_NCHW = embedded.pixels(batch.image_NCHW)
        for number in num_hits:
            attack, target = attacks[number], targets[attacks[number].target]
            rows = [row for row, index in enumerate(batch.index_N) if image_of_index[index] in target.images]
            if rows:
                index_Q = [batch.index_N[row] for row in rows]
                image_QCHW = attack.trigger.apply(pixels_NCHW[rows], index_Q, seed)
                num_hits[number] += _num_hits(embedded.encode(image_QCHW), embedded.text_TD, target)
        done += len(batch.index_N)
        embedded.after_images(done)
    return num_hits


def _num_hits(image_ND: Tensor, text_TD: Tensor, target: Target) -> int:
    """How many of these images have a caption that names the target among their first."""
    num_hits = 0
    is_naming_T = target.is_naming_T.to(text_TD.device)
    for start in range(0, len(image_ND), QUERIES_AT_ONCE):
        similarity_QT = image_ND[start : start + QUERIES_AT_ONCE] @ text_TD.T
        rank_Q = best_rank(similarity_QT, is_naming_T.expand_as(similarity_QT))
        num_hits += int((rank_Q < TARGET_K).sum())
    return num_hits
