"""Architectures: from open_clip's configurations and back, and from nothing but tensors."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.pos_embed import get_2d_sincos_pos_embed
from pydantic import TypeAdapter
from torch import Tensor

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.inspection_phrases import Assumed
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.timm_towers import published_towers
from sanitizer.checkpoints.architecture import OPENAI_MEAN, OPENAI_STD, Architecture
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.inference import infer, sin_cos_2d, with_position_table
from sanitizer.checkpoints.model import assemble, build_clip
from sanitizer.checkpoints.shapes import expected_shapes
from sanitizer.checkpoints.tower_configs import Blocks, ModifiedResNet, TextTransformer, VisionTransformer
from sanitizer.checkpoints.writing import check_state_dict
from tests.fixtures.checkpoints import RESNET_CONFIG, VIT_CONFIG, tiny_clip


def is_plain(config: dict[str, Any]) -> bool:
    text, vision = config["text_cfg"], config["vision_cfg"]
    foreign = ("hf_model_name", "hf_tokenizer_name", "timm_model_name")
    has_foreign = any(section.get(key) for section in (text, vision) for key in foreign)
    return not has_foreign and not config.get("custom_text") and "multimodal_cfg" not in config


ALL = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
PLAIN = sorted(name for name, config in ALL.items() if is_plain(config))
READ = {one.entry for one in published_towers()}
FOREIGN = sorted(name for name in set(ALL) - set(PLAIN) - READ if "SigLIP" not in name)


def meta_state(config: dict[str, Any]) -> dict[str, Tensor]:
    with torch.device("meta"):
        state: dict[str, Tensor] = open_clip.model.CLIP(**deepcopy(config)).state_dict()
    return state


def shapes_of(state: dict[str, Tensor]) -> list[tuple[str, tuple[int, ...]]]:
    return [(key, tuple(tensor.shape)) for key, tensor in state.items()]


@pytest.mark.parametrize("name", PLAIN)
def test_every_plain_model_of_open_clip_is_told_from_its_shapes_alone(name: str) -> None:
    """All that must be declared is QuickGELU and how images are resized, which no shape tells."""
    state = meta_state(ALL[name])
    declared = DeclaredOptions(quick_gelu=ALL[name].get("quick_gelu", False), resize_mode="shortest")
    inferred, assumed = infer(state, declared=declared, layout="open_clip")
    assert inferred == Architecture.from_config(ALL[name])
    assert list(expected_shapes(inferred).items()) == shapes_of(state)
    assert assumed["quick_gelu"].endswith(": declared")


def test_there_are_plain_models_of_both_kinds() -> None:
    assert {"RN50", "RN50x64", "ViT-B-32", "ViT-H-14", "ViT-bigG-14"} <= set(PLAIN)
    assert len(PLAIN) > 35


@pytest.mark.parametrize("name", FOREIGN)
def test_a_configuration_of_another_kind_of_model_is_refused_by_name(name: str) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        Architecture.from_config(ALL[name])
    assert refused.value.code == "config_unsupported"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RN50", "RN50"),
        ("RN50x16", "RN50x16"),
        ("ViT-B-32", "ViT-B/32"),
        ("ViT-L-14-336", "ViT-L/14 at 336 px"),
        ("ViT-B-16-plus-240", "ViT width 896, 12 layers, patch 16, 240 px"),
    ],
)
def test_published_architectures_have_their_usual_names(name: str, expected: str) -> None:
    assert Architecture.from_config(ALL[name]).name == expected


BLOCK_FEATURES = ["qk_norm", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"]
VARIANTS: dict[str, dict[str, Any]] = {
    "layer_scale": {"vision_cfg": {"ls_init_value": 0.1}, "text_cfg": {"ls_init_value": 0.1}},
    "no_ln_pre": {"vision_cfg": {"no_ln_pre": True}},
    "odd_mlp": {"vision_cfg": {"mlp_ratio": 2.77}, "text_cfg": {"mlp_ratio": 4.9231}},
    "no_text_projection": {"embed_dim": 8, "text_cfg": {"proj_type": "none"}},
    "biased_text_projection": {"text_cfg": {"proj_bias": True}},
    "vector_logit_scale": {"nonscalar_logit_scale": True},
    "logit_bias": {"init_logit_bias": 0.0},
    "one_layer": {"vision_cfg": {"layers": 1}, "text_cfg": {"layers": 1}},
    "large_patch": {"vision_cfg": {"patch_size": 32}},
    "long_context": {"text_cfg": {"context_length": 300, "vocab_size": 60000}},
    **{f"vision_{feature}": {"vision_cfg": {feature: True}} for feature in BLOCK_FEATURES},
    **{f"text_{feature}": {"text_cfg": {feature: True}} for feature in BLOCK_FEATURES},
}


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    config = deepcopy(base)
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return config


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_that_open_clip_can_build_is_told_from_its_shapes(
    name: str, declared: DeclaredOptions
) -> None:
    config = changed(VIT_CONFIG, VARIANTS[name])
    model = tiny_clip(config)
    state = model.state_dict()

    inferred, _ = infer(state, declared=declared, layout="open_clip")

    assert list(expected_shapes(inferred).items()) == shapes_of(state)
    check_state_dict(dict(shapes_of(state)), inferred)
    rebuilt = build_clip(inferred).eval()
    rebuilt.load_state_dict(state)
    image, tokens = torch.rand(2, 3, 32, 32), torch.randint(1, 49000, (2, inferred.context_length))
    with torch.no_grad():
        assert torch.equal(rebuilt.encode_image(image), model.encode_image(image))
        assert torch.equal(rebuilt.encode_text(tokens), model.encode_text(tokens))


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "avg_pool": ({"vision_cfg": {"pool_type": "avg"}}, {"vision_pool": "avg"}),
    "avg_pool_then_norm": (
        {"vision_cfg": {"pool_type": "avg", "final_ln_after_pool": True}},
        {"vision_pool": "avg", "vision_final_ln_after_pool": True},
    ),
    "last_token": ({"text_cfg": {"pool_type": "last"}}, {"text_pool": "last"}),
    "first_token": (
        {"text_cfg": {"pool_type": "first", "no_causal_mask": True}},
        {"text_pool": "first", "text_causal": False},
    ),
    "end_token": ({"text_cfg": {"pool_type": "eos", "eos_id": 49407}}, {"text_pool": "eos"}),
    "norm_eps": (
        {"vision_cfg": {"norm_kwargs": {"eps": 1e-3}}, "text_cfg": {"norm_kwargs": {"eps": 1e-6}}},
        {"norm_eps_vision": 1e-3, "norm_eps_text": 1e-6},
    ),
    "gelu_tanh": (
        {
            "vision_cfg": {"act_kwargs": {"approximate": "tanh"}},
            "text_cfg": {"act_kwargs": {"approximate": "tanh"}},
        },
        {"gelu_tanh": True},
    ),
    "image_size_with_a_rest": ({"vision_cfg": {"image_size": 35}}, {"image_size": 35}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_shapes_cannot_tell_can_be_declared(name: str, declared: DeclaredOptions) -> None:
    changes, options = OPTIONS[name]
    model = tiny_clip(changed(VIT_CONFIG, changes))
    inferred, assumed = infer(model.state_dict(), declared=replace(declared, **options), layout="open_clip")
    assert all(assumed[option].endswith(": declared") for option in options)
    rebuilt = build_clip(inferred).eval()
    rebuilt.load_state_dict(model.state_dict())
    size = inferred.image_size
    image, tokens = torch.rand(2, 3, size, size), torch.randint(1, 49000, (2, 12))
    tokens[:, 7] = 49407
    with torch.no_grad():
        assert torch.equal(rebuilt.encode_image(image), model.encode_image(image))
        assert torch.equal(rebuilt.encode_text(tokens), model.encode_text(tokens))


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"end_token", "image_size_with_a_rest"}))
def test_leaving_the_option_out_gives_another_model(name: str, declared: DeclaredOptions) -> None:
    """So that the test above cannot pass without the option. (The end token is the highest one anyway.)"""
    model = tiny_clip(changed(VIT_CONFIG, OPTIONS[name][0]))
    plain = build_clip(infer(model.state_dict(), declared=declared, layout="open_clip")[0]).eval()
    plain.load_state_dict(model.state_dict())
    image, tokens = torch.rand(2, 3, 32, 32), torch.randint(1, 49000, (2, 12))
    with torch.no_grad():
        same_image = torch.equal(plain.encode_image(image), model.encode_image(image))
        same_text = torch.equal(plain.encode_text(tokens), model.encode_text(tokens))
    assert not (same_image and same_text)


@pytest.mark.parametrize("width", [4, 6, 8])
@pytest.mark.parametrize("layers", [[1, 1, 1, 1], [2, 1, 3, 1]])
@pytest.mark.parametrize("image_size", [32, 64, 96])
def test_resnets_of_any_width_depth_and_size_are_told_from_their_shapes(
    width: int, layers: list[int], image_size: int, declared: DeclaredOptions
) -> None:
    vision = {"width": width, "layers": layers, "image_size": image_size, "head_width": width * 16}
    state = meta_state(changed(RESNET_CONFIG, {"vision_cfg": vision}))
    inferred, _ = infer(state, declared=declared, layout="open_clip")
    expected = ModifiedResNet(layers=tuple(layers), width=width, heads=2, image_size=image_size)  # type: ignore[arg-type]
    assert inferred.vision == expected
    assert list(expected_shapes(inferred).items()) == shapes_of(state)
    check_state_dict(dict(shapes_of(state)), inferred)


FLAGS = st.booleans()


@st.composite
def blocks(draw: st.DrawFn) -> Blocks:
    heads = draw(st.integers(1, 3))
    return Blocks(
        width=heads * draw(st.integers(1, 6)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        mlp_width=draw(st.integers(1, 40)),
        layer_scale=draw(FLAGS),
        **{feature: draw(FLAGS) for feature in BLOCK_FEATURES},
    )


@st.composite
def towers(draw: st.DrawFn) -> VisionTransformer | ModifiedResNet:
    if draw(FLAGS):
        width, side = draw(st.integers(1, 6)), draw(st.integers(1, 3))
        layers = draw(st.tuples(*[st.integers(1, 3)] * 4))
        return ModifiedResNet(layers=layers, width=2 * width, heads=2, image_size=32 * side)
    patch, side, rest = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(0, 8))
    return VisionTransformer(
        blocks=draw(blocks()),
        patch_size=patch,
        image_size=patch * side + min(rest, patch - 1),
        ln_pre=draw(FLAGS),
    )


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    text_blocks, projection = draw(blocks()), draw(st.sampled_from(["matrix", "linear", "none"]))
    text = TextTransformer(
        blocks=text_blocks, context_length=draw(st.integers(3, 9)), vocab_size=60, projection=projection
    )
    return Architecture(
        embed_dim=text_blocks.width if projection == "none" else draw(st.integers(1, 9)),
        vision=draw(towers()),
        text=text,
        quick_gelu=False,
        logit_scale_is_vector=draw(FLAGS),
        logit_bias=draw(FLAGS),
    )


@settings(max_examples=60, deadline=None)
@given(architecture=architectures())
def test_the_table_of_shapes_is_open_clips_own_for_any_architecture(architecture: Architecture) -> None:
    state = build_clip(architecture, device="meta").state_dict()
    assert list(expected_shapes(architecture).items()) == shapes_of(state)


def test_open_clip_has_the_last_word_before_a_model_is_used() -> None:
    architecture = Architecture.from_config(VIT_CONFIG)
    tensors = tiny_clip(VIT_CONFIG).state_dict()
    tensors["visual.proj"] = tensors["visual.proj"][:, :3]
    with pytest.raises(CheckpointRejected) as refused:
        assemble(architecture, tensors)
    assert refused.value.code == "architecture_mismatch"
    assert "visual.proj" in refused.value.message


@pytest.mark.parametrize(("width", "side"), [(4, 1), (16, 4), (768, 14), (20, 7)])
def test_the_fixed_table_of_positions_is_open_clips_own_bit_for_bit(width: int, side: int) -> None:
    expected = get_2d_sincos_pos_embed(width, side, cls_token=True)
    assert np.array_equal(sin_cos_2d(width, side), expected)


@given(width=st.integers(1, 4096), mlp_width=st.integers(1, 20_000))
def test_any_mlp_width_survives_the_configuration_as_a_ratio(width: int, mlp_width: int) -> None:
    """open_clip computes int(width * ratio), which must give the width that was read."""
    base = Architecture.from_config(VIT_CONFIG)
    blocks = replace(base.text.blocks, width=width, heads=1, mlp_width=mlp_width)
    architecture = replace(base, text=replace(base.text, blocks=blocks))
    config = json.loads(json.dumps(architecture.to_config()))
    assert int(width * config["model_cfg"]["text_cfg"]["mlp_ratio"]) == mlp_width
    assert Architecture.from_config(config) == architecture


def test_a_fixed_table_of_positions_is_told_by_its_values(declared: DeclaredOptions) -> None:
    fixed = tiny_clip(changed(VIT_CONFIG, {"vision_cfg": {"pos_embed_type": "sin_cos_2d"}}))
    learnt = tiny_clip(VIT_CONFIG)
    for model, expected in ((fixed, "sin_cos_2d"), (learnt, "learnable")):
        state = model.state_dict()
        architecture, _ = infer(state, declared=declared, layout="open_clip")
        for dtype in (torch.float32, torch.float16):
            found = with_position_table(architecture, state["visual.positional_embedding"].to(dtype))
            assert isinstance(found.vision, VisionTransformer)
            assert found.vision.position_table == expected
    rebuilt = build_clip(with_position_table(architecture, fixed.visual.positional_embedding))
    assert not rebuilt.visual.positional_embedding.requires_grad


def test_heads_that_tensors_tell_contradict_another_declaration(declared: DeclaredOptions) -> None:
    state = meta_state(changed(VIT_CONFIG, {"vision_cfg": {"scale_heads": True}}))
    with pytest.raises(CheckpointRejected) as refused:
        infer(state, declared=replace(declared, num_heads_vision=4), layout="open_clip")
    assert refused.value.code == "option_contradicts_tensors"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"num_heads_text": 3}, "heads_do_not_divide"),
        ({"num_heads_vision": 5}, "heads_do_not_divide"),
        ({"num_heads_text": None}, "heads_undeclared"),
        ({"image_size": 64}, "option_contradicts_tensors"),
        ({"quick_gelu": True, "gelu_tanh": True}, "option_contradicts_tensors"),
        ({"text_pool": "eos", "text_eos_id": 2}, "eos_id_not_in_tokenizer"),
    ],
)
def test_a_declaration_that_cannot_be_true_is_refused(
    options: dict[str, Any], code: str, declared: DeclaredOptions
) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        infer(meta_state(VIT_CONFIG), declared=replace(declared, **options), layout="open_clip")
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"vision_cfg": {"scaled_cosine_attn": True}}, "scaled_cosine_attention"),
        ({"vision_cfg": {"patch_size": (8, 4)}}, "patch_not_square"),
        ({"text_cfg": {"context_length": 2}}, "context_length_out_of_range"),
        ({"text_cfg": {"context_length": 8193}}, "context_length_out_of_range"),
        ({"text_cfg": {"vocab_size": 49407}}, "vocabulary_too_small"),
    ],
)
def test_a_model_that_cannot_be_used_here_is_refused_with_its_reason(
    changes: dict[str, Any], code: str, declared: DeclaredOptions
) -> None:
    state = meta_state(changed(VIT_CONFIG, changes))
    with pytest.raises(CheckpointRejected) as refused:
        infer(state, declared=declared, layout="open_clip")
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("open_clip", False),
        ("openai", True),
        ("research", True),
        ("huggingface", True),
        ("openai_torchscript", True),
    ],
)
def test_each_family_has_its_own_default_activation(
    layout: str, expected: bool, declared: DeclaredOptions
) -> None:
    architecture, assumed = infer(meta_state(VIT_CONFIG), declared=declared, layout=layout)
    assert architecture.quick_gelu is expected
    assert not assumed["quick_gelu"].endswith("declared")


@pytest.mark.parametrize(
    ("name", "option", "value", "why"),
    [
        ("RN50", "quick_gelu", True, "as all weights of RN50 that open_clip lists"),
        ("ViT-B-32", "quick_gelu", False, "the default; other weights of ViT-B-32 have another: openai, lai"),
        ("ViT-g-14", "quick_gelu", False, "as all weights of ViT-g-14 that open_clip lists"),
        ("ViT-S-32", "quick_gelu", False, "open_clip's default; declare true for a -quickgelu model"),
        ("ViT-H-14-378", "resize_mode", "squash", "as all weights of ViT-H-14-378 that open_clip lists"),
        ("ViT-H-14", "resize_mode", "shortest", "the default; other weights of ViT-H-14 have another: dfn5b"),
        (
            "ViT-L-14",
            "image_mean",
            OPENAI_MEAN,
            "the default; other weights of ViT-L-14 have another: la",
        ),
        ("ViT-B-32", "image_std", OPENAI_STD, "as all weights of ViT-B-32 that open_clip lists"),
    ],
)
def test_what_no_tensor_tells_is_as_all_published_weights_of_this_shape_have_it(
    name: str, option: str, value: Any, why: str
) -> None:
    state = meta_state(ALL[name])
    architecture, assumed = infer(state, declared=DeclaredOptions(), layout="open_clip")
    assert getattr(architecture, option) == value
    assert assumed[option].startswith(f"{shown(value)}: {why}")
    TypeAdapter(Assumed).validate_python(assumed[option])


def test_another_library_and_the_owner_know_better_than_what_is_published() -> None:
    _, assumed = infer(meta_state(ALL["ViT-g-14"]), declared=DeclaredOptions(), layout="huggingface")
    assert assumed["quick_gelu"] == "true: the default of Hugging Face's CLIPConfig"
    declared = DeclaredOptions(resize_mode="shortest", quick_gelu=False)
    architecture, assumed = infer(meta_state(ALL["ViT-H-14-378"]), declared=declared, layout="open_clip")
    assert (architecture.resize_mode, architecture.quick_gelu) == ("shortest", False)
    assert assumed["resize_mode"] == "shortest: declared"
    assert not architecture.image_size.is_squashed


@pytest.mark.parametrize(
    "changes",
    [
        {"text_cfg": {"act_kwargs": {"approximate": "tanh"}}},
        {"text_cfg": {"act_kwargs": {"inplace": True}}},
        {"vision_cfg": {"image_size": (32, 64)}},
        {"vision_cfg": {"attentional_pool": True}},
        {"vision_cfg": {"pool_type": "none"}},
    ],
)
def test_a_configuration_that_is_not_supported_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        Architecture.from_config(changed(VIT_CONFIG, changes))
    assert refused.value.code == "config_unsupported"
