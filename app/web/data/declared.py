"""The form of what a checkpoint's owner declares: fields of `DeclaredOptions`, from and to text.

A field that is left empty is not declared: the inspection then assumes what is usual, and says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from app.web.kit.visitor import Form
from cleanclip.vocabulary.recipe import DeclaredOptions

PREFIX = "declared."
"""Of the names of the form's fields."""


Kind = Literal["truth", "whole", "number", "three", "choice", "text"]


@dataclass(frozen=True, kw_only=True)
class DeclaredField:
    """One option: how it is called for people and how it is filled in."""

    name: str
    label: str
    kind: Kind
    help: str
    choices: tuple[str, ...] = ()


_KINDS: Mapping[str, Kind] = {
    "boolean": "truth",
    "integer": "whole",
    "number": "number",
    "array": "three",
    "string": "choice",
}
_WORDS = {
    "quick_gelu": (
        "QuickGELU",
        "The activation of OpenAI's models. Usual: yes for OpenAI's, Hugging Face's and research files.",
    ),
    "num_heads_vision": ("Heads, vision", "Attention heads. Usual: width / 64."),
    "num_heads_text": ("Heads, text", "Attention heads. Usual: width / 64."),
    "image_size": (
        "Image side, pixels",
        "Usual: what positions say; of ConvNeXt, MobileCLIP, ViTamin-XL: as published.",
    ),
    "image_mean": ("Image mean", "Three numbers, red green blue. Usual: OpenAI's."),
    "image_std": ("Image standard deviation", "Three numbers, red green blue. Usual: OpenAI's."),
    "resize_mode": ("Image resized by", "Shorter side and cut, or both sides (squash). Usual: shortest."),
    "tokenizer": (
        "Tokenizer",
        "SigLIP: the SHA-256 of the model's tokenizer.json. Usual for CLIP: its byte pairs.",
    ),
    "gelu_tanh": ("GELU by tanh", "The approximation of GELU. Usual: no."),
    "vision_pool": (
        "Vision pooling",
        "ViT: the class token (tok) or the mean of the patches (avg). Usual: tok.",
    ),
    "vision_final_ln_after_pool": ("Last norm after pooling", "ViT. Usual: no."),
    "text_pool": ("Text pooling", "Where the caption's embedding is read. Usual: argmax."),
    "text_eos_id": ("End token", "For text pooling eos. Usual: 49407."),
    "text_causal": ("Causal text", "Words see those before them only. Usual: yes."),
    "norm_eps_vision": ("Norm epsilon, vision", "Usual: 0.00001."),
    "norm_eps_text": ("Norm epsilon, text", "Usual: 0.00001."),
}
"""Of each option its label, and what is usual."""


def _fields() -> Iterator[DeclaredField]:
    """Kinds and choices are those of the schema."""
    about = TypeAdapter(DeclaredOptions).json_schema()["properties"]
    for name, (label, help_text) in _WORDS.items():
        schema = about[name]["anyOf"][0]
        choices = tuple(schema.get("enum") or filter(None, [schema.get("const")]))
        kind = "text" if "pattern" in schema else _KINDS[schema["type"]]
        yield DeclaredField(name=name, label=label, kind=kind, help=help_text, choices=choices)


FIELDS = tuple(_fields())


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
