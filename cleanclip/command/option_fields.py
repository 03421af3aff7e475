"""An option of a command that is a field of an order's options, which has its bounds, meaning and default."""

from typing import Any, get_type_hints

import typer
from annotated_types import Ge, GroupedMetadata, Gt, Le

from cleanclip.command import values
from cleanclip.vocabulary.bounds import meaning


def option_of(options: type[Any], name: str, *flags: str, text: str | None = None) -> Any:
    """For `Annotated`. `text`: the help, where the field's meaning does not fit a command."""
    bounds: dict[str, Any] = {}
    for one in getattr(get_type_hints(options, include_extras=True)[name], "__metadata__", ()):
        for bound in one if isinstance(one, GroupedMetadata) else (one,):
            match bound:
                case Ge(ge=least):
                    bounds["min"] = least
                case Gt(gt=0):
                    bounds["callback"] = values.above_zero
                case Le(le=largest):
                    bounds["max"] = largest
    if text is None:
        above = ", above 0." if "callback" in bounds else "."
        text = f"{meaning(options, name).removesuffix('.')}{above} Default: {getattr(options, name)}."
    return typer.Option(*(flags or [f"--{name.replace('_', '-')}"]), help=text, **bounds)
