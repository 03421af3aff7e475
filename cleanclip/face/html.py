"""report.html: one file, styles and plots inside, no script, nothing loaded from anywhere.

Every value that a template prints goes through `untrusted.shown` and is then escaped, without the template
asking for it; only our own SVG is put in as it is.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import escape

from cleanclip.face import sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.table_rows import points
from cleanclip.vocabulary.plain_images import data_uri
from cleanclip.vocabulary.progress import rate_words
from cleanclip.vocabulary.report_inputs import scanner_words
from cleanclip.vocabulary.sections import sections_of
from cleanclip.vocabulary.untrusted import name, shown
from cleanclip.vocabulary.verdict_texts import percent, share

SHEET = Path(__file__).parent / "templates" / "sections.css"
"""The looks of `sections` and of plots, for a page that has them."""
_MADE_WITH = ("cleanclip-service", "jinja2")


def drawn(template: str, **values: object) -> Drawn:
    """A part of a page."""
    return Drawn(environment().get_template(template).render(**values))


def made_with() -> str:
    """What made the page, with versions: another version may draw other bytes."""
    return ", ".join(f"{package} {_version(package)}" for package in _MADE_WITH)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@cache
def environment() -> Environment:
    """Of every page's template."""
    made = Environment(
        loader=PackageLoader("cleanclip.face"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    made.filters["name"] = name
    made.filters["percent"] = percent
    made.filters["share"] = share
    made.filters["rate"] = rate_words
    made.filters["listed"] = sentences.listed
    made.filters["image"] = lambda image: escape(data_uri(image))  # longer than any text that a page shows
    made.globals["points"] = points
    made.globals["sections_of"] = sections_of
    made.globals["scanner_words"] = scanner_words
    return made


def _finalized(value: Any) -> Any:
    """Of whatever a template prints: untrusted text is made visible before it is escaped."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
