"""Values as they are typed: `k=v`, attacks, JSON files. Wrong ones are usage errors that name the option."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def value_of(text: str) -> Any:
    """JSON where it is JSON (true, 3, 0.5, [1,2], null), numbers with commas as a list, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        pieces = text.split(",")
        try:
            return [float(piece) for piece in pieces] if len(pieces) > 1 else text
        except ValueError:
            return text


def pairs(given: Sequence[str], option: str) -> dict[str, Any]:
    """`["k=v", …]` as a dictionary. Raises typer.BadParameter."""
    return {name: value_of(text) for name, text in _split(given, option)}


def text_pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """The same with every value kept as text. Raises typer.BadParameter."""
    return dict(_split(given, option))


def _split(given: Sequence[str], option: str) -> list[tuple[str, str]]:
    found = []
    for item in given:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {item!r}.")
        found.append((name.strip(), text))
    return found


def attack(text: str) -> dict[str, Any]:
    """`badnet`, `badnet:pattern=yellow,size=0.1`, or a JSON object. Raises typer.BadParameter."""
    if text.lstrip().startswith("{"):
        try:
            parsed: dict[str, Any] = json.loads(text)
        except ValueError as cause:
            raise typer.BadParameter(f"--attack: this is not JSON: {cause}.") from cause
        return parsed
    name, _, options = text.partition(":")
    if not name:
        raise typer.BadParameter("--attack takes NAME or NAME:OPTION=VALUE,….")
    given = [item for item in options.split(",") if item]
    return {"attack": name, **pairs(given, "--attack")}


def json_object(path: Path, option: str) -> dict[str, Any]:
    """A file's JSON object. Raises typer.BadParameter."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise typer.BadParameter(f"{option}: {path} cannot be read: {cause.strerror}.") from cause
    except ValueError as cause:
        raise typer.BadParameter(f"{option}: {path} is not JSON: {cause}.") from cause
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{option}: {path} does not hold a JSON object.")
    return content


def lines(path: Path, option: str) -> list[str]:
    """A file's lines that are not empty. Raises typer.BadParameter."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise typer.BadParameter(f"{option}: {path} cannot be read as UTF-8 text.") from cause
    return [line for line in text.splitlines() if line.strip()]
