"""The form that registers a dataset: its fields as text, and the same as the API takes it.

What is allowed is said by app.schemas.datasets; bounds that the form shows are read from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from app.domain.dataset_references import PROJECT_PLACEHOLDER
from app.domain.errors import DomainError
from app.edge.registrations import registration_of
from app.schemas.datasets import DatasetIn
from app.services.datasets import Registration
from app.web.kit.once import FIELD, new_form
from app.web.kit.visitor import Form

FIELDS = ("kind", "name", "uri", "upload_id", "class_names", "templates", "max_skipped_share")
_LISTS = ("class_names", "templates")
_SCHEMA: Mapping[str, Any] = DatasetIn.model_json_schema()["properties"]
_SENTENCES = {
    "kind": "Choose what the dataset holds.",
    "uri": "A reference begins with s3:// and ends with a slash, or names .tar files.",
    "upload_id": "The id of an upload has the form upl_ and 26 more characters.",
    "max_skipped_share": "Give a number from {minimum} to {maximum}, like 0.01 for 1 %.",
}
"""Instead of a schema's, which speaks of patterns and types."""


def schema_of_field(name: str) -> Mapping[str, Any]:
    """What the schema says of a given field: minimum, maximum, default, maxLength, minItems, items, …"""
    about = _SCHEMA[name]
    given: Sequence[Mapping[str, Any]] = about.get("anyOf", [about])
    return {**about, **given[0]}


@dataclass(frozen=True, kw_only=True)
class DatasetForm:
    """What was filled in, and what is wrong with it by field; `refused` is about no one field. `form_id`: by
    which a second sending is recognised (`app.web.kit.once`)."""

    values: Mapping[str, str]
    form_id: str = field(default_factory=new_form)
    errors: Mapping[str, str] = field(default_factory=dict)
    refused: DomainError | None = None

    @classmethod
    def empty(cls, *, kind: str = "", upload_id: str = "") -> DatasetForm:
        share = f"{schema_of_field('max_skipped_share')['default']:g}"
        values = dict.fromkeys(FIELDS, "") | {"kind": kind, "upload_id": upload_id}
        return cls(values=values | {"max_skipped_share": share})

    @classmethod
    def sent(cls, form: Form) -> DatasetForm:
        return cls(values={name: form.get(name) for name in FIELDS}, form_id=form.get(FIELD))

    @property
    def content(self) -> str:
        """Equal in two sendings of one registration."""
        return json.dumps(self.values, sort_keys=True)

    @property
    def first_wrong(self) -> str | None:
        """The field that gets the focus."""
        return next((name for name in FIELDS if name in self.errors), None)

    def registration(self) -> Registration:
        """Raises ValidationError."""
        given: dict[str, Any] = {name: text for name, text in self.values.items() if text}
        for name in _LISTS:
            if name in given:
                given[name] = [line.strip() for line in given[name].splitlines() if line.strip()]
        if "max_skipped_share" in given:
            given["max_skipped_share"] = _number(given["max_skipped_share"])
        return registration_of(DatasetIn.model_validate(given))

    def with_faults(self, error: ValidationError) -> DatasetForm:
        """The same form, each fault beside its field."""
        errors: dict[str, str] = {}
        for fault in error.errors(include_url=False, include_input=False):
            name, place = _field_of(fault)
            errors.setdefault(name, place + _sentence(name, fault))
        return replace(self, errors=errors)

    def refused_with(self, error: DomainError) -> DatasetForm:
        """The same form; a refusal that names a field stands beside it."""
        name = (error.pointer or "").strip("/").partition("/")[0]
        if name in FIELDS:
            return replace(self, errors={name: f"{error.message} {error.remedy}"})
        return replace(self, refused=error)


def _sentence(name: str, fault: Mapping[str, Any]) -> str:
    if fault["loc"] and name in _SENTENCES:
        return _SENTENCES[name].format(**schema_of_field(name))
    if fault["type"] == "string_pattern_mismatch":
        return "A template holds {c} where the class name goes."
    return f"{fault['msg'].removesuffix('.')}."


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _field_of(fault: Mapping[str, Any]) -> tuple[str, str]:
    """Which field, and for a line of a list which line, as the beginning of a sentence."""
    pointer = str(fault.get("ctx", {}).get("pointer", "")).strip("/")
    where = tuple(fault["loc"]) or tuple(pointer.split("/"))
    name = str(where[0])
    if name not in FIELDS:
        return "uri", ""
    place = f"Line {where[1] + 1}: " if len(where) > 1 and isinstance(where[1], int) else ""
    return name, place


def places_of(project_id: str, allowed_prefixes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Where references of the project may point: into its own places, and into those that all share."""
    own = [
        prefix.replace(PROJECT_PLACEHOLDER, project_id)
        for prefix in allowed_prefixes
        if PROJECT_PLACEHOLDER in prefix
    ]
    return own, [prefix for prefix in allowed_prefixes if PROJECT_PLACEHOLDER not in prefix]
