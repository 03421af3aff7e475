"""What all wire shapes share: strictness, ids, storable text, pages, problems.

Incoming shapes refuse unknown fields and text that the database cannot store (NUL, lone surrogates).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from app.domain.ids import id_pattern
from app.domain.shown_texts import is_fit_to_show

_NOT_THERE = object()
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

JobId = Annotated[str, Field(pattern=id_pattern("job"), examples=["job_01k0000000000000000000000a"])]
CheckpointId = Annotated[str, Field(pattern=id_pattern("ckpt"), examples=["ckpt_01k0000000000000000000000a"])]
DatasetId = Annotated[str, Field(pattern=id_pattern("ds"), examples=["ds_01k0000000000000000000000b"])]
UploadId = Annotated[str, Field(pattern=id_pattern("upl"), examples=["upl_01k0000000000000000000000c"])]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256, 64 lower-case hex digits.")]
Time = Annotated[datetime, Field(description="RFC 3339, UTC.")]


def _fit_to_show(text: str) -> str:
    if not is_fit_to_show(text):
        raise PydanticCustomError(
            "unfit_to_show",
            "A name must be one line of visible characters: no control characters, changes of writing "
            "direction or zero-width characters, and more than dots.",
        )
    return text


FIT_TO_SHOW = AfterValidator(_fit_to_show)
"""For text that people will see; stands behind the Field, whose pattern would not be published otherwise."""


Name = Annotated[
    str,
    Field(min_length=1, max_length=100, description="Shown to people. Visible characters on one line."),
    FIT_TO_SHOW,
]
"""Of a dataset, a job or a key."""


def unstorable_text(value: object, pointer: str = "") -> Iterator[str]:
    """JSON pointers of every string (or key) in a JSON value that PostgreSQL cannot hold."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield pointer
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from unstorable_text(key, pointer)
            yield from unstorable_text(item, f"{pointer}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unstorable_text(item, f"{pointer}/{index}")


class WireIn(BaseModel):
    """Base of everything that comes in."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, str_max_length=20_000
    )

    @model_validator(mode="before")
    @classmethod
    def _text_can_be_stored(cls, value: Any) -> Any:
        for pointer in unstorable_text(value):
            raise PydanticCustomError(
                "unstorable_text",
                "Text must not contain NUL characters or lone surrogates.",
                {"pointer": pointer.encode("ascii", "backslashreplace").decode()},
            )
        return value


class WireOut(BaseModel):
    """Base of everything that goes out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def in_row(cls, row: object, **others: Any) -> dict[str, Any]:
        """`others`, and of all other fields those that the row has under the same name."""
        for name in cls.__pydantic_fields__:
            if name not in others and (value := getattr(row, name, _NOT_THERE)) is not _NOT_THERE:
                others[name] = value
        return others

    @classmethod
    def of_row(cls, row: object, **others: Any) -> Self:
        """An answer of `in_row`."""
        return cls.model_validate(cls.in_row(row, **others))

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any], **sure: Any) -> Self:
        """From JSON on a row, whose values came from a process that read an untrusted file, and from values
        that are `sure`. One that cannot be shown is left out, as if it were not known: a list does not fail
        for one of its rows. Keys that are no field are none of ours.
        """
        values = {name: value for name, value in stored.items() if name in cls.model_fields} | sure
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            for name in {str(one["loc"][0]) for one in error.errors(include_input=False)} - sure.keys():
                field = cls.model_fields[name]
                values[name] = None if field.is_required() else field.get_default(call_default_factory=True)
            return cls.model_validate(values)


class AsStored:
    """Of a field of an answer: the service made the value of an order that it had checked, and does not check
    it again on the way out. Read from JSON, it is checked."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=handler(source),
            python_schema=core_schema.any_schema(),
            serialization=core_schema.simple_ser_schema("any"),
        )


class RenameIn(WireIn):
    """A new name."""

    name: Name


class RenameOrClearIn(WireIn):
    """A new name; null takes the name away."""

    name: Name | None


T = TypeVar("T", bound=WireOut)


class Page(WireOut, Generic[T]):
    """Newest first. The next page: the same call with `after` = `last_id`.

    A page holds at most 1 MiB of texts and JSON: it ends before `limit` where rows are large, and `has_more`
    says so.
    """

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ErrorItem(WireOut):
    """One value that cannot be used: `pointer` into the body (RFC 6901), or the name of a `parameter`."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class QuotaOut(WireOut):
    """What a refusal with 429 is about: `current` of `limit` is used, `wanted` more was asked for."""

    name: str
    limit: int
    current: int
    wanted: int


class Problem(WireOut):
    """RFC 9457. `code` is stable; `remedy` says what to do; quote `request_id` to operators."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:cleanclip:problem:not_found",
                    "title": "Not found",
                    "status": 404,
                    "code": "job_not_found",
                    "detail": "There is no such job.",
                    "remedy": "List the jobs of your project.",
                    "errors": [],
                    "request_id": "req_01k0000000000000000000000d",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    code: str
    detail: str
    remedy: str | None = None
    errors: list[ErrorItem] = []
    request_id: str
    quota: QuotaOut | None = None


class StoredProblem(WireOut):
    """Why a checkpoint or dataset was rejected, or a job failed."""

    code: str
    detail: str
    remedy: str
    where: str | None = None
    said: str | None = None
    """What the job's process said. It reads untrusted files: do not take its words for the service's."""
    phase: str | None = None
    retryable: bool = False

    @classmethod
    def of(cls, error: dict[str, Any] | None) -> StoredProblem | None:
        """From the JSON on a row (`worker.failures.AttemptFailed.as_row`); None stays None."""
        if error is None:
            return None
        return cls.of_stored(
            error,
            code=str(error.get("code", "unknown")),
            detail=str(error.get("message", "")),
            remedy=str(error.get("remedy", "")),
        )
