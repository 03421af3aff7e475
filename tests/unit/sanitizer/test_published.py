"""The table of published heads says what the configurations of the installed open_clip say."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
from open_clip.factory import get_model_config

from cleanclip.spec.published import published
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.settings import Settings, not_measurable, phrases

_PLAIN = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
_TOWER = {"image_size", "layers", "width", "patch_size", "mlp_ratio", "head_width"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}


def is_plain(config: dict[str, Any]) -> bool:
    return (
        config.keys() <= _PLAIN
        and config["vision_cfg"].keys() <= _TOWER
        and config["text_cfg"].keys() <= _TEXT
    )


def test_every_plain_configuration_has_its_own_heads_in_the_table():
    configs = {name: get_model_config(name) for name in open_clip.list_models()}
    plain = {name: config for name, config in configs.items() if config and is_plain(config)}
    assert len(plain) >= 40
    for name, config in plain.items():
        architecture = Architecture.from_config(config)
        entry = published(architecture.to_config()["model_cfg"])
        settings = Settings.of(architecture)
        assert entry is not None, name
        assert dict(entry.heads) == {
            "num_heads_vision": str(settings.num_heads_vision),
            "num_heads_text": str(settings.num_heads_text),
        }


@pytest.mark.parametrize(
    ("tower", "change"),
    [
        ("vision_cfg", {"layers": 11}),
        ("vision_cfg", {"image_size": 256, "patch_size": 16}),
        ("vision_cfg", {"no_ln_pre": True}),
        ("text_cfg", {"context_length": 64}),
        ("text_cfg", {"mlp_ratio": 3.0}),
    ],
    ids=["layers", "image", "a layer less", "context", "MLP"],
)
def test_another_shape_has_no_entry(tower: str, change: dict[str, Any]):
    model = get_model_config("ViT-B-32")
    assert published(model) is not None
    assert published(model | {tower: model[tower] | change}) is None


def test_what_a_job_settled_is_read_back_as_what_it_was():
    """A cleaned folder says by what each setting is known; a scan of that folder says it again."""
    why = phrases.AS_READ
    inspected = not_measurable({"assumed": {"context_length": f"16: {why}"}})
    again = not_measurable({"assumed": {"context_length": f"16: {inspected[0].settled}, {why}"}})
    assert again == inspected
    assert again[0].why == why
