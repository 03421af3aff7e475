"""Which values of the settings that no tensor's shape tells are plausible. Measures nothing, loads no torch.

Plausible numbers of heads are those that divide the width into heads of `HEAD_WIDTHS` numbers, and the one
that the checkpoint was read with. Published CLIPs have heads of 64, 80, 88, 104 and 112; small research
models of 32 and 16; nothing published is beyond 128.
"""

from collections.abc import Mapping
from typing import Any

from cleanclip.vocabulary.settled import Settled
from sanitizer.checkpoints.architecture import Architecture, VisionTower
from sanitizer.checkpoints.settings import Settings
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.tower_configs import ModifiedResNet

HEAD_WIDTHS = range(16, 129)


def plausible_values(architecture: Architecture, known: Mapping[str, Settled]) -> dict[str, list[Any]]:
    """Of each measurable setting, the values that the tensors allow, the present one first.

    A setting that the tensors tell has that value alone.
    """
    present = Settings.of(architecture)
    values: dict[str, list[Any]] = {
        "num_heads_vision": _heads(_width(architecture.vision), present.num_heads_vision),
        "num_heads_text": _heads(architecture.text.blocks.width, present.num_heads_text),
        # there is no tanh form of QuickGELU
        "quick_gelu": [False] if architecture.gelu_tanh else [present.quick_gelu, not present.quick_gelu],
    }
    return {
        option: found[:1] if known.get(option) == "tensors" else found for option, found in values.items()
    }


def _width(vision: VisionTower) -> int:
    if isinstance(vision, TimmTower):
        return 0
    return vision.width * 32 if isinstance(vision, ModifiedResNet) else vision.blocks.width


def _heads(width: int, present: int) -> list[int]:
    others = [width // head_width for head_width in HEAD_WIDTHS if width and width % head_width == 0]
    return [present, *(heads for heads in others if heads != present)]
