"""What an order's options become in the body of a job. Asks no service."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import typer

from cleanclip.command import values
from cleanclip.vocabulary.recipe import parse_recipe, to_json
from cleanclip.vocabulary.uar_recipe import UARRecipe

RECOMMENDED, DEFAULTS = "recommended", "defaults"


def training_kind_of(options: Mapping[str, Any] | None) -> Literal["pairs", "labelled"]:
    """The kind of dataset that a recipe is trained on, by the options that were given."""
    given = options or {}
    reads_images = given.get("method") == "uar" and given.get("trained_on") == "labelled_images"
    return "labelled" if reads_images or given.get("method") == "supervised" else "pairs"


def recipe_of(
    recipe: str, named: Mapping[str, Any], others: list[str] | None
) -> tuple[dict[str, Any] | None, bool]:
    """The field `recipe` of a job, and whether it takes the method's defaults for what it leaves out.

    `named` are the values of options of their own, None where one was not given; `others` those of --set.
    Raises typer.BadParameter (also for two different methods), Unreadable.
    """
    options: dict[str, Any] = {}
    if recipe not in (RECOMMENDED, DEFAULTS):
        options = values.json_object(Path(recipe), "--recipe")
    typed = {name: value for name, value in named.items() if value is not None}
    assigned = values.pairs(others or [], "--set")
    _check_one_method({f"--recipe {recipe}": options, "--method": typed, "--set": assigned})
    return (options | typed | assigned) or None, recipe == DEFAULTS


def _check_one_method(parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises typer.BadParameter where two parts of a recipe name different methods."""
    methods = {where: str(part["method"]) for where, part in parts.items() if "method" in part}
    if len(set(methods.values())) > 1:
        named = " and ".join(f"{where} names {method}" for where, method in methods.items())
        raise typer.BadParameter(f"A recipe has one method, but {named}. Remove one of them.")


def leaves_method(recipe: str, options: Mapping[str, Any] | None) -> bool:
    """Whether `uar` may be taken: no method is named, and no option that it has not."""
    given = options or {}
    known = {field.name for field in fields(UARRecipe)} - {"method", "trained_on"}
    return recipe in (RECOMMENDED, DEFAULTS) and given.keys() <= known


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a recipe, those that are not given as the method has them."""
    return to_json(parse_recipe(options))


def policy_of(named: str | None, **limits: float | None) -> dict[str, Any]:
    """The fields `policy` and `policy_name` of a job: one of them, or neither. `limits`: those with an option
    of their own. Raises also Unreadable."""
    given = {name: value for name, value in limits.items() if value is not None}
    if named is not None and not _is_file(named):
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in limits)
            raise typer.BadParameter(f"Give --policy, or limits ({options}), not both.")
        return {"policy_name": named}
    if named is not None:
        given = values.json_object(Path(named), "--policy") | given
    return {"policy": given or None}


def _is_file(named: str) -> bool:
    """Whatever lies in the folder: no policy's name has a dot or a slash."""
    return "." in named or "/" in named
