"""How a command is declared: as with Typer, and each takes --quiet and says where statuses are explained."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from cleanclip.command.output import quietly

F = TypeVar("F", bound=Callable[..., Any])
EPILOG = "Exit status: 0 done; the others are explained by `cleanclip --help`."

_QUIET = inspect.Parameter(
    "quiet",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors only and, when something is created, its id.")
    ],
)


class Commands(typer.Typer):
    """A group of commands."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        register = super().command(name, **({"epilog": EPILOG} | options))

        def keep(function: F) -> F:
            register(_taking_quiet(function))
            return function

        return keep


def _taking_quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def command(*args: Any, quiet: bool = False, **kwargs: Any) -> Any:
        with quietly(quiet):
            return function(*args, **kwargs)

    command.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what inspect looks at first
        parameters=[*signature.parameters.values(), _QUIET]
    )
    return command
