"""The table of published models says what the installed open_clip says."""

from typing import Any

import open_clip
import pytest
from open_clip.factory import get_model_config

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.published import Published, published
from cleanclip.vocabulary.settled import COMPARED
from sanitizer.checkpoints.architecture import OPENAI_MEAN, SIGLIP_CONSTANTS, Architecture
from sanitizer.checkpoints.settings import Settings, not_measurable

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
        assert {option: entry.values[option] for option in COMPARED[:2]} == {
            "num_heads_vision": str(settings.num_heads_vision),
            "num_heads_text": str(settings.num_heads_text),
        }


_SAME = {"MobileCLIP2-B": "MobileCLIP-B", "MobileCLIP2-S2": "MobileCLIP-S2"}
"""Of the same shape, and with the same constants."""


def test_so_has_every_image_tower_of_timms_and_every_siglip():
    configs = {name: get_model_config(name) for name in open_clip.list_models()}
    unread = ("nllb", "swin", "vit_", "coca")
    timm = {
        name: config
        for name, config in configs.items()
        if config and "timm_model_name" in config["vision_cfg"] and not name.startswith(unread)
    }
    assert len(timm) >= 70
    for name, config in timm.items():
        architecture = Architecture.from_config(config)
        entry = published(architecture.to_config()["model_cfg"])
        assert entry is not None, name
        assert entry.entry in (name, _SAME.get(name)), name
        settings = Settings.of(architecture)
        assert entry.values["num_heads_text"] == str(settings.num_heads_text)
        assert entry.values.get("num_heads_vision", "0") == str(settings.num_heads_vision)
        assert entry.values.get("quick_gelu", "false") == "false"


def test_all_weights_that_open_clip_lists_of_these_shapes_are_in_the_table():
    """And what they have. Of open_clip's own names, "-quickgelu" says only what the weights say again."""
    constants = {OPENAI_MEAN: "openai", SIGLIP_CONSTANTS: "half"}
    listed, reported = {}, {}
    for name, config in {name: get_model_config(name) for name in open_clip.list_models()}.items():
        if not config or not is_plain(config):
            continue
        entry = published(Architecture.from_config(config).to_config()["model_cfg"])
        assert entry is not None
        for weights in entry.weights:
            for one in weights.names:
                reported[entry.entry, one] = (weights.quick_gelu, weights.resize_mode, weights.constants)
        for one in open_clip.list_pretrained_tags_by_model(name):
            about = open_clip.get_pretrained_cfg(name, one)
            assert about["interpolation"] == "bicubic"
            listed[entry.entry, one] = (
                about.get("quick_gelu", False),
                about["resize_mode"],
                constants[tuple(about["mean"])],
            )
    assert reported == listed
    assert len(listed) >= 60


def test_an_activation_is_a_published_value_only_where_all_weights_have_it():
    assert _of("RN50").values["quick_gelu"] == "true"
    assert _of("ViT-g-14").values["quick_gelu"] == "false"
    assert "quick_gelu" not in _of("ViT-B-32").values
    assert "quick_gelu" not in _of("ViT-S-32").values  # nothing is published of it
    assert _of("ViT-H-14").without("resize_mode", "shortest") == ("dfn5b",)


def _of(name: str) -> Published:
    entry = published(Architecture.from_config(get_model_config(name)).to_config()["model_cfg"])
    assert entry is not None
    return entry


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
    architecture = Architecture.from_config(get_model_config("ViT-B-32"))
    inspected = not_measurable(architecture, {"assumed": {"context_length": f"16: {why}"}})
    again = not_measurable(
        architecture, {"assumed": {"context_length": f"16: {inspected[0].settled}, {why}"}}
    )
    assert again == inspected
    assert again[0].why == why
