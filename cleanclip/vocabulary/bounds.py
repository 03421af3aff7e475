"""Numbers and texts with their bounds, of which options are made."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import Gt, Interval, Len
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

STRICT: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, kw_only=True)
class StrictOptions:
    """Base of options that refuse unknown fields."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT


def _not_text_or_truth(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise PydanticCustomError("number_expected", "A number is expected, not text and not true or false.")
    return value


NUMBER = BeforeValidator(_not_text_or_truth)
"""On every number: "3" and true are mistakes, not ways to write 3 and 1. Behind the bounds, which do
not become minimum and maximum in the JSON schema otherwise."""


S = TypeVar("S", bound=Sized)


def _some(value: S) -> S:
    if not value:
        raise PydanticCustomError("too_short", "At least one is expected.")
    return value


NOT_EMPTY = (AfterValidator(_some), Field(json_schema_extra={"minItems": 1}))
"""On tuples, instead of MinLen: pydantic holds that to the items that are right, and so reports a
single wrong one a second time, as of a tuple without any."""

Number = Annotated[float, NUMBER]
Positive = Annotated[float, Gt(0), NUMBER]
Share = Annotated[float, Interval(ge=0, le=1), NUMBER]
Seed = Annotated[int, Interval(ge=0, lt=2**31), NUMBER]
ShortText = Annotated[str, Len(1, 200)]
