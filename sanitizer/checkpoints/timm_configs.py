"""An image tower of timm's as a frozen value, and its form in open_clip's configurations. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.timm_towers import PublishedTower, entries
from sanitizer.checkpoints.tower_configs import refuse_unknown, unsupported


@dataclass(frozen=True, kw_only=True)
class TimmTower:
    """What timm builds by `name`, pooled and projected in open_clip's words ('' where timm decides)."""

    name: str
    pool: str
    projection: str
    image_size: int

    @staticmethod
    def of(published: PublishedTower) -> TimmTower:
        return TimmTower(
            name=published.timm_name,
            pool=published.pool,
            projection=published.projection,
            image_size=published.image_size,
        )

    @property
    def published(self) -> PublishedTower:
        """The first entry with this trunk and this side, else the first with this trunk."""
        with_trunk = entries(self.name)
        return next((one for one in with_trunk if one.image_size == self.image_size), with_trunk[0])

    @property
    def heads(self) -> int:
        """0: no one number says it."""
        return self.published.heads


_OF_TRAINING = {"timm_drop", "timm_drop_path", "patch_dropout"}
_KEYS = {"timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj", "image_size", *_OF_TRAINING}


def is_timm(vision: Mapping[str, Any]) -> bool:
    """Whether open_clip's section "vision_cfg" names a model of the table of published towers."""
    return bool(entries(str(vision.get("timm_model_name"))))


def timm_config(tower: TimmTower) -> dict[str, Any]:
    """open_clip's section "vision_cfg"."""
    return {
        "timm_model_name": tower.name,
        "timm_model_pretrained": False,
        "timm_pool": tower.pool,
        "timm_proj": tower.projection or None,
        "image_size": tower.image_size,
    }


def read_timm(config: Mapping[str, Any]) -> TimmTower:
    """Raises CheckpointRejected 'config_unsupported' for a tower that is not in the table."""
    refuse_unknown(config, _KEYS, "vision_cfg")
    name, image_size = str(config.get("timm_model_name")), config.get("image_size", 224)
    if not isinstance(image_size, int):
        raise unsupported("vision_cfg.image_size that is not square")
    tower = TimmTower(
        name=name,
        pool=str(config.get("timm_pool", "avg")),
        projection=str(config.get("timm_proj", "linear") or ""),
        image_size=image_size,
    )
    if not any((one.pool, one.projection) == (tower.pool, tower.projection) for one in entries(name)):
        raise unsupported("vision_cfg.timm_pool or timm_proj")
    return tower
