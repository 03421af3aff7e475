"""Tensors → which image tower of timm's, by the table of published ones, as `inference` does for a CLIP.

The table's entry is the one with both towers of the file, or, of a text tower that nobody published, with
this image tower. Where an image tower has no positions, the side of the images is declared, or the entry's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.timm_towers import PublishedTower
from sanitizer.checkpoints.choices import Choices, contradiction
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.tensor_shapes import Shapes, count_layers, shape_of
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.timm_shapes import matching, nearest


@dataclass(frozen=True, kw_only=True)
class FoundTower:
    """`why`: what a report says of an option that is as the `entry` of the table has it."""

    tower: TimmTower
    entry: PublishedTower
    why: str


def find_tower(shapes: Shapes, choices: Choices, *, embed_dim: int, named: str) -> FoundTower | None:
    """None: timm does not build the image tower. `named`: how the names of the text tower's tensors begin.

    Raises CheckpointRejected 'timm_tower', 'option_contradicts_tensors', 'image_size_out_of_range'.
    """
    if not any(name.startswith("visual.trunk.") for name in shapes):
        return None
    towers = matching(shapes, embed_dim)
    if not towers:
        entry, name = nearest(shapes, embed_dim)
        raise refusal(
            "timm_tower",
            "Its image tower is none of the published ones of timm's that are supported; the nearest is that "
            f"of {entry.entry}, which differs in '{excerpt(name)}'.",
            "Upload an unmodified ConvNeXt, EVA, MobileCLIP, ViTamin or Perception Encoder of open_clip's.",
            where=name,
        )
    text = _text(shapes, named)
    whole = [one for one in towers if (one.embed_dim, one.text) == (embed_dim, text)]
    same = whole or [one for one in towers if one.embed_dim == embed_dim] or towers
    entry = min(same, key=lambda one: one.image_size != choices.declared.image_size)
    why = phrases.TIMM_TOWER(entry=entry.timm_name)
    if whole:
        why = phrases.TIMM_ENTRY(entry=entry.entry, name=entry.timm_name)
    image_size = _image_size(entry, same, choices, why)
    allowed = {"num_heads_vision": entry.heads, "vision_pool": None, "norm_eps_vision": None}
    for option, value in allowed.items():
        if getattr(choices.declared, option) not in (None, value):
            raise contradiction(option, f"{phrases.TIMM_TOWER(entry=entry.timm_name)} decides it")
    return FoundTower(tower=replace(TimmTower.of(entry), image_size=image_size), entry=entry, why=why)


def _image_size(entry: PublishedTower, same: Sequence[PublishedTower], choices: Choices, why: str) -> int:
    """Declared, or that of `entry`; `same` are all entries that the tensors may be of."""
    if not entry.takes_any_size:
        return choices.from_tensors("image_size", entry.image_size, why)
    if others := {one.entry: one.image_size for one in same if one.image_size != entry.image_size}:
        why = phrases.OTHER_SIDES(entry=entry.entry, others=others)
    image_size = choices.pick("image_size", entry.image_size, why)
    if image_size < entry.least_side:
        raise refusal(
            "image_size_out_of_range",
            f"Images of {image_size} px a side are less than one cell of this image tower, "
            f"{entry.least_side} px.",
            "Declare the side of the images that the model was trained with.",
            where="image_size",
        )
    return image_size


def _text(shapes: Shapes, named: str) -> tuple[int, int, int]:
    """Layers, width and context length."""
    width = shape_of(shapes, f"{named}token_embedding.weight", 2)[1]
    context_length = shape_of(shapes, f"{named}positional_embedding", 2)[0]
    return count_layers(shapes, f"{named}transformer.resblocks"), width, context_length
