"""Values as they are typed: `k=v`, attacks, files. Wrong ones are usage errors that name the option.

For a file that cannot be read, it raises Unreadable, which has a status of its own.
"""

import base64
import errno
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from cleanclip.errors import Unreadable
from cleanclip.evidence.reading import Malformed, parse_json

MAX_TRIGGER_IMAGE_BYTES = 64 * 1024
"""The service's bound on a trigger's image."""
_MOST_CONFIG_BYTES = 8 * 1024 * 1024


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


def declared(given: Sequence[str] | None, file: Path | None) -> dict[str, Any]:
    """What `--declared` gives, over what the `config.json` beside the weights of a job says that was declared
    of them. Raises typer.BadParameter."""
    return {**_declared_beside(file), **pairs(given or [], "--declared")}


def _declared_beside(file: Path | None) -> dict[str, Any]:
    if file is None or file.name != "model.safetensors":
        return {}
    try:
        with (file.parent / "config.json").open("rb") as opened:
            written = json.loads(opened.read(_MOST_CONFIG_BYTES))["checkpoint"]["declared"]
        return {name: value for name, value in written.items() if value is not None}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # not a file of ours


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
    return {"attack": name, **_attack_options(options, "--attack")}


def _attack_options(text: str, option: str) -> dict[str, Any]:
    """As `pairs`, but a trigger's words and its target stay text where they look like a number or `true`."""
    typed = text_pairs(_options(text), option)
    read = {name: value_of(value) for name, value in typed.items()}
    for name in ("text", "target"):
        if name in read and not isinstance(read[name], str):
            read[name] = typed[name]
    return read


def _options(text: str) -> list[str]:
    """`a=1,b=x` in pieces; no comma inside of brackets divides: `at=[0,0.5]`."""
    return [item for item in re.split(r",(?![^\[]*\])", text) if item]


def trigger(text: str) -> dict[str, Any]:
    """`FILE[,OPTION=VALUE,…]` as a custom patch with that image in it.

    Only before OPTION= does a comma end the file's name. Raises typer.BadParameter, Unreadable.
    """
    name, *options = re.split(r",(?=\w+=)", text, maxsplit=1)
    path = Path(name)
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_TRIGGER_IMAGE_BYTES:
            raise typer.BadParameter(
                f"--trigger: {path} is larger than {MAX_TRIGGER_IMAGE_BYTES // 1024} KiB, the limit."
            )
        data = path.read_bytes()
    except OSError as cause:
        raise Unreadable(f"--trigger: {path} cannot be read: {cause.strerror}.") from cause
    if not data:
        raise typer.BadParameter(f"--trigger: {path} is empty.")
    given = _attack_options("".join(options), "--trigger")
    return {"attack": "custom_patch", **given, "image": base64.b64encode(data).decode()}


def dataset(text: str, option: str, kind: str) -> str:
    """An id or an s3:// address as it is. Raises typer.BadParameter, with what to do, for data elsewhere."""
    scheme, separator, _ = text.partition("://")
    push = f"cleanclip datasets push DIR --kind {kind}"
    if separator and scheme not in ("s3", "file"):
        fetch = " with `hf download --repo-type dataset …`" if scheme == "hf" else ""
        raise typer.BadParameter(
            f"{option}: the service reads no {scheme}:// addresses. Fetch the data{fetch} into a folder DIR, "
            f"run `{push}`, and give the id that it prints."
        )
    if scheme == "file" or (not separator and ("/" in text or text.startswith("~") or Path(text).exists())):
        raise typer.BadParameter(
            f"{option}: {text} is on this machine, where the service cannot read it. Run "
            f"`{push.replace('DIR', text.removeprefix('file://'))}` and give the id that it prints."
        )
    return text


def json_object(path: Path, option: str) -> dict[str, Any]:
    """A file's JSON object. Raises Unreadable."""
    text = _text_of(path, option)
    try:
        content = parse_json(text.encode())
    except Malformed as cause:
        raise Unreadable(f"{option}: {path} {cause}.") from cause
    if not isinstance(content, dict):
        raise Unreadable(f"{option}: {path} does not hold a JSON object.")
    return content


def lines(path: Path, option: str) -> list[str]:
    """A file's lines that are not empty. Raises Unreadable."""
    return [line for line in _text_of(path, option).splitlines() if line.strip()]


def above_zero(number: float | None) -> float | None:
    """For an option whose least value is not 0, but any above it. Raises typer.BadParameter."""
    if number is not None and not number > 0:
        raise typer.BadParameter(f"{number:g} is not above 0.")
    return number


def _text_of(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as cause:
        raise Unreadable(f"{option}: {path} cannot be read: {cause.strerror}.") from cause
    except UnicodeDecodeError as cause:
        raise Unreadable(f"{option}: {path} cannot be read as UTF-8 text.") from cause


def is_source(text: str) -> bool:
    """Whether it names a checkpoint that the service fetches."""
    return text.startswith(("hf://", "s3://", "https://", "http://"))


def file_or_source(text: str | None) -> str | None:
    """For an argument that names a file to send, or what the service fetches. Raises Unreadable."""
    if text is not None and not is_source(text):
        readable_file(Path(text))
    return text


def _how_to_fetch(text: str) -> str:
    """For what is not on this machine, but elsewhere; of `//` a path has kept one slash."""
    scheme, _, rest = text.partition(":/")
    if rest and scheme in {"http", "https", "s3", "hf"}:
        return " This command sends a file of this machine: download it first, and give its path."
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", text):
        return (
            f" If it is a model of the Hugging Face hub: give hf://{text}, and the service fetches it if its "
            "operator allows that. Or fetch it with `hf download`, and give the file that is then here."
        )
    return ""


def readable_file(path: Path | None) -> Path | None:
    """For options and arguments that name a file to send. Raises Unreadable before anything is sent."""
    if path is None:
        return None
    try:
        path.stat()
    except OSError as cause:
        raise Unreadable(f"{path} cannot be read: {cause.strerror}.{_how_to_fetch(str(path))}") from cause
    if path.is_dir():
        raise Unreadable(f"{path} cannot be read: it is a folder.")
    if not os.access(path, os.R_OK):
        raise Unreadable(f"{path} cannot be read: {os.strerror(errno.EACCES)}.")
    return path
