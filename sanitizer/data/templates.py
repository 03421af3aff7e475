"""Sentence templates for zero-shot class names. Handles the placeholder `{c}`; needs no tokenizer.

`IMAGENET_80` are the 80 templates that OpenAI published with CLIP for ImageNet, read from the data file
beside this module (its head names origin and licence).
"""

from importlib.resources import files

from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.templates import PLACEHOLDER

MAX_TEMPLATES = 200
MAX_TEMPLATE_LENGTH = 300


def render(template: str, class_name: str) -> str:
    """`template` with the class name for every `{c}`. Nothing else in it is interpreted."""
    return template.replace(PLACEHOLDER, class_name)


def parse_templates(text: str, *, where: str) -> tuple[str, ...]:
    """One template a line; blank lines and lines that start with '#' are no templates.

    Raises DatasetRejected `bad_template`.
    """
    lines = [line.strip() for line in text.split("\n")]
    templates = tuple(line for line in lines if line and not line.startswith("#"))
    if not 1 <= len(templates) <= MAX_TEMPLATES:
        raise _bad(f"{where} holds {len(templates)} templates", f"Give 1 to {MAX_TEMPLATES}.", where)
    for template in templates:
        if PLACEHOLDER not in template:
            raise _bad(
                f"A template of {where} has no {PLACEHOLDER}", f"Write {PLACEHOLDER} for the class.", where
            )
        if len(template) > MAX_TEMPLATE_LENGTH:
            raise _bad(
                f"A template of {where} is longer than {MAX_TEMPLATE_LENGTH} characters", "Shorten it.", where
            )
    return templates


def _bad(what: str, remedy: str, where: str) -> DatasetRejected:
    return DatasetRejected("bad_template", f"{what}.", remedy, where=where)


IMAGENET_80: tuple[str, ...] = parse_templates(
    files("sanitizer.data").joinpath("imagenet_templates.txt").read_text("utf-8"),
    where="imagenet_templates.txt",
)
