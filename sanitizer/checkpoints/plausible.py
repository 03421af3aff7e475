"""The settings that no tensor's shape tells, and which values of them are plausible. Measures nothing.

Plausible numbers of heads are those that divide the width into heads of `HEAD_WIDTHS` numbers, and the one
that the checkpoint was read with. Published CLIPs have heads of 64, 80, 88, 104 and 112; small research
models of 32 and 16; nothing published is beyond 128.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.building import assemble
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.checkpoints.towers import Blocks, ModifiedResNet
from sanitizer.settled import COMPARED, Settled

HEAD_WIDTHS = range(16, 129)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value for each of `COMPARED`."""

    num_heads_vision: int
    num_heads_text: int
    quick_gelu: bool

    @staticmethod
    def of(architecture: Architecture) -> Settings:
        """Those that `architecture` has."""
        vision = architecture.vision
        return Settings(
            num_heads_vision=vision.heads if isinstance(vision, ModifiedResNet) else vision.blocks.heads,
            num_heads_text=architecture.text.blocks.heads,
            quick_gelu=architecture.quick_gelu,
        )

    @staticmethod
    def read(values: Mapping[str, str]) -> Settings:
        """From values as `shown`. Raises ValueError."""
        return Settings(
            num_heads_vision=int(values["num_heads_vision"]),
            num_heads_text=int(values["num_heads_text"]),
            quick_gelu=values["quick_gelu"] == "true",
        )

    def applied(self, architecture: Architecture) -> Architecture:
        """`architecture` with these values."""
        vision = architecture.vision
        if isinstance(vision, ModifiedResNet):
            vision = replace(vision, heads=self.num_heads_vision)
        else:
            vision = replace(vision, blocks=replace(vision.blocks, heads=self.num_heads_vision))
        text = architecture.text
        text = replace(text, blocks=replace(text.blocks, heads=self.num_heads_text))
        return replace(architecture, vision=vision, text=text, quick_gelu=self.quick_gelu)


def with_settings(checkpoint: LoadedCheckpoint, settings: Settings) -> LoadedCheckpoint:
    """The same weights (no copy), on their device, under other settings."""
    architecture = settings.applied(checkpoint.architecture)
    tensors = dict(checkpoint.model.state_dict())
    device = next(iter(tensors.values())).device
    return replace(checkpoint, model=assemble(architecture, tensors).to(device), architecture=architecture)


def plausible_values(architecture: Architecture, known: Mapping[str, Settled]) -> dict[str, list[Any]]:
    """Of each measurable setting, the values that the tensors allow, the present one first.

    A setting that the tensors tell has that value alone.
    """
    present = Settings.of(architecture)
    vision = architecture.vision
    vision_width = vision.width * 32 if isinstance(vision, ModifiedResNet) else vision.blocks.width
    values: dict[str, list[Any]] = {
        "num_heads_vision": _heads(vision_width, present.num_heads_vision),
        "num_heads_text": _heads(architecture.text.blocks.width, present.num_heads_text),
        # there is no tanh form of QuickGELU
        "quick_gelu": [False] if architecture.gelu_tanh else [present.quick_gelu, not present.quick_gelu],
    }
    return {
        option: found[:1] if known.get(option) == "tensors" else found for option, found in values.items()
    }


def _heads(width: int, present: int) -> list[int]:
    others = [width // head_width for head_width in HEAD_WIDTHS if width % head_width == 0]
    return [present, *(heads for heads in others if heads != present)]


def known_by(checkpoint: LoadedCheckpoint) -> dict[str, Settled]:
    """By what each setting of `COMPARED` is known; 'assumed' where by nothing."""
    architecture, origin = checkpoint.architecture, checkpoint.provenance
    declared, configured = origin.get("declared") or {}, origin.get("configured") or ()
    vision = architecture.vision
    told = {
        "num_heads_vision": not isinstance(vision, ModifiedResNet) and _tells_heads(vision.blocks),
        "num_heads_text": _tells_heads(architecture.text.blocks),
        "quick_gelu": False,
    }
    known: dict[str, Settled] = {}
    for option in COMPARED:
        if told[option]:
            known[option] = "tensors"
        elif declared.get(option) is not None or (option == "quick_gelu" and architecture.gelu_tanh):
            known[option] = "declared"
        else:
            known[option] = "configuration" if option in configured else "assumed"
    return known


def _tells_heads(blocks: Blocks) -> bool:
    return blocks.scale_heads or blocks.qk_norm
