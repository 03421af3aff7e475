"""The page of commands: what their own parsers know of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from app.cli.main import command_line as operators_commands
from client.command.main import app as client_commands
from sanitizer.arguments import parser as library_commands
from tools.reference.markdown import code, paragraphs, table

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
            told = {choice.dest: choice.help for choice in action._choices_actions}
            for word, command in action.choices.items():
                options = tuple(
                    _argued(one, command)
                    for one in command._actions
                    if not _EVERYWHERE & set(one.option_strings)
                )
                yield Command(name=f"{parser.prog} {word}", text=told[word] or "", options=options)


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
    """Section → its commands."""
    return {
        "cleanclip": list(of_the_client()),
        "python -m sanitizer": list(of_parser(library_commands())),
        "python -m app.cli": list(of_parser(operators_commands())),
    }


INTRODUCTIONS = {
    "cleanclip": "For customers: [the guide](../client.md) says where address and key come from and what each exit "
    "status means. Each command has `--help`, and `--quiet` (`-q`), which leaves only errors on stderr; those that print "
    "a result take `--json`: one document on stdout. `cleanclip --install-completion` teaches the shell to complete "
    "all of this.",
    "python -m sanitizer": "The library on local files, without any service. Each command has `--help` and `--debug` "
    "(show tracebacks); `--json` prints the result as JSON on stdout. Exit status: 0 done, 1 the program failed, 2 wrong "
    "arguments, 3 refused (the reason is on stderr), 75 interrupted (the same command goes on).",
    "python -m app.cli": "For operators. It reads the [settings](../operating/settings.md) and needs the database. Each "
    "command has `--help`; those that list take `--json`: one object a line.",
}


def page() -> str:
    parts = ["# Commands\n"]
    for section, commands in everything().items():
        parts.append(f"## {section}\n\n{INTRODUCTIONS[section]}\n")
        for command in commands:
            heading = f"### {command.name}\n" if command.name != section else ""
            rows = [(code(one.names), one.meaning, one.default) for one in command.options]
            text = paragraphs(command.text)
            parts += [
                part for part in (heading, text, rows and table(("", "meaning", "default"), rows)) if part
            ]
    return "\n".join(part if part.endswith("\n") else part + "\n" for part in parts)
