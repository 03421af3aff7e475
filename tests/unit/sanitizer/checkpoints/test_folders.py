"""Folders of Hugging Face and open_clip: their configuration fills in what was not declared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.reading import ReadCheckpoint, read_upload
from sanitizer.checkpoints.tower_configs import VisionTransformer
from tests.fixtures.checkpoints import (
    DECLARED,
    RESNET_CONFIG,
    VIT_CONFIG,
    huggingface_model,
    tiny_clip,
    write_open_clip_safetensors,
)

NOTHING = DeclaredOptions()


def save_huggingface(folder: Path, **options: Any) -> None:
    huggingface_model(**options).save_pretrained(folder)


def edit(path: Path, section: str | None, **values: Any) -> None:
    config = json.loads(path.read_text()) if path.exists() else {}
    (config if section is None else config[section]).update(values)
    path.write_text(json.dumps(config))


def read(folder: Path, declared: DeclaredOptions = NOTHING) -> ReadCheckpoint:
    return read_upload(folder, declared=declared, filename=folder.name)


def refusal_of(folder: Path, declared: DeclaredOptions = NOTHING) -> str:
    with pytest.raises(CheckpointRejected) as refused:
        read(folder, declared)
    return refused.value.code


def test_a_hugging_face_folder_needs_no_declaration(tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    found = read(tmp_path)
    assert found.layout == "huggingface"
    assert found.architecture.text.blocks.heads == 2
    assert found.assumed["num_heads_text"] == "2: the folder's config.json"
    assert found.architecture.text.pool == "eos"
    assert found.architecture.quick_gelu


@pytest.mark.parametrize(
    ("activation", "quick", "tanh"),
    [("gelu", False, False), ("quick_gelu", True, False), ("gelu_pytorch_tanh", False, True)],
)
def test_the_activation_is_the_folders(activation: str, quick: bool, tanh: bool, tmp_path: Path) -> None:
    save_huggingface(tmp_path, hidden_act=activation)
    architecture = read(tmp_path).architecture
    assert (architecture.quick_gelu, architecture.gelu_tanh) == (quick, tanh)


def test_what_is_declared_wins_over_the_folder(tmp_path: Path) -> None:
    save_huggingface(tmp_path, hidden_act="gelu")
    found = read(tmp_path, replace(NOTHING, quick_gelu=True, num_heads_text=4))
    assert found.architecture.quick_gelu
    assert found.architecture.text.blocks.heads == 4
    assert found.assumed["quick_gelu"] == "true: declared"


def test_the_old_end_token_means_the_highest_token(tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    edit(tmp_path / "config.json", "text_config", eos_token_id=2)
    assert read(tmp_path).architecture.text.pool == "argmax"


def test_the_preprocessor_gives_the_normalisation(tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    preprocessor = tmp_path / "preprocessor_config.json"
    edit(preprocessor, None, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.2, 0.1])
    assert read(tmp_path).architecture.image_mean == (0.5, 0.4, 0.3)
    edit(preprocessor, None, do_normalize=False)
    assert read(tmp_path).architecture.image_std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("size", "mode"),
    [
        ({"shortest_edge": 32}, "shortest"),
        (32, "shortest"),
        ({"height": 32, "width": 32}, "squash"),
    ],
)
def test_the_preprocessor_says_how_an_image_becomes_square(size: object, mode: str, tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    edit(tmp_path / "preprocessor_config.json", None, size=size)
    architecture = read(tmp_path).architecture
    assert architecture.resize_mode == mode
    assert architecture.image_size.is_squashed is (mode == "squash")


def test_an_open_clip_folder_says_how_an_image_becomes_square(tmp_path: Path) -> None:
    """As DFN's, which were trained on squashed images; a mode that pads is refused by name."""
    config = Architecture.from_config(VIT_CONFIG).to_config()
    torch.save(tiny_clip(VIT_CONFIG).state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    for mode in ("shortest", "squash"):
        config["preprocess_cfg"]["resize_mode"] = mode
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        found = read(tmp_path)
        assert found.architecture.resize_mode == mode
        assert found.assumed["resize_mode"] == f"{mode}: the folder's open_clip_config.json"
        assert found.architecture.to_config()["preprocess_cfg"]["resize_mode"] == mode
    config["preprocess_cfg"]["resize_mode"] = "longest"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert refusal_of(tmp_path) == "config_unsupported"


def test_the_norms_epsilon_is_the_folders(tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    edit(tmp_path / "config.json", "vision_config", layer_norm_eps=1e-6)
    vision = read(tmp_path).architecture.vision
    assert isinstance(vision, VisionTransformer)
    assert vision.blocks.norm_eps == 1e-6


def test_an_old_bin_file_is_read_like_the_safetensors(tmp_path: Path) -> None:
    model = huggingface_model()
    model.save_pretrained(tmp_path)
    expected = read(tmp_path)
    kept = {name: tensor.clone() for name, tensor in expected.tensors.items()}
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    found = read(tmp_path)
    assert found.architecture == expected.architecture
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize(
    ("section", "values", "code"),
    [
        (None, {"model_type": "siglip2"}, "config_unsupported"),
        ("text_config", {"hidden_act": "gelu"}, "config_unsupported"),
        ("text_config", {"eos_token_id": [1, 2]}, "config_unsupported"),
        ("text_config", {"eos_token_id": 5}, "eos_id_not_in_tokenizer"),
        ("vision_config", {"num_attention_heads": 100_000}, "config_invalid"),
        ("vision_config", {"num_attention_heads": 3}, "heads_do_not_divide"),
        ("vision_config", {"image_size": 64}, "option_contradicts_tensors"),
        (None, {"text_config": [1]}, "config_invalid"),
    ],
)
def test_a_folder_whose_configuration_does_not_fit_is_refused(
    section: str | None, values: dict[str, Any], code: str, tmp_path: Path
) -> None:
    save_huggingface(tmp_path)
    edit(tmp_path / "config.json", section, **values)
    assert refusal_of(tmp_path) == code


@pytest.mark.parametrize("content", ["", "[1]", "[" * 100_000, '"' + "x" * 2**20 + '"'])
def test_a_configuration_that_is_no_json_object_is_refused(content: str, tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    (tmp_path / "config.json").write_text(content)
    assert refusal_of(tmp_path) == "config_invalid"


def test_weights_in_several_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert refusal_of(tmp_path) == "folder_sharded"


@pytest.mark.parametrize(
    "other",
    [
        "pytorch_model.bin",
        "open_clip_pytorch_model.safetensors",
        "model.safetensors.index.json",
        "tf_model.h5",
    ],
)
def test_a_folder_with_weights_that_another_library_would_load_is_refused(other: str, tmp_path: Path) -> None:
    """open_clip prefers its own names, transformers its own: one folder, two models."""
    save_huggingface(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"nobody loads weights from it")
    read(tmp_path)
    (tmp_path / other).write_bytes(b"other weights")
    assert refusal_of(tmp_path) == "folder_ambiguous"


def test_a_folder_with_two_configurations_of_two_models_is_refused(tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    config = read(tmp_path).architecture.to_config()
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    read(tmp_path)
    config["model_cfg"]["quick_gelu"] = not config["model_cfg"]["quick_gelu"]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert refusal_of(tmp_path) == "config_invalid"


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert refusal_of(tmp_path) == "folder_without_weights"


def test_a_canonical_folder_can_be_inspected_again(tmp_path: Path, declared: DeclaredOptions) -> None:
    """What this room writes, it reads: same weights, same architecture, no declaration needed."""
    torch.save(tiny_clip(VIT_CONFIG).state_dict(), tmp_path / "upload")
    first = inspect_upload(tmp_path / "upload", tmp_path / "one", declared=declared, filename="a.pt")
    second = inspect_upload(tmp_path / "one", tmp_path / "two", declared=NOTHING, filename="one")
    assert second.weights_sha256 == first.weights_sha256
    assert second.architecture == first.architecture
    assert second.assumed["num_heads_text"] == "2: the folder's config.json"


@pytest.mark.parametrize("model_cfg", [{}, {"embed_dim": 16, "vision_cfg": 1, "text_cfg": 2}, 7])
def test_a_malformed_open_clip_configuration_is_refused(model_cfg: object, tmp_path: Path) -> None:
    torch.save(tiny_clip(VIT_CONFIG).state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))
    assert refusal_of(tmp_path) == "config_invalid"


@pytest.mark.parametrize(
    "other", [{}, {"architecture": "vit_base", "pretrained_cfg": {}}, {"model_type": "timm_wrapper"}]
)
def test_a_configuration_that_is_of_no_clip_says_nothing_beside_open_clips(
    other: dict[str, Any], tmp_path: Path
) -> None:
    write_open_clip_safetensors(tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": RESNET_CONFIG, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8-sig")
    (tmp_path / "config.json").write_text(json.dumps(other))
    read = read_upload(tmp_path, declared=DeclaredOptions(), filename="model")
    assert read.architecture.text.blocks.heads == RESNET_CONFIG["text_cfg"]["heads"]
    if "model_type" not in other:
        (tmp_path / "open_clip_config.json").unlink()
        alone = read_upload(tmp_path, declared=DeclaredOptions(**DECLARED), filename="model")
        assert alone.configured == ()
