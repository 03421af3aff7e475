"""Tensors → which SigLIP, as `inference` does for a CLIP; shapes are as hostile.

What no shape tells is as the library of the layout has it: Hugging Face builds both towers with GELU in its
tanh form, open_clip with the form that its configuration of this shape names.
"""

from collections.abc import Container, Mapping
from dataclasses import replace

from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from sanitizer.checkpoints.architecture import CLIP_TOKENIZER, SIGLIP_CONSTANTS, Architecture
from sanitizer.checkpoints.choices import Choices
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.siglip_configs import (
    KNOWN_HEADS,
    SIGLIP2_VOCABULARY,
    SIGLIP_NORM_EPS,
    PooledTransformer,
    has_tanh_in_timm,
    timm_name,
)
from sanitizer.checkpoints.tensor_shapes import (
    Shapes,
    check_context,
    count_layers,
    heads_of,
    image_size_of,
    logit_scale_is_vector,
    norm_eps_of,
    open_clip_blocks,
    shape_of,
    side_of,
    square_patch,
)
from sanitizer.checkpoints.tower_configs import Blocks, TextTransformer

_QUERIES = ("visual.trunk.attn_pool.latent", "vision_model.head.probe")
"""What reads the patches, by open_clip's name and by Hugging Face's."""
_FIRST_NORM = "visual.trunk.norm_pre.weight"
_TRUNK = "visual.trunk.blocks"


def is_siglip(names: Container[str]) -> bool:
    """Whether patches are read by a query and no norm comes before the blocks, as in a Perception Encoder."""
    return any(query in names for query in _QUERIES) and _FIRST_NORM not in names


def infer_siglip(tensors: Mapping[str, Tensor], choices: Choices, *, layout: str) -> Architecture:
    """The architecture of canonical `tensors`; why each option is as it is goes into `choices`.

    Raises CheckpointRejected as `inference.infer` does, and 'tokenizer_undeclared'.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    vocab_size, width = shape_of(shapes, "text.token_embedding.weight", 2)
    is_siglip2, is_huggingface = vocab_size >= SIGLIP2_VOCABULARY, layout == "huggingface"
    vision = _vision(shapes, choices, is_huggingface=is_huggingface, is_siglip2=is_siglip2)
    text_tanh = choices.pick("gelu_tanh", is_huggingface or is_siglip2, phrases.GELU_OF_LAYOUT)
    return Architecture(
        embed_dim=vision.blocks.width,
        vision=vision,
        text=_text(shapes, choices, vocab_size, width),
        quick_gelu=choices.from_tensors("quick_gelu", False, phrases.EVERY_SIGLIP),
        gelu_tanh=text_tanh,
        logit_scale_is_vector=logit_scale_is_vector(shapes),
        logit_bias="logit_bias" in shapes,
        image_mean=choices.pick("image_mean", SIGLIP_CONSTANTS, phrases.EVERY_SIGLIP),
        image_std=choices.pick("image_std", SIGLIP_CONSTANTS, phrases.EVERY_SIGLIP),
        resize_mode=choices.pick("resize_mode", "squash", phrases.EVERY_SIGLIP),
        tokenizer=_tokenizer(choices),
    )


def _vision(shapes: Shapes, choices: Choices, *, is_huggingface: bool, is_siglip2: bool) -> PooledTransformer:
    width, patch_size = square_patch(shapes, "visual.trunk.patch_embed.proj.weight")
    positions = "visual.trunk.pos_embed"
    side = side_of(shape_of(shapes, positions, 3)[1], positions, with_class_token=False)
    # So400m with patches of 14 was trained at 384 px, of which 27 patches leave six over; open_clip has
    # SigLIP 2 at 378 only.
    is_384 = (patch_size, side) == (14, 27) and (is_huggingface or not is_siglip2)
    vision = PooledTransformer(
        blocks=Blocks(
            width=width,
            layers=count_layers(shapes, _TRUNK),
            heads=heads_of(shapes, _TRUNK, width, "vision", choices, known_heads=KNOWN_HEADS),
            mlp_width=shape_of(shapes, f"{_TRUNK}.0.mlp.fc1.weight", 2)[0],
            norm_eps=norm_eps_of("vision", SIGLIP_NORM_EPS, choices),
        ),
        patch_size=patch_size,
        image_size=image_size_of(side, patch_size, choices, usual=384 if is_384 else None),
    )
    declared = choices.declared.gelu_tanh
    usual = is_huggingface or has_tanh_in_timm(timm_name(vision))
    return replace(vision, gelu_tanh=usual if declared is None else declared)


def _text(shapes: Shapes, choices: Choices, vocab_size: int, width: int) -> TextTransformer:
    context_length = shape_of(shapes, "text.positional_embedding", 2)[0]
    check_context(context_length)
    return TextTransformer(
        blocks=open_clip_blocks(
            shapes,
            "text.transformer.resblocks",
            width,
            "text",
            choices,
            known_heads=KNOWN_HEADS,
            norm_eps=SIGLIP_NORM_EPS,
        ),
        context_length=context_length,
        vocab_size=vocab_size,
        projection="linear" if "text.text_projection.weight" in shapes else "none",
        pool=choices.from_tensors("text_pool", "last", phrases.EVERY_SIGLIP),
        causal=choices.from_tensors("text_causal", False, phrases.EVERY_SIGLIP),
    )


def _tokenizer(choices: Choices) -> str:
    declared = choices.declared.tokenizer
    if declared is None or declared == CLIP_TOKENIZER:
        raise refusal(
            "tokenizer_undeclared",
            "A SigLIP has a tokenizer of its own, and the file does not hold it.",
            "Declare tokenizer: the SHA-256 of the model's tokenizer.json, which your operator keeps on the "
            "shelf of tokenizers.",
            where="tokenizer",
        )
    return choices.pick("tokenizer", declared, phrases.DECLARED)
