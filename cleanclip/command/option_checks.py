"""Options held to the vocabulary's bounds before anything is sent: what the service would refuse is a usage
error at once, not after a file of gigabytes was uploaded.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

import typer
from pydantic import ValidationError

from cleanclip.kinds.catalogue import KINDS, PUBLIC
from cleanclip.vocabulary.found_attacks import TARGET_OF_SCAN
from cleanclip.vocabulary.near_names import near_names
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import DeclaredOptions, OutputLayout, parse

_OF_SERVICE = frozenset(
    {"null", "attacks_from_scan", *(one.place[-1] for kind in KINDS.values() for one in kind.inputs)}
)
"""What the service knows and the vocabulary does not."""


_PARTS = {kind.option_part: kind.options for kind in PUBLIC.values()}
"""The options of each kind of job, by the field that has them."""


def check_order(body: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Raises typer.BadParameter for whatever the service would not take of these options."""
    check_declared(declared)
    for part, options in _PARTS.items():
        if isinstance(body.get(part), Mapping):
            _hold_part(part, options, body[part])
    if body.get("policy") is not None:
        _hold("/policy", body["policy"], lambda value: parse(Policy, value))
    layout = body.get("output_layout")
    if layout is not None and layout not in get_args(OutputLayout):
        raise typer.BadParameter(f"--output-layout is {' or '.join(get_args(OutputLayout))}, not {layout!r}.")


def _hold_part(part: str, options: Any, ordered: Mapping[str, Any]) -> None:
    """Of an audit that leaves its target to a scan, all else."""
    given = {name: value for name, value in ordered.items() if name not in _OF_SERVICE}
    found = {"target": TARGET_OF_SCAN} if part == "audit" and "target" not in given else {}
    _hold(f"/{part}", given, lambda value: parse(options, found | value))


def check_declared(declared: Mapping[str, Any]) -> None:
    """Raises typer.BadParameter."""
    _hold("/declared", dict(declared), lambda value: parse(DeclaredOptions, value))


def _hold(where: str, value: Any, read: Callable[[Any], object]) -> None:
    try:
        read(value)
    except ValidationError as error:
        sentences = [_sentence(where, found, value) for found in error.errors(include_url=False)]
        raise typer.BadParameter("\n".join(dict.fromkeys(sentences))) from error


def _sentence(where: str, found: Any, value: Any) -> str:
    pointer = _pointer(where, found["loc"], value)
    context = found.get("ctx") or {}
    if found["type"] == "union_tag_invalid":
        names = [name.strip().strip("'") for name in str(context["expected_tags"]).split(",")]
        near = near_names(str(context["tag"]), names)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        noun = str(context["discriminator"]).strip("'")
        return f"{pointer}: there is no {noun} {context['tag']!r}. {hint}There are: {', '.join(names)}."
    if found["type"] == "unexpected_keyword_argument":
        return f"{pointer}: there is no such option."
    return f"{pointer}: {str(found['msg']).removeprefix('Value error, ')}."


def _pointer(where: str, location: tuple[int | str, ...], value: Any) -> str:
    """As the service names the place: without the names that pydantic gives to members of a union."""
    path, inside = [where], value
    for step in location:
        if isinstance(inside, Mapping) and step in (inside.get("attack"), inside.get("method", "cleanclip")):
            continue
        path.append(str(step))
        is_there = isinstance(inside, Mapping) or (isinstance(step, int) and step < len(inside or ()))
        inside = (inside.get(step) if isinstance(inside, Mapping) else inside[step]) if is_there else None
    return "/".join(path)
