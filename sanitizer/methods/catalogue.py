"""From a recipe to its method."""

from typing import assert_never

from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.methods import cleanclip, par, supervised, uar
from sanitizer.methods.method import Method


def build_method(recipe: Recipe) -> Method:
    """The method that a recipe describes."""
    match recipe:
        case CleanCLIPRecipe():
            return cleanclip.method(recipe)
        case PARRecipe():
            return par.method(recipe)
        case SupervisedRecipe():
            return supervised.method(recipe)
        case UARRecipe():
            return uar.method(recipe)
    assert_never(recipe)
