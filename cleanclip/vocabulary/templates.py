"""What a sentence template of zero-shot class names must hold."""

from collections.abc import Iterable, Iterator

from cleanclip.vocabulary.errors import OptionsRejected

PLACEHOLDER = "{c}"
PLAIN_TEMPLATE = f"a photo of a {PLACEHOLDER}."
"""CLIP's own (Radford et al., arXiv 2103.00020, section 3.1.4)."""


def check_templates(templates: Iterable[str] | None, *, where: str) -> Iterator[OptionsRejected]:
    """Those without a place for the class name; `where` they stand in the order."""
    for number, template in enumerate(templates or ()):
        if PLACEHOLDER not in template:
            yield OptionsRejected(
                "bad_template",
                f"Template {number} does not name the class.",
                f"Write {PLACEHOLDER} where the class name belongs.",
                where=f"{where}.{number}",
            )
