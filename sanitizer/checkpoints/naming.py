"""Whose names are these? Prefixes, open_clip's and OpenAI's names, Hugging Face's; what is refused, and why.

From the tensors of a file to the list of their origins. Shapes are judged later, by `inference`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from cleanclip.vocabulary import inspection_phrases as phrases
from sanitizer.checkpoints.naming_huggingface import POSITION_IDS, WORD_TABLE, huggingface_origin
from sanitizer.checkpoints.origins import Origin
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.second_models import PREFIXES
from sanitizer.checkpoints.siglip_inference import is_siglip
from sanitizer.checkpoints.tensors import DTYPE_NAMES, LazyTensor, LazyTensors, causal_mask

PLAIN_CLIP = (
    "Upload a checkpoint of open_clip's CLIP class, OpenAI's CLIP, Hugging Face's CLIPModel, a SigLIP of "
    "fixed resolution, or an open_clip model with a published ConvNeXt, EVA, MobileCLIP, ViTamin or PE tower."
)

OPENAI_BUFFERS = ("input_resolution", "context_length", "vocab_size")
"""Integers that OpenAI's archives carry as buffers beside open_clip's names."""
_MASK = re.compile(r"(transformer\.(resblocks\.(?P<block>0|[1-9]\d{0,3})\.)?)?attn_mask")

# (start of a tensor's name, code, what it is): the first that matches any name is the reason given.
_PATCHES = "vision_model.embeddings.patch_embedding.weight"
OWN_TABLE = "text.token_embedding.weight"
"""Of a text tower that is a module of its own, as open_clip's `CustomTextCLIP` has it."""
FOREIGN = (
    ("visual.attn_pool.", "attentional_pool", "Its image tower has an attentional pooler (CoCa's)."),
    ("text_decoder.", "coca_model", "It is a CoCa model with a text decoder."),
    ("text.", "custom_text_tower", "Its text tower is a model of another library."),
    ("image_encoder.", "mobileclip_model", "It is a MobileCLIP model under Apple's own names."),
    ("base_model.", "adapter_only", "It holds an adapter, not a model."),
)


_OPEN_CLIPS_NAMES = "Convert it to open_clip's names, or upload open_clip's version of this model."


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """`origins` in the file's order; `is_openai`: the three integers of OpenAI's archives are there."""

    naming: str
    prefix: str
    origins: tuple[Origin, ...]
    is_openai: bool
    findings: tuple[str, ...]


def recognise(raw: LazyTensors, *, is_torchscript: bool = False) -> tuple[Recognised, LazyTensors]:
    """Name every tensor of `raw`, or refuse with the reason. Also returns `raw` without its prefix.

    Raises CheckpointRejected with 'not_a_clip', 'one_tower_only', a code of the table above, or those of
    single buffers ('position_ids_unusual', 'attention_mask_unusual', 'dtype_not_allowed').
    """
    prefix = _common_prefix(raw)
    bare = LazyTensors({name.removeprefix(prefix): part for name, part in raw.parts.items()}, raw.release)
    naming, of_siglip = _naming(bare), is_siglip(bare)
    masks = dict.fromkeys(name for name in bare if _is_mask(name, bare))
    for name in masks:
        _check_causal(name, bare)
    # In an archive the mask is a plain attribute, absent from the state dict that is given back.
    given_back = [name for name in bare if not (is_torchscript and name in masks)]
    origins = [
        _origin(name, bare.parts[name], naming, is_mask=name in masks, of_siglip=of_siglip)
        for name in given_back
    ]
    recognised = Recognised(
        naming=naming,
        prefix=prefix,
        origins=tuple(origins),
        is_openai=is_torchscript or any(name in bare for name in OPENAI_BUFFERS),
        findings=tuple(_findings(prefix, list(masks))),
    )
    return recognised, bare


def _findings(prefix: str, masks: list[str]) -> Iterator[str]:
    if prefix:
        yield phrases.PREFIX(prefix=prefix)
    if len(masks) == 1:
        yield phrases.MASK(mask=masks[0])
    elif masks:
        yield phrases.MASKS(mask=masks[0], more=len(masks) - 1)


def _common_prefix(names: Iterable[str]) -> str:
    remaining, prefix = list(names), ""
    while remaining:
        found = next((p for p in PREFIXES if all(name.startswith(p) for name in remaining)), None)
        if found is None or len(prefix) > 100:
            break
        prefix += found
        remaining = [name.removeprefix(found) for name in remaining]
    return prefix


def _naming(names: LazyTensors) -> str:
    of_siglip = is_siglip(names)
    _check_publisher(names)
    for start, code, what in FOREIGN:
        if start == "text." and OWN_TABLE in names:
            continue
        if any(name.startswith(start) for name in names):
            raise refusal(code, what, PLAIN_CLIP, where=next(n for n in names if n.startswith(start)))
    if any(".lora_" in name for name in names):
        raise refusal(
            "adapter_only", "It holds LoRA adapters.", "Merge the adapters into the model and save that."
        )
    if of_siglip and _PATCHES in names and len(names.parts[_PATCHES].shape) == 2:
        raise refusal("siglip_naflex", "It is a SigLIP 2 for images of any shape (NaFlex).", PLAIN_CLIP)
    has_text = OWN_TABLE in names or (not of_siglip and "token_embedding.weight" in names)
    has_vision = any(name.startswith("visual.") for name in names)
    if has_text and has_vision:
        return "open_clip"
    hf_vision = any(name.startswith("vision_model.") for name in names)
    if WORD_TABLE in names and hf_vision:
        return "huggingface"
    if has_text or has_vision or hf_vision or WORD_TABLE in names:
        raise refusal("one_tower_only", "It holds only one of CLIP's two towers.", PLAIN_CLIP)
    first = excerpt(next(iter(names), "no tensor at all"), 60)
    raise refusal(
        "not_a_clip",
        f"Its tensors do not belong to a CLIP model; the first is '{first}'.",
        PLAIN_CLIP,
        where=first,
    )


def _check_publisher(names: Iterable[str]) -> None:
    """Refuse a model that open_clip has, too, under its publisher's own names."""

    def first(start: str) -> str | None:
        return next((name for name in names if name.startswith(start)), None)

    if where := first("visual.attn_pool.probe"):
        raise refusal(
            "timm_tower",
            "It is a Perception Encoder under Meta's own names.",
            _OPEN_CLIPS_NAMES,
            where=where,
        )
    if where := first("visual.patch_embed."):
        raise refusal(
            "timm_tower",
            "Its image tower has the names of BAAI's EVA-CLIP.",
            _OPEN_CLIPS_NAMES,
            where=where,
        )
    if where := first("vision_model.encoder.stages.") or first("vision_model.timm_model."):
        raise refusal(
            "timm_tower",
            "Its image tower has Hugging Face's names of a ConvNeXt or of a tower of timm's.",
            _OPEN_CLIPS_NAMES,
            where=where,
        )


def _origin(name: str, part: LazyTensor, naming: str, *, is_mask: bool, of_siglip: bool) -> Origin:
    dtype, shape = DTYPE_NAMES[part.dtype], part.shape
    if naming == "huggingface" and POSITION_IDS.fullmatch(name):
        _check_position_ids(name, part)
        return Origin(name=name, dtype=dtype, shape=shape, source=None, fill="arange")
    if name in OPENAI_BUFFERS and part.dtype == torch.int64 and part.num_elements == 1:
        value = int(part.load().item())
        return Origin(name=name, dtype=dtype, shape=shape, source=None, fill="value", value=value)
    if is_mask:
        return Origin(name=name, dtype=dtype, shape=shape, source=None, fill="causal")
    if part.dtype == torch.int64 and not name.endswith(".num_batches_tracked"):
        raise refusal(
            "dtype_not_allowed",
            f"Tensor '{excerpt(name)}' holds integers where a CLIP has weights.",
            "Save the weights as float16, bfloat16 or float32.",
            where=name,
        )
    if naming == "huggingface":
        return huggingface_origin(name, dtype, shape, is_siglip=of_siglip)
    return Origin(name=name, dtype=dtype, shape=shape, source=name)


def _check_position_ids(name: str, part: LazyTensor) -> None:
    expected = torch.arange(part.num_elements)
    if part.dtype != torch.int64 or not torch.equal(part.load().reshape(-1), expected):
        raise refusal(
            "position_ids_unusual",
            f"'{excerpt(name)}' does not count 0, 1, 2, …",
            "Only CLIP models with positions in their natural order are supported.",
            where=name,
        )


def _is_mask(name: str, names: LazyTensors) -> bool:
    """Does `name` stand where code keeps the text tower's mask: of the tower, or of a block that is there?"""
    match = _MASK.fullmatch(name)
    if match is None:
        return False
    return match["block"] is None or f"transformer.resblocks.{match['block']}.ln_1.weight" in names


def _check_causal(name: str, tensors: LazyTensors) -> None:
    part = tensors.parts[name]
    is_square = len(part.shape) == 2 and part.shape[0] == part.shape[1]
    can_be = is_square and part.dtype.is_floating_point
    if not can_be or not torch.equal(part.load(), causal_mask(part.shape[0], part.dtype)):
        raise refusal(
            "attention_mask_unusual",
            f"'{excerpt(name)}' is not a causal mask: {DTYPE_NAMES[part.dtype]} of shape {list(part.shape)}.",
            "Only CLIP models with a causal text tower are supported.",
            where=name,
        )
