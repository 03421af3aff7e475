"""How a command is declared: as with Typer, and each takes --quiet and says where statuses are explained."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

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


class _Once(TyperCommand):
    """Of an option that takes one value, two would be one too many: the parser keeps the last in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            *_, given = self.make_parser(ctx).parse_args(args=list(args))
            for option in given:
                is_once = not (option.multiple or getattr(option, "is_flag", False) or option.nargs != 1)
                if is_once and given.count(option) > 1:
                    raise typer.BadParameter(
                        f"{option.opts[0]} is given {given.count(option)} times; it takes one value."
                    )
        return super().parse_args(ctx, args)


class Commands(typer.Typer):
    """A group of commands."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        given: dict[str, Any] = {"cls": _Once, "epilog": EPILOG} | options
        register = super().command(name, **given)

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


def command_of(kind: type[Any], name: str) -> Callable[..., None]:
    """A command whose options are the fields of the dataclass `kind`, its own before those that it inherits;
    its docstring is the help, and `carry_out` what is done."""

    def command(context: typer.Context, **given: Any) -> None:
        kind(**given).carry_out(context)

    hints = get_type_hints(kind, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in sorted(fields(kind), key=lambda field: field.name not in kind.__annotations__)
    ]
    own = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    command.__name__, command.__doc__ = name, kind.__doc__
    command.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
    return command
