"""Templates to answers. Everything that is put into one is escaped; no template holds a script or a style."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.live.callers import request_id_of
from app.web.kit.static_files import static_url
from cleanclip.vocabulary.progress import rate_words
from cleanclip.vocabulary.report_inputs import scanner_words
from cleanclip.vocabulary.verdicts import standing, state_words

_TEMPLATES = Path(__file__).parent / "templates"
_UNITS = ("B", "kB", "MB", "GB", "TB")


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A whole page, or a fragment where the template is one."""
    context = {
        "visitor": getattr(request.state, "visitor", None),
        "request_id": request_id_of(request),
        "path": request.url.path,
        "query": request.url.query,
        **values,
    }
    return HTMLResponse(environment.get_template(template).render(context), status_code=status)


def see_other(path: str) -> Response:
    """After a form: the browser asks for this page, and going back sends nothing again."""
    return RedirectResponse(path, status_code=303)


def bytes_text(num_bytes: int | float | None) -> str:
    """12.3 MB: three digits, powers of 1000."""
    if num_bytes is None:
        return "–"
    value, unit = float(num_bytes), _UNITS[0]
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def seconds_text(seconds: float | None) -> str:
    """2 h 5 min, 3 min 20 s, 12 s."""
    if seconds is None:
        return "–"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def percent_text(share: float | None) -> str:
    """93.2 % of a share of 1."""
    return "–" if share is None else f"{100 * share:.1f} %"


def time_text(moment: datetime | None) -> str:
    """2026-11-26 08:15 UTC."""
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def in_words(reason: str) -> str:
    """A verdict's reason without the name that programs have for clean accuracy."""
    return reason.replace("clean_accuracy", "clean accuracy")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "bytes": bytes_text,
        "rate": rate_words,
        "in_words": in_words,
        "seconds": seconds_text,
        "percent": percent_text,
        "time": time_text,
    }
    made.globals |= {
        "static": static_url,
        "scanner_words": scanner_words,
        "standing": standing,
        "state_words": state_words,
    }
    return made


environment = _environment()
"""Built at import: it holds nothing but the templates' folder."""
