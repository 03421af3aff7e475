"""What a report says about retrieval with captions."""

from collections.abc import Iterator
from dataclasses import dataclass

from cleanclip.vocabulary.measures import Difference, Estimate


@dataclass(frozen=True, kw_only=True)
class RecallAtK:
    """The share of queries that have a correct answer among the first `k`."""

    k: int
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class TargetCaptions:
    """How often one of the first `k` captions of an image names a target, of the `num_images` images whose
    own captions do not name it.

    `num_naming` captions do. `untriggered` is the share without a trigger, the floor under those of attacks.
    It is None where the set cannot show it: `num_naming` or `num_images` is 0, or there are no more than `k`
    captions.
    """

    target: str
    k: int
    num_naming: int
    num_images: int
    untriggered: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class AttackCaptions:
    """The same share with an attack's trigger on these images, for that attack's target."""

    attack: str
    target: str
    triggered: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class RetrievalFigures:
    """Each image looks for its captions among all captions, each caption for its images among all images.

    `num_pairs` pairs were read; an image or caption that comes more than once counts once. Recall depends on
    the size of the set. A k that is not under that size is left out.
    """

    num_pairs: int
    num_images: int
    num_captions: int
    image_to_text: tuple[RecallAtK, ...]
    text_to_image: tuple[RecallAtK, ...]
    targets: tuple[TargetCaptions, ...]
    attacks: tuple[AttackCaptions, ...]

    @property
    def warnings(self) -> Iterator[str]:
        """Why the share of a target could not be measured."""
        for one in self.targets:
            if one.untriggered is not None:
                continue
            if one.num_naming == 0:
                why = f"No caption of the retrieval set names '{one.target}'"
            elif one.num_images == 0:
                why = f"Every image of the retrieval set has a caption that names '{one.target}'"
            else:
                why = f"The retrieval set has only {self.num_captions} different captions"
            yield f"{why}, so it could not be measured how often a trigger retrieves one that does."


@dataclass(frozen=True, kw_only=True)
class RecallLost:
    """Recall before minus after, of the same queries: `lost` found a correct answer before and none after."""

    k: int
    lost: Difference


@dataclass(frozen=True, kw_only=True)
class RetrievalLost:
    """What cleaning cost of recall, both ways."""

    image_to_text: tuple[RecallLost, ...]
    text_to_image: tuple[RecallLost, ...]
