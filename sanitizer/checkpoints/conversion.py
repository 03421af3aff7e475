"""State dicts in memory, from one library's names to another's. For files see `reading` and `writing`.

OpenAI's names are open_clip's, plus three integers (`input_resolution`, `context_length`, `vocab_size`) that
its archives carry as buffers. Hugging Face's differ throughout: see `huggingface`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.huggingface import POSITION_IDS, names_for, place_of
from sanitizer.checkpoints.origins import Origin
from sanitizer.checkpoints.provenance import canonical_tensors, uploaded_tensor
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.tensors import DTYPE_NAMES, LazyTensor, LazyTensors
from sanitizer.checkpoints.towers import DEFAULT_NORM_EPS, Blocks, ModifiedResNet

OPENAI_BUFFERS = ("input_resolution", "context_length", "vocab_size")


def openai_to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the three integers of OpenAI's archives; nothing else differs."""
    return {name: tensor for name, tensor in state.items() if name not in OPENAI_BUFFERS}


def open_clip_to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's own loader takes open_clip's names as they are."""
    return dict(state)


def huggingface_to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`CLIPModel.state_dict()` → `CLIP.state_dict()`, dtypes kept.

    Raises CheckpointRejected 'not_a_clip' for a name that `CLIPModel` does not have.
    """
    origins = []
    for name, tensor in state.items():
        if POSITION_IDS.fullmatch(name):
            continue
        origins.append(huggingface_origin(name, DTYPE_NAMES[tensor.dtype], tuple(tensor.shape)))
    lazy = LazyTensors({n: LazyTensor(tuple(t.shape), t.dtype, t.contiguous) for n, t in state.items()})
    return dict(canonical_tensors(lazy, origins).items())


def huggingface_origin(name: str, dtype: str, shape: tuple[int, ...]) -> Origin:
    """The origin of one `CLIPModel` tensor. Raises CheckpointRejected 'not_a_clip' for a foreign name."""
    place = place_of(name)
    if place is None:
        raise refusal(
            "not_a_clip",
            f"'{name}' is no tensor of Hugging Face's CLIPModel.",
            "Upload a CLIPModel without additional heads or adapters.",
            where=name,
        )
    if place.transpose and len(shape) != 2:
        raise refusal(
            "tensor_shape_invalid", f"'{name}' is no matrix.", "Upload the model unmodified.", where=name
        )
    return Origin(
        name=name,
        dtype=dtype,
        shape=shape,
        source=place.source,
        third=place.third,
        transpose=place.transpose,
    )


def open_clip_to_huggingface(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """`CLIP.state_dict()` → `CLIPModel.state_dict()`, dtypes kept.

    Raises CheckpointRejected 'no_huggingface_form' for what `CLIPModel` cannot be: a ModifiedResNet, other
    poolings, optional norms, a text tower without projection.
    """
    if not _fits_huggingface(architecture):
        raise refusal(
            "no_huggingface_form",
            f"Hugging Face's CLIPModel has no such model ({architecture.name} with its options).",
            "Use the open_clip layout.",
        )
    converted = {}
    for name, place in names_for(state).items():
        dtype = DTYPE_NAMES[state[place.source].dtype]
        origin = Origin(
            name=name,
            dtype=dtype,
            shape=(),
            source=place.source,
            third=place.third,
            transpose=place.transpose,
        )
        converted[name] = uploaded_tensor(state, origin)
    return converted


def _fits_huggingface(architecture: Architecture) -> bool:
    vision, text = architecture.vision, architecture.text
    if isinstance(vision, ModifiedResNet) or not vision.ln_pre or vision.pool != "tok":
        return False
    if text.projection != "matrix" or text.pool not in ("argmax", "eos") or not text.causal:
        return False
    if architecture.logit_bias or architecture.logit_scale_is_vector:
        return False
    return all(_is_plain(blocks) for blocks in (vision.blocks, text.blocks))


def _is_plain(blocks: Blocks) -> bool:
    plain = Blocks(
        width=blocks.width, layers=blocks.layers, heads=blocks.heads, mlp_width=blocks.mlp_width,
        norm_eps=blocks.norm_eps if blocks.norm_eps > 0 else DEFAULT_NORM_EPS,
    )  # fmt: skip
    return blocks == plain
