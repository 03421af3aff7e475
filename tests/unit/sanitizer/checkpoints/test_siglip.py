"""SigLIPs: read as their library computes them, given back as they came, their tokenizers read as data."""

import json
import os
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import safetensors.torch
import timm
import torch
from open_clip.model import CustomTextCLIP
from PIL import Image

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import TOKENIZERS_VARIABLE
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.inference import infer
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import build_clip, load_canonical
from sanitizer.checkpoints.reading import read_upload
from sanitizer.checkpoints.shapes import expected_shapes
from sanitizer.checkpoints.siglip_configs import PooledTransformer, timm_name
from sanitizer.checkpoints.tokenizer_file import MAX_BYTES, load_tokenizer
from sanitizer.checkpoints.writing import write_as_uploaded
from sanitizer.data.images import resize_and_crop
from tests.fixtures.hostile.tokenizers import TOKENIZERS, written
from tests.fixtures.siglips import (
    CONTEXT_LENGTH,
    MODELS,
    OPEN_CLIP_CONFIG,
    VOCABULARY,
    declared,
    features,
    huggingface_siglip,
    put_on_shelf,
    tokenizer_content,
    write_siglip,
)

NAMES = sorted(name for name in open_clip.list_models() if "SigLIP" in name)
SAME_TENSORS = "ViT-SO400M-14-SigLIP-378"
"""Its tensors are those of the model for 384 px, and that is the published one."""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv(TOKENIZERS_VARIABLE, str(folder))
    return folder


@pytest.fixture
def tokenizer(shelf: Path) -> str:
    return put_on_shelf(shelf, tokenizer_content())


def published_model(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        model = CustomTextCLIP(
            **{key: deepcopy(part) for key, part in config.items() if key != "custom_text"}
        )
    return config, model.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_every_siglip_of_open_clip_is_told_from_its_shapes_alone(name: str) -> None:
    config, state = published_model(name)
    declared = DeclaredOptions(tokenizer="0" * 64, image_size=378 if name == SAME_TENSORS else None)
    inferred, _ = infer(state, declared=declared, layout="open_clip")
    expected = Architecture.from_config(config)
    assert replace(inferred, tokenizer=expected.tokenizer) == expected
    shapes = [(key, tuple(tensor.shape)) for key, tensor in state.items()]
    assert list(expected_shapes(inferred).items()) == shapes
    ours = build_clip(inferred, device="meta")
    assert [(key, tuple(tensor.shape)) for key, tensor in ours.state_dict().items()] == shapes
    assert Architecture.from_config(json.loads(json.dumps(inferred.to_config()))) == inferred


@pytest.mark.parametrize("name", NAMES)
def test_a_published_tower_has_timms_name_heads_and_activation(name: str) -> None:
    vision = Architecture.from_config(open_clip.get_model_config(name)).vision
    assert isinstance(vision, PooledTransformer)
    known = open_clip.get_model_config(name)["vision_cfg"]["timm_model_name"]
    assert timm_name(vision) == known
    with torch.device("meta"):
        trunk = timm.create_model(known, num_classes=0)
    ours = build_clip(replace(Architecture.from_config(open_clip.get_model_config(name))), device="meta")
    for of_trunk, of_ours in zip(trunk.blocks, ours.visual.trunk.blocks, strict=True):
        assert of_trunk.attn.num_heads == of_ours.attn.num_heads
        assert of_trunk.norm1.eps == of_ours.norm1.eps
        with torch.device("cpu"):
            x = torch.linspace(-3, 3, 50)
            assert torch.equal(of_trunk.mlp.act(x), of_ours.mlp.act(x))
    assert trunk.attn_pool.num_heads == ours.visual.trunk.attn_pool.num_heads


@pytest.mark.parametrize("layout", MODELS)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_siglip_computes_what_its_library_does_and_comes_back_bit_for_bit(
    layout: str, suffix: str, tmp_path: Path, tokenizer: str
) -> None:
    upload, out = tmp_path / f"upload{suffix}", tmp_path / "out"
    model = write_siglip(upload, layout)

    inspection = inspect_upload(upload, out, declared=declared(tokenizer), filename=upload.name)

    assert inspection.layout == layout
    assert inspection.architecture_name == "SigLIP ViT width 64, 2 layers, patch 8, 32 px"
    assert inspection.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert inspection.architecture["preprocess_cfg"]["resize_mode"] == "squash"
    loaded = load_canonical(out)
    assert loaded.architecture.image_mean == loaded.architecture.image_std == (0.5, 0.5, 0.5)
    image, tokens = torch.rand(3, 3, 32, 32) * 2 - 1, loaded.tokenize(["a cat", "the Red dog!", ""])
    ours, theirs = features(loaded.model, image, tokens), features(model, image, tokens)
    for one, other in zip(ours, theirs, strict=True):
        assert other.std(dim=0).min() > 0.01, "equal for all, and any model would do"
        torch.testing.assert_close(one, other, rtol=1e-5, atol=5e-6)
    again = write_as_uploaded(
        tmp_path / "back", safetensors.torch.load_file(out / "model.safetensors"), loaded.provenance
    )
    back = tmp_path / "back" / again.filename
    state = safetensors.torch.load_file(back) if suffix == ".safetensors" else torch.load(back)
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_the_gelu_of_the_other_library_would_be_another_model(tmp_path: Path, tokenizer: str) -> None:
    """So that the test above cannot pass with either."""
    model = write_siglip(tmp_path / "upload.bin", "huggingface")
    exact = replace(declared(tokenizer), gelu_tanh=False)
    inspect_upload(tmp_path / "upload.bin", tmp_path / "out", declared=exact, filename="upload.bin")
    loaded = load_canonical(tmp_path / "out")
    image, tokens = torch.rand(3, 3, 32, 32), loaded.tokenize(["a cat", "the dog", ""])
    for one, other in zip(features(loaded.model, image, tokens), features(model, image, tokens), strict=True):
        assert (one - other).abs().max() > 5e-5


def test_open_clip_reads_the_canonical_files_by_its_own_configuration(tmp_path: Path, tokenizer: str) -> None:
    model = write_siglip(tmp_path / "upload.bin", "open_clip")
    inspect_upload(
        tmp_path / "upload.bin", tmp_path / "out", declared=declared(tokenizer), filename="upload.bin"
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())["model_cfg"]
    assert config.pop("custom_text")
    theirs = CustomTextCLIP(**config).eval()
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors"))
    image, tokens = torch.rand(2, 3, 32, 32), torch.randint(0, VOCABULARY, (2, CONTEXT_LENGTH))
    for one, other in zip(features(theirs, image, tokens), features(model, image, tokens), strict=True):
        assert torch.equal(one, other)


def test_a_folder_of_hugging_face_gives_its_settings_and_its_tokenizers_digest(
    tmp_path: Path, shelf: Path
) -> None:
    folder = tmp_path / "model"
    huggingface_siglip().save_pretrained(folder)
    content = json.dumps(tokenizer_content()).encode()
    (folder / "tokenizer.json").write_bytes(content)
    digest = put_on_shelf(shelf, content)
    read = read_upload(folder, declared=DeclaredOptions(), filename="model")
    assert read.architecture.tokenizer == digest
    assert {"num_heads_text", "num_heads_vision", "tokenizer"} <= set(read.configured)
    assert read.architecture.text.blocks.heads == 2


def test_tokens_are_the_tokenizers_of_the_text_as_open_clip_cleans_it(tmp_path: Path, tokenizer: str) -> None:
    write_siglip(tmp_path / "upload.bin", "huggingface")
    inspect_upload(
        tmp_path / "upload.bin", tmp_path / "out", declared=declared(tokenizer), filename="upload.bin"
    )
    tokens = load_canonical(tmp_path / "out").tokenize(["A PHOTO of_the  Cat!", "", "a " * 50])
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [
        [3, 4, 5, 6, 7, 1, 1, 1],  # a photo of the cat, and the end token to the last place
        [1] * CONTEXT_LENGTH,
        [3] * (CONTEXT_LENGTH - 1) + [1],
    ]


@pytest.mark.parametrize("pad_id", [0, 1])
def test_the_files_own_padding_is_taken_where_it_has_one(pad_id: int, shelf: Path) -> None:
    padding = {"strategy": {"Fixed": 64}, "direction": "Left", "pad_id": pad_id, "pad_type_id": 0}
    content = tokenizer_content() | {"padding": padding | {"pad_to_multiple_of": None, "pad_token": "<pad>"}}
    encode = load_tokenizer(put_on_shelf(shelf, content), num_rows=VOCABULARY, context_length=CONTEXT_LENGTH)
    assert encode("cat") == [pad_id] * 6 + [7, 1]


def test_a_tokenizer_without_t5s_end_is_padded_with_its_padding_token(shelf: Path) -> None:
    """Gemma's has </s>, too: the tag of HTML."""
    content = tokenizer_content() | {"post_processor": None}
    encode = load_tokenizer(put_on_shelf(shelf, content), num_rows=VOCABULARY, context_length=CONTEXT_LENGTH)
    assert encode("cat") == [7] + [0] * 7


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_hostile_tokenizer_is_refused_before_a_text_is_read(
    name: str, tmp_path: Path, shelf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_siglip(tmp_path / "upload.bin", "huggingface")
    digest = put_on_shelf(shelf, written(name))
    started = time.monotonic()
    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(tmp_path / "upload.bin", tmp_path / "out", declared=declared(digest), filename="x")
    assert refused.value.code == TOKENIZERS[name].code
    assert TOKENIZERS[name].says in refused.value.message
    assert time.monotonic() - started < 20
    assert not (tmp_path / "out").exists()
    for sentence in (refused.value.message, refused.value.remedy):
        assert sentence.isprintable()
        assert len(sentence) < 400


def test_a_tokenizer_larger_than_any_is_not_read_whole(tmp_path: Path, shelf: Path) -> None:
    name = "1" * 64
    with (shelf / f"{name}.json").open("wb") as file:
        os.truncate(file.fileno(), MAX_BYTES + 1)
    with pytest.raises(CheckpointRejected, match="has more than") as refused:
        load_tokenizer(name, num_rows=VOCABULARY, context_length=CONTEXT_LENGTH)
    assert refused.value.code == "tokenizer_invalid"


def test_a_file_on_the_shelf_is_held_to_its_name(shelf: Path, tokenizer: str) -> None:
    (shelf / f"{tokenizer}.json").write_text(json.dumps(tokenizer_content() | {"version": "2.0"}))
    with pytest.raises(CheckpointRejected, match="SHA-256 is not that of its name"):
        load_tokenizer(tokenizer, num_rows=VOCABULARY + 1, context_length=CONTEXT_LENGTH)


@pytest.mark.parametrize(
    ("tokenizer", "code"),
    [
        (None, "tokenizer_undeclared"),
        ("clip_bpe", "tokenizer_undeclared"),
        ("2" * 64, "tokenizer_not_on_shelf"),
    ],
)
def test_a_siglip_without_its_tokenizer_is_refused(
    tokenizer: str | None, code: str, tmp_path: Path, shelf: Path
) -> None:
    write_siglip(tmp_path / "upload.bin", "open_clip")
    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(tmp_path / "upload.bin", tmp_path / "out", declared=declared(tokenizer), filename="x")
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"vision_model.head.attention.in_proj_bias": torch.zeros(64)}, "attention_incomplete"),
        ({"vision_model.head.attention.in_proj_weight": torch.zeros(191, 64)}, "attention_incomplete"),
        ({"vision_model.embeddings.position_embedding.weight": torch.zeros(15, 64)}, "image_not_square"),
        ({"vision_model.embeddings.position_embedding.weight": torch.zeros(16)}, "tensor_shape_invalid"),
        ({"vision_model.embeddings.patch_embedding.weight": torch.zeros(64, 192)}, "siglip_naflex"),
        ({"vision_model.head.probe": torch.zeros(1, 2, 64)}, "architecture_mismatch"),
        ({"vision_model.extra.weight": torch.zeros(2)}, "not_a_clip"),
        ({"text_model.head.weight": None}, "architecture_mismatch"),
        ({"text_model.embeddings.token_embedding.weight": None}, "one_tower_only"),
        ({"logit_scale": torch.full([1], float("nan"))}, "values_not_finite"),
    ],
)
def test_a_siglip_with_other_tensors_is_refused(
    change: dict[str, Any], code: str, tmp_path: Path, tokenizer: str
) -> None:
    state = huggingface_siglip().state_dict() | change
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, tmp_path / "upload")
    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared(tokenizer), filename="x")
    assert refused.value.code == code


@pytest.mark.parametrize(
    "options", [{"quick_gelu": True}, {"text_pool": "argmax"}, {"text_causal": True}, {"image_size": 64}]
)
def test_a_declaration_that_no_siglip_has_is_refused(options: dict[str, Any]) -> None:
    with torch.device("meta"):
        state = CustomTextCLIP(**OPEN_CLIP_CONFIG).state_dict()
    with pytest.raises(CheckpointRejected) as refused:
        infer(state, declared=replace(declared("0" * 64), **options), layout="open_clip")
    assert refused.value.code == "option_contradicts_tensors"


def test_an_image_is_squashed_to_the_side_of_a_siglip() -> None:
    image = Image.radial_gradient("L").convert("RGB").resize((90, 40))
    side = Architecture.from_config(open_clip.get_model_config("ViT-B-16-SigLIP")).image_size
    assert side == 224
    squashed = resize_and_crop(image, side)
    assert squashed.tobytes() == image.resize((224, 224), Image.Resampling.BICUBIC).tobytes()
    assert squashed.tobytes() != resize_and_crop(image, int(side)).tobytes()
