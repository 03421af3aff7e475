"""Numbers and texts with their bounds, of which options are made."""

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeVar, get_type_hints

from annotated_types import Gt, Interval, Len
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError


@cache
def _meanings(kind: type) -> Mapping[str, str]:
    """Of the fields that a class itself declares, the docstrings. Empty where it was made without source."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(tree, ast.ClassDef), "it is the source of a class"
    found = {}
    for field, after in pairwise(tree.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split()).replace("None:", "null:")
    return found


def meaning(kind: type, field: str) -> str:
    """What the docstring of a field says."""
    return next(texts[field] for one in kind.__mro__ if field in (texts := _meanings(one)))


def described(schema: dict[str, Any], kind: type) -> None:
    """Gives each property of a JSON schema the docstring of its field as its description."""
    for one in kind.__mro__:
        for name, text in _meanings(one).items():
            if name in schema.get("properties", {}):
                schema["properties"][name].setdefault("description", text)


def label(text: str, unit: str = "", *, is_advanced: bool = False) -> Any:
    """What people call an option, in its annotation; the field's docstring says what it means. Forms, the
    API's schema and the reference read both. `is_advanced`: a form shows it when it is asked to."""
    extra: dict[str, Any] = ({"unit": unit} if unit else {}) | ({"advanced": True} if is_advanced else {})
    return Field(title=text, json_schema_extra=extra or None)


def labelled(kind: type) -> tuple[str, ...]:
    """The options that have a `label`, which are those of a form."""
    hints = get_type_hints(kind, include_extras=True).items()
    return tuple(name for name, hint in hints if any(map(_is_label, getattr(hint, "__metadata__", ()))))


def _is_label(one: Any) -> bool:
    return isinstance(one, FieldInfo) and one.title is not None


STRICT: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False, "json_schema_extra": described}


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
