"""Commands: what their own parsers know of them."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from app.cli.main import command_line as operators_commands
from cleanclip.command.main import app as client_commands
from sanitizer.cli.command_line import parser as library_commands
from tools.reference.markdown import Kept, Maker, code, paragraphs, table

_EVERYWHERE = {"--help", "--quiet", "--json", "--debug"}
"""Said once, above."""


@dataclass(frozen=True, kw_only=True)
class Option:
    names: str
    """As they are typed, with what follows them."""
    meaning: str
    default: str


@dataclass(frozen=True, kw_only=True)
class Command:
    name: str
    text: str
    options: tuple[Option, ...]


def of_the_client() -> Iterator[Command]:
    root = typer.main.get_command(client_commands)
    yield Command(name="cleanclip", text="", options=tuple(_typed(one) for one in root.params))
    yield from _below(root, "cleanclip")


def _below(group: Any, name: str) -> Iterator[Command]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{name} {word}")
        else:
            options = tuple(_typed(one) for one in command.params if not _EVERYWHERE & set(one.opts))
            yield Command(name=f"{name} {word}", text=command.help, options=options)


def _typed(parameter: Any) -> Option:
    is_argument = not parameter.opts[0].startswith("-")
    names = [*parameter.opts, *parameter.secondary_opts]
    names = [parameter.metavar or parameter.name.upper()] if is_argument else names
    shown = ", ".join(names)
    if not is_argument and not parameter.is_flag:
        shown += f" {parameter.metavar or 'VALUE'}"
    default = parameter.default
    is_told = default not in (None, False, (), []) and not callable(default)
    needed = "needed" if parameter.required else ""
    return Option(names=shown, meaning=parameter.help or "", default=code(default) if is_told else needed)


def of_parser(parser: argparse.ArgumentParser) -> Iterator[Command]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            reported = {choice.dest: choice.help for choice in action._choices_actions}
            for word, command in action.choices.items():
                options = tuple(
                    _argued(one, command)
                    for one in command._actions
                    if not _EVERYWHERE & set(one.option_strings)
                )
                yield Command(name=f"{parser.prog} {word}", text=reported[word] or "", options=options)


def _argued(action: argparse.Action, command: argparse.ArgumentParser) -> Option:
    value = action.metavar or (
        "{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper()
    )
    names = ", ".join(action.option_strings)
    if not names:
        names = str(value)
    elif action.nargs != 0:
        names += f" {value}"
    meaning = (action.help or "") % {**vars(action), "prog": command.prog}
    default = action.default
    shown = ",".join(default) if isinstance(default, list) else default
    is_told = default not in (None, False, [], argparse.SUPPRESS)
    needed = "needed" if action.required else ""
    return Option(names=names, meaning=meaning, default=code(shown) if is_told else needed)


def everything() -> dict[str, list[Command]]:
    """Program → its commands."""
    return {
        "cleanclip": list(of_the_client()),
        "python -m sanitizer": list(of_parser(library_commands())),
        "python -m app.cli": list(of_parser(operators_commands())),
    }


def shared(found: Iterable[Command]) -> list[Option]:
    """The options that two or more of the commands have with the same name, meaning and default."""
    number = Counter(one for command in found for one in command.options if one.names.startswith("-"))
    return [option for option, commands in number.items() if commands > 1]


def _rows(options: Iterable[Option]) -> str:
    rows = [(code(one.names), one.meaning, one.default) for one in options]
    return table(("", "meaning", "default"), rows) if rows else ""


def _section(program: str) -> Maker:
    def make(_: Kept) -> str:
        found = everything()[program]
        common = shared(found)
        parts = []
        for command in found:
            if command.name != program:
                parts.append(f"### {command.name}\n")
            parts += [paragraphs(command.text) + "\n" if command.text else ""]
            parts.append(_rows(one for one in command.options if one not in common))
            names = [code(one.names.split()[0].rstrip(",")) for one in command.options if one in common]
            parts.append(f"Shared: {', '.join(names)}.\n" if names else "")
        heading = f"### {program}: shared options\n"
        place = 2 if found[0].name == program else 0
        return "\n".join(part for part in [*parts[:place], heading, _rows(common), *parts[place:]] if part)

    return make


MAKERS: Mapping[str, Maker] = {f"commands of {program}": _section(program) for program in everything()}
