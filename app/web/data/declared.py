"""The form of what a checkpoint's owner declares: fields of `DeclaredOptions`, from and to text.

A field that is left empty is not declared: the inspection then assumes what is usual, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.web.kit.visitor import Form

PREFIX = "declared."
"""Of the names of the form's fields."""


@dataclass(frozen=True, kw_only=True)
class DeclaredField:
    """One option: how it is called for people and how it is filled in."""

    name: str
    label: str
    kind: Literal["truth", "whole", "number", "three", "choice"]
    help: str
    choices: tuple[str, ...] = ()


FIELDS = (
    DeclaredField(
        name="quick_gelu",
        label="QuickGELU",
        kind="truth",
        help="The activation of OpenAI's models. Usual: yes for OpenAI's, Hugging Face's and research files.",
    ),
    DeclaredField(
        name="num_heads_vision",
        label="Heads, vision",
        kind="whole",
        help="Attention heads. Usual: width / 64.",
    ),
    DeclaredField(
        name="num_heads_text",
        label="Heads, text",
        kind="whole",
        help="Attention heads. Usual: width / 64.",
    ),
    DeclaredField(
        name="image_size",
        label="Image side, pixels",
        kind="whole",
        help="Usual: what the position embeddings say.",
    ),
    DeclaredField(
        name="image_mean",
        label="Image mean",
        kind="three",
        help="Three numbers, red green blue. Usual: OpenAI's.",
    ),
    DeclaredField(
        name="image_std",
        label="Image standard deviation",
        kind="three",
        help="Three numbers, red green blue. Usual: OpenAI's.",
    ),
    DeclaredField(
        name="tokenizer",
        label="Tokenizer",
        kind="choice",
        choices=("clip_bpe",),
        help="Usual: CLIP's byte pairs.",
    ),
    DeclaredField(
        name="gelu_tanh",
        label="GELU by tanh",
        kind="truth",
        help="The approximation of GELU. Usual: no.",
    ),
    DeclaredField(
        name="vision_pool",
        label="Vision pooling",
        kind="choice",
        choices=("tok", "avg"),
        help="ViT: the class token (tok) or the mean of the patches (avg). Usual: tok.",
    ),
    DeclaredField(
        name="vision_final_ln_after_pool",
        label="Last norm after pooling",
        kind="truth",
        help="ViT. Usual: no.",
    ),
    DeclaredField(
        name="text_pool",
        label="Text pooling",
        kind="choice",
        choices=("argmax", "eos", "first", "last"),
        help="Where the caption's embedding is read. Usual: argmax.",
    ),
    DeclaredField(
        name="text_eos_id",
        label="End token",
        kind="whole",
        help="For text pooling eos. Usual: 49407.",
    ),
    DeclaredField(
        name="text_causal",
        label="Causal text",
        kind="truth",
        help="Words see those before them only. Usual: yes.",
    ),
    DeclaredField(
        name="norm_eps_vision",
        label="Norm epsilon, vision",
        kind="number",
        help="Usual: 0.00001.",
    ),
    DeclaredField(
        name="norm_eps_text",
        label="Norm epsilon, text",
        kind="number",
        help="Usual: 0.00001.",
    ),
)


def read(form: Form) -> dict[str, Any]:
    """The options that are filled in. Text that is no value of its kind stays text and is refused later."""
    given = {field: form.get(PREFIX + field.name) for field in FIELDS}
    return {field.name: _value(field, text) for field, text in given.items() if text}


def declared_texts(declared: Mapping[str, Any]) -> dict[str, str]:
    """What the form shows for options that were declared."""
    return {name: _text(value) for name, value in declared.items() if value is not None}


def _value(field: DeclaredField, text: str) -> Any:
    if field.kind == "truth":
        return {"yes": True, "no": False}.get(text, text)
    try:
        if field.kind == "whole":
            return int(text)
        if field.kind == "number":
            return float(text)
        if field.kind == "three":
            return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return text
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
