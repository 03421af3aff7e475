"""What a form's fields hold, read with the sentence that stands beside a field that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from app.domain.errors import DomainError, InvalidInput
from app.domain.shown_texts import is_fit_to_show
from app.web.kit.visitor import Form

MAX_NAME_CHARACTERS = 100
OVERLAPS = {
    "0": "Not at all: it ends now",
    "3600": "1 hour",
    "86400": "1 day",
    "604800": "7 days",
    "2592000": "30 days",
}
"""How long the secret that is replaced lasts beside the new one, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A form as it is shown: what stands in its fields, and what is wrong with which."""

    values: Mapping[str, str] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    """Of the boxes of one name."""
    errors: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)

    def error(self, name: str) -> str | None:
        return self.errors.get(name)

    @property
    def first_wrong(self) -> str | None:
        return next(iter(self.errors), None)


def refill(form: Form, error: DomainError, *, boxes: str = "") -> Filled:
    """The form as it was sent, with the refusal beside the field that it names (the pointer's first part)."""
    name = (error.pointer or "/").split("/")[1]
    return Filled(
        values={one: form.get(one) for one in form.names() if one not in {"form_token", "once", boxes}},
        chosen=frozenset(form.all(boxes)),
        errors={name: f"{error.message} {error.remedy}"},
    )


def form_incomplete(name: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput("form_incomplete", message, remedy, pointer=f"/{name}")


def read_name_or_none(form: Form) -> str | None:
    """None where the field is empty. Raises InvalidInput."""
    return read_name(form) if form.get("name") else None


def read_name(form: Form) -> str:
    """Raises InvalidInput."""
    name = form.get("name")
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not is_fit_to_show(name):
        raise form_incomplete(
            "name",
            f"A name is 1 to {MAX_NAME_CHARACTERS} printable characters on one line.",
            "Say what it is for.",
        )
    return name


def read_day_end(form: Form, name: str) -> datetime | None:
    """The end of a day, in UTC; None where none is given. Raises InvalidInput."""
    text = form.get(name)
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise form_incomplete(name, "This is not a date.", "Write it as 2030-12-31.") from None


def read_choice(form: Form, name: str, choices: Mapping[str, object]) -> str:
    """One of `choices`. Raises InvalidInput."""
    value = form.get(name)
    if value not in choices:
        raise form_incomplete(name, "This is not one of the choices.", "Choose one of the list.")
    return value


def check_confirmed(form: Form) -> None:
    """The box that says that it is meant. Raises InvalidInput."""
    if form.get("confirm") != "yes":
        raise form_incomplete("confirm", "Nothing was changed.", "Tick the box to confirm.")
