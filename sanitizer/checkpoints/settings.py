"""The settings that no tensor's shape tells: heads and activation. Loads no torch, and measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.published import Published, published
from cleanclip.vocabulary.settled import (
    COMPARED,
    MIN_MARGIN,
    Margin,
    Setting,
    SettingFigures,
    Settled,
    read_assumed,
)
from sanitizer.checkpoints.architecture import Architecture, VisionTower
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.tower_configs import ModifiedResNet, TextTransformer


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
            num_heads_vision=vision.heads
            if isinstance(vision, ModifiedResNet | TimmTower)
            else vision.blocks.heads,
            num_heads_text=architecture.text.blocks.heads,
            quick_gelu=architecture.quick_gelu,
        )

    @staticmethod
    def read(values: Mapping[str, str]) -> Settings:
        """From values as `shown`. Raises ValueError."""
        return Settings(
            num_heads_vision=int(values.get("num_heads_vision", 0)),  # see `measurable`
            num_heads_text=int(values["num_heads_text"]),
            quick_gelu=values["quick_gelu"] == "true",
        )

    def applied(self, architecture: Architecture) -> Architecture:
        """`architecture` with these values."""
        vision = architecture.vision
        if isinstance(vision, ModifiedResNet):
            vision = replace(vision, heads=self.num_heads_vision)
        elif not isinstance(vision, TimmTower):  # whose name says it
            vision = replace(vision, blocks=replace(vision.blocks, heads=self.num_heads_vision))
        text = architecture.text
        text = replace(text, blocks=replace(text.blocks, heads=self.num_heads_text))
        return replace(architecture, vision=vision, text=text, quick_gelu=self.quick_gelu)


def measurable(architecture: Architecture) -> tuple[str, ...]:
    """Those of `COMPARED` that the architecture has: an image tower may be convolutions alone."""
    vision = architecture.vision
    has_heads = not isinstance(vision, TimmTower) or vision.heads > 0
    return tuple(option for option in COMPARED if has_heads or option != "num_heads_vision")


def known_by(architecture: Architecture, origin: Mapping[str, Any]) -> dict[str, Settled]:
    """By what each setting of `COMPARED` is known; 'assumed' where by nothing. `origin` is the section
    "checkpoint" of a canonical configuration."""
    declared, configured = origin.get("declared") or {}, origin.get("configured") or ()
    vision = architecture.vision
    reported = {
        "num_heads_vision": _tells_heads(vision),
        "num_heads_text": _tells_heads(architecture.text),
        "quick_gelu": architecture.is_siglip,
    }
    known: dict[str, Settled] = {}
    for option in COMPARED:
        if reported[option]:
            known[option] = "tensors"
        elif declared.get(option) is not None or (option == "quick_gelu" and architecture.gelu_tanh):
            known[option] = "declared"
        else:
            known[option] = "configuration" if option in configured else "assumed"
    return known


def _tells_heads(tower: VisionTower | TextTransformer) -> bool:
    if isinstance(tower, ModifiedResNet | TimmTower):
        return isinstance(tower, TimmTower)
    blocks = tower.blocks
    return blocks.scale_heads or blocks.qk_norm


def not_compared(option: str, value: str, known: Settled, origin: Mapping[str, Any]) -> Setting:
    """A setting of `COMPARED` for which no other value was looked at; `origin` as for `known_by`."""
    if known == "declared":
        return Setting(option=option, value=value, settled=known, why=phrases.BY_THE_UPLOADER)
    _, why = read_assumed((origin.get("assumed") or {}).get(option, ""))
    return Setting(option=option, value=value, settled=known, why=why or phrases.AS_READ)


def published_of(architecture: Architecture) -> Published | None:
    """The published model whose towers have exactly this shape."""
    return published(architecture.to_config()["model_cfg"])


def compared(
    unmeasured: Setting,
    values: Sequence[Any],
    prior: Published | None,
    *,
    chosen: SettingFigures,
    runner_up: SettingFigures,
    margin: Margin,
) -> Setting:
    """`unmeasured` with what the comparison of `values` (the usual one first) gave: how it is settled and
    why follows from these figures. One that is still assumed is not settled."""
    settled, why = unmeasured.settled, unmeasured.why
    if settled == "assumed" and margin.low > MIN_MARGIN:
        settled, why = "measured", phrases.BEST_OF(values=[shown(value) for value in values])
    elif settled == "assumed" and prior and prior.values.get(unmeasured.option) == chosen.value:
        settled = "published"
        why = phrases.AS_PUBLISHED(entry=prior.entry, value=runner_up.value)
    return Setting(
        option=unmeasured.option,
        value=chosen.value,
        settled=settled,
        why=why,
        chosen=chosen,
        runner_up=runner_up,
        margin=margin,
    )


def tells_side(vision: VisionTower) -> bool:
    """Whether its tensors tell the side of the images, but for a few pixels."""
    return not isinstance(vision, TimmTower) or not vision.published.takes_any_size


def not_measurable(architecture: Architecture, origin: Mapping[str, Any]) -> list[Setting]:
    """What inspection says of options that are not measured; `origin` as for `known_by`."""
    declared, configured = origin.get("declared") or {}, origin.get("configured") or ()
    others = []
    for option, reported in (origin.get("assumed") or {}).items():
        if option in COMPARED:
            continue
        value, why = read_assumed(reported)
        settled: Settled = "configuration" if option in configured else "assumed"
        if option == "image_size" and tells_side(architecture.vision):
            settled = "tensors"
        if declared.get(option) is not None:
            settled, why = "declared", phrases.BY_THE_UPLOADER
        others.append(Setting(option=option, value=value, settled=settled, why=why))
    return others
