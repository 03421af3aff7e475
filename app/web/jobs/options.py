"""Options of the library as fields of a form: bounds, choices and defaults from the JSON schema that the API
publishes, words too. A field that is left empty is left out of the order.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from app.schemas.methods import MethodsOut, OptionsOut
from app.schemas.orders import OrderIn
from app.web.kit.visitor import Form
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import Kind as JobKind
from cleanclip.vocabulary.bounds import labelled
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.recommended import RECOMMENDATIONS, Recommendation, recommended

NONE = "none"
LIMIT = "policy/limit/"
_YES, _NO = "yes", "no"
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")

Kind = Literal["number", "numbers", "truth", "choice", "text", "texts", "image"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One field. `name` is that of the form's field, "GROUP/OPTION"."""

    name: str
    option: str
    kind: Kind
    label: str
    meaning: str
    unit: str
    is_advanced: bool
    default: str
    default_value: Any
    bounds: str
    choices: tuple[str, ...] = ()
    may_be_none: bool = False
    is_published: bool = False
    """Whether the source of the method's defaults names this one."""

    def read(self, text: str) -> Any:
        """The value for the order. What is not a value stays text, and the schema refuses it."""
        if self.may_be_none and text.casefold() == NONE:
            return None
        match self.kind:
            case "number":
                return parse_number(text)
            case "numbers":
                return [parse_number(part.strip()) for part in text.split(",")] if text else []
            case "texts":
                return lines(text)
            case "truth":
                return {_YES: True, _NO: False}.get(text, text)
            case "image":
                return "".join(text.split())
            case _:
                return text


@dataclass(frozen=True, kw_only=True)
class Group:
    """Options that stand together; `defaults_from` where a source names defaults of them."""

    name: str
    options: tuple[Option, ...]
    defaults_from: str | None = None
    recommendations: tuple[Recommendation, ...] = ()

    @property
    def first(self) -> tuple[Option, ...]:
        return tuple(one for one in self.options if not one.is_advanced)

    @property
    def advanced(self) -> tuple[Option, ...]:
        return tuple(one for one in self.options if one.is_advanced)


def given(form: Form, wanted: Iterable[Option]) -> dict[str, Any]:
    """What was written into fields."""
    return {one.option: one.read(text) for one in wanted if (text := form.get(one.name))}


def written(wanted: Iterable[Option], content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Options of an earlier order as fields, but for those that have their default."""
    for one in wanted:
        value = content.get(one.option, one.default_value)
        if value != one.default_value and not (value is None and one.kind == "text"):
            yield one.name, field_text(value)


def lines(text: str) -> list[str]:
    """Those that are not empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def parse_number(text: str) -> int | float | str:
    """As JSON would have it; text that is not a number stays text."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def readable_number(value: float) -> str:
    """For people: 1,000,000; 0.0714; 1e-05."""
    return f"{int(value):,}" if value == int(value) else f"{value:.3g}"


def field_text(value: Any) -> str:
    """A value as it is written into its field, so that `read` gives it back."""
    match value:
        case None:
            return NONE
        case bool():
            return _YES if value else _NO
        case float():
            return f"{value:.6g}" if float(f"{value:.6g}") == value else repr(value)
        case [str(), *_]:
            return "\n".join(value)
        case list() | tuple():
            return ", ".join(field_text(part) for part in value)
        case _:
            return str(value)


@cache
def methods() -> dict[str, Group]:
    """By the method's name."""
    groups = {}
    for one in _known().methods:
        source = recommended(one.name, "ModifiedResNet", "full")
        published = {} if source is None else source.values
        groups[one.name] = Group(
            name=one.name,
            options=_options(one.name, one, left_out=("method", "version"), published=published),
            defaults_from=None if source is None else source.source,
            recommendations=tuple(known for known in RECOMMENDATIONS if known.method == one.name),
        )
    return groups


@cache
def of_kind(kind: str) -> Group:
    """Of a kind of job whose form is made of its value."""
    job: JobKind = KINDS[kind]
    described = OptionsOut.of(job.option_part, job.options)
    return _group(job.option_part, described, only=labelled(job.options))


@cache
def of_order() -> Group:
    """What every kind of job can be told, but for its notes."""
    defaults = {name: OrderIn.model_fields[name].default for name in ("seed", "max_attempts")}
    described = OptionsOut(name="", description="", options=OrderIn.model_json_schema(), defaults=defaults)
    return _group("", described, only=("name", "seed", "max_attempts"))


@cache
def attacks() -> dict[str, Group]:
    """By the attack's name."""
    return {one.name: _group(one.name, one, left_out=("attack",)) for one in _known().attacks}


@cache
def audit() -> Group:
    left_out = ("target", "suite", "attacks", "templates", "linear_probe", "rebound")
    return _group("audit", _known().audit, left_out=left_out)


@cache
def probe() -> Group:
    return _group("probe", OptionsOut.of("probe", LinearProbeOptions))


@cache
def rebound() -> Group:
    return _group("rebound", OptionsOut.of("rebound", ReboundOptions))


@cache
def policy() -> Group:
    return _group("policy", _known().policy, left_out=("asr_at_most_for",))


@cache
def limit_names() -> tuple[str, ...]:
    """What can have a limit of its own, by the schema."""
    names = _known().policy.options["properties"]["asr_at_most_for"]["propertyNames"]["enum"]
    return tuple(str(name) for name in names)


def limit_fields() -> tuple[str, ...]:
    """The names of their fields."""
    return tuple(LIMIT + name for name in limit_names())


@cache
def _known() -> MethodsOut:
    return MethodsOut.known()


def _options(
    group: str,
    described: OptionsOut,
    *,
    left_out: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    published: Mapping[str, Any] | None = None,
) -> tuple[Option, ...]:
    return tuple(
        _option(group, option, schema, described.defaults, option in (published or {}))
        for option, schema in described.options["properties"].items()
        if option not in left_out and (not only or option in only)
    )


def _group(
    name: str, described: OptionsOut, *, left_out: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Group:
    return Group(name=name, options=_options(name, described, left_out=left_out, only=only))


def _option(
    group: str, option: str, schema: dict[str, Any], defaults: dict[str, Any], is_published: bool
) -> Option:
    branches = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    choices = [choice for one in branches for choice in one.get("enum", [one.get("const")]) if choice]
    first = branches[0]
    kind: Kind
    if option == "image":
        kind = "image"
    elif choices:
        kind = "choice"
    elif first.get("items", {}).get("type") == "string":
        kind = "texts"
    else:
        kind = {"integer": "number", "number": "number", "boolean": "truth", "array": "numbers"}.get(
            first["type"], "text"
        )  # type: ignore[assignment]
    return Option(
        name=f"{group}/{option}".lstrip("/"),
        option=option,
        kind=kind,
        label=schema["title"],
        meaning=_meaning(schema.get("description") or first["description"], kind),
        unit=schema.get("unit", ""),
        is_advanced=schema.get("advanced", False),
        default=_default(defaults[option]) if option in defaults else "",
        default_value=defaults.get(option),
        bounds=_bounds(first, kind),
        choices=(_YES, _NO) if kind == "truth" else tuple(str(choice) for choice in choices),
        may_be_none=kind != "text" and len(branches) < len(schema.get("anyOf", [schema])),
        is_published=is_published,
    )


def _meaning(described: str, kind: Kind) -> str:
    """In the words of a form, where nothing is written as `none`."""
    several = {"numbers": " Separated by commas.", "texts": " One a line."}.get(kind, "")
    return described.replace("`", "").replace("null:", f"{NONE}:") + several


def _default(value: Any) -> str:
    return readable_number(value) if isinstance(value, float) else field_text(value)


def _bounds(schema: dict[str, Any], kind: Kind) -> str:
    """'1 to 100', 'over 0, at most 1'; of a list those of each value, of a text its length."""
    if kind == "text" and "maxLength" in schema:
        return f"at most {schema['maxLength']} characters"
    if kind == "numbers":
        return f"each {_bounds(schema.get('items') or schema['prefixItems'][0], 'number')}"
    if kind == "texts":
        return f"at most {readable_number(schema['maxItems'])}" if "maxItems" in schema else ""
    if kind != "number":
        return ""
    low = readable_number(schema["minimum"]) if "minimum" in schema else None
    high = readable_number(schema["maximum"]) if "maximum" in schema else None
    if schema["type"] == "integer" and "exclusiveMaximum" in schema:
        high = readable_number(schema["exclusiveMaximum"] - 1)
    parts = []
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        parts.append(f"at least {low}")
    if "exclusiveMinimum" in schema:
        parts.append(f"over {readable_number(schema['exclusiveMinimum'])}")
    if high is not None:
        parts.append(f"at most {high}")
    if "exclusiveMaximum" in schema and high is None:
        parts.append(f"under {readable_number(schema['exclusiveMaximum'])}")
    return ", ".join(parts)
