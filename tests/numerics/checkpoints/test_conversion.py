"""Hugging Face ↔ open_clip: the same embeddings as both libraries compute themselves.

The references are transformers' and open_clip's own forward passes. Both run in float64, where the two
implementations differ by rounding only, so that a wrong epsilon, activation or order cannot hide.
"""

from pathlib import Path
from typing import Any

import open_clip.model
import pytest
import torch
import transformers
from torch import Tensor

from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import build_clip, load_canonical
from sanitizer.checkpoints.naming import OPENAI_BUFFERS
from tests.fixtures.checkpoints import VIT_CONFIG, huggingface_model, openai_module, tiny_clip
from tests.fixtures.huggingface_names import huggingface_to_open_clip, open_clip_to_huggingface

TOLERANCE = 1e-10  # float64
TEXTS = ["a photo of a cat", "seven", "cat " * 50]


def images() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def embeddings(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(image [3, D], text [3, D]) of a transformers CLIPModel, before normalisation."""
    vision = model.vision_model(pixel_values=images()).pooler_output
    text = model.text_model(input_ids=tokens).pooler_output
    return model.visual_projection(vision), model.text_projection(text)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("end_token", [2, 49407])
def test_a_hugging_face_folder_gives_the_embeddings_that_transformers_gives(
    activation: str, end_token: int, tmp_path: Path
) -> None:
    theirs = huggingface_model(hidden_act=activation, eos_token_id=end_token)
    theirs.save_pretrained(tmp_path / "hf")
    inspect_upload(tmp_path / "hf", tmp_path / "out", declared=DeclaredOptions(), filename="hf")
    ours = load_canonical(tmp_path / "out")
    tokens = ours.tokenize(TEXTS)

    with torch.no_grad():
        image, text = embeddings(theirs.double(), tokens)
        model = ours.model.double()
        torch.testing.assert_close(model.encode_image(images()), image, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(model.encode_text(tokens), text, atol=TOLERANCE, rtol=0)
        logits = theirs(input_ids=tokens, pixel_values=images()).logits_per_image
        torch.testing.assert_close(model.get_logits(images(), tokens)[0], logits, atol=1e-8, rtol=0)


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_an_open_clip_model_gives_its_embeddings_in_transformers(quick_gelu: bool) -> None:
    ours = tiny_clip(VIT_CONFIG, quick_gelu=quick_gelu)
    state = open_clip_to_huggingface(ours.state_dict())
    theirs = transformers.CLIPModel(
        huggingface_model(hidden_act="quick_gelu" if quick_gelu else "gelu").config
    )
    missing, unexpected = theirs.load_state_dict(state, strict=True)
    assert not missing
    assert not unexpected
    tokens = open_clip.tokenize(TEXTS, context_length=12)
    with torch.no_grad():
        image, text = embeddings(theirs.double().eval(), tokens)
        model = ours.double()
        torch.testing.assert_close(model.encode_image(images()), image, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(model.encode_text(tokens), text, atol=TOLERANCE, rtol=0)


def test_the_wrong_activation_would_be_seen() -> None:
    """The tolerance means something: with the other GELU the embeddings differ a million times more."""
    theirs = huggingface_model(hidden_act="quick_gelu")
    model = build_clip(Architecture.from_config(VIT_CONFIG)).eval()
    model.load_state_dict(huggingface_to_open_clip(theirs.state_dict()))
    theirs, model = theirs.double(), model.double()
    tokens = open_clip.tokenize(TEXTS, context_length=12)
    with torch.no_grad():
        image, text = embeddings(theirs, tokens)
        assert (model.encode_text(tokens) - text).abs().max() > 1e6 * TOLERANCE
        assert (model.encode_image(images()) - image).abs().max() > 1e6 * TOLERANCE


def test_there_and_back_is_bit_identical() -> None:
    theirs = huggingface_model().state_dict()
    canonical = huggingface_to_open_clip(theirs)
    back = open_clip_to_huggingface(canonical)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.items())
    ours = tiny_clip(VIT_CONFIG).state_dict()
    again = huggingface_to_open_clip(open_clip_to_huggingface(ours))
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.items())


def test_openai_s_three_integers_are_all_that_differs_from_open_clip() -> None:
    """open_clip's own loader of OpenAI's state dicts is the reference."""
    module = openai_module(VIT_CONFIG)
    state = {name: tensor for name, tensor in module.state_dict().items() if name != "attn_mask"}
    # OpenAI's loader derives heads from width / 64, so only names can be compared through it.
    assert state.keys() - tiny_clip(VIT_CONFIG).state_dict().keys() == set(OPENAI_BUFFERS)
    assert not tiny_clip(VIT_CONFIG).state_dict().keys() - state.keys()


def test_a_state_dict_given_back_is_one_that_openai_s_loader_takes(tmp_path: Path) -> None:
    """Real widths, so that the loader's own assumption about heads holds."""
    config: dict[str, Any] = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
    }
    ours = tiny_clip(config, quick_gelu=True)
    torch.save(dict(ours.state_dict()), tmp_path / "x.pt")
    loaded = open_clip.load_openai_model(str(tmp_path / "x.pt"), precision="fp32", device="cpu")
    tokens = open_clip.tokenize(TEXTS, context_length=12)
    with torch.no_grad():
        # The loader passes through fp16, hence the tolerance.
        expected = ours.half().float().encode_text(tokens)
        torch.testing.assert_close(loaded.encode_text(tokens), expected, atol=2e-3, rtol=0)
