"""What is said where the data to train on are not of the kind that the recipe reads."""

from pathlib import Path

import pytest

from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, Recipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.pipeline.opening import ToExclude, open_training_data
from tests.fixtures.shards import make_labelled


@pytest.mark.parametrize("recipe", [UARRecipe(), CleanCLIPRecipe()], ids=lambda one: one.method)
def test_labelled_images_given_as_pairs_are_refused_with_the_option_that_reads_them(
    tmp_path: Path, recipe: Recipe
) -> None:
    with pytest.raises(DatasetRejected) as refused:
        open_training_data(make_labelled(tmp_path, 5), recipe, ToExclude(()))
    assert refused.value.code == "no_captions"
    assert "Give image-caption pairs" in refused.value.remedy
    assert refused.value.remedy.endswith("use uar with trained_on: labelled_images.")


def test_with_that_option_they_are_read(tmp_path: Path) -> None:
    recipe = UARRecipe(trained_on="labelled_images")
    assert len(open_training_data(make_labelled(tmp_path, 5), recipe, ToExclude(()))) == 5
