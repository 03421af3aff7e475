"""The ladder itself: its rungs, their values, what is left out and what is refused."""

from __future__ import annotations

import pytest

from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.ladder import check_parts, epochs_of, ladder, left_out, num_looks, smaller_part
from cleanclip.spec.recipe import AutoRecipe, CleanCLIPRecipe, parse, parse_recipe, to_json
from cleanclip.spec.recommended import RecipeSource, recommended, with_recommended

FAMILIES = ("ModifiedResNet", "VisionTransformer")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", ["small", "full", None])
def test_every_rung_has_the_values_that_are_recommended_for_the_model(family, size):
    for rung in ladder(AutoRecipe(), family, size, 100_000):
        source = recommended(rung.recipe.method, family, size)
        values = to_json(rung.recipe)
        kept = {"learning_rate", "batch_size", "threshold"} & set(source.values if source else {})
        assert {name: values[name] for name in kept} == {name: source.values[name] for name in kept if source}
        assert rung.looks[-1] == rung.recipe.epochs
        assert list(rung.looks) == sorted(set(rung.looks))
        assert parse(type(rung.recipe), values) == rung.recipe, "within all bounds"


def test_training_data_decide_which_rungs_there_are():
    def names(trained_on):
        return [one.name for one in ladder(AutoRecipe(trained_on=trained_on), "ModifiedResNet", "small", 500)]

    assert names("pairs") == ["uar", "uar-long", "par"]
    assert names("images_of_pairs") == ["uar", "uar-long"]
    assert names("labelled_images") == ["uar", "uar-long", "supervised"]
    assert left_out(AutoRecipe(trained_on="labelled_images")) == {"par": "needs_captions"}
    assert left_out(AutoRecipe()) == {"supervised": "needs_labels"}


def test_a_rung_trains_on_what_the_order_names():
    ordered = AutoRecipe(trained_on="labelled_images")
    for rung in ladder(ordered, "VisionTransformer", "small", 500):
        assert rung.recipe.training_data == ordered.training_data == "labelled"


def test_batches_are_no_larger_than_the_data():
    assert {one.recipe.batch_size for one in ladder(AutoRecipe(), "ModifiedResNet", "full", 40)} == {40}


def test_the_least_and_the_most_hold_for_every_model():
    for trained_on in ("pairs", "labelled_images"):
        ordered = AutoRecipe(trained_on=trained_on)
        least, most = epochs_of(ordered)
        for family in FAMILIES:
            for size in ("small", "full", None):
                rungs = ladder(ordered, family, size, 1000)
                assert rungs[0].looks[0] >= least
                assert sum(one.recipe.epochs for one in rungs) <= most
                assert sum(len(one.looks) for one in rungs) <= num_looks(ordered)


def test_its_name_alone_is_an_order():
    assert parse_recipe("auto") == parse_recipe({"method": "auto"}) == AutoRecipe()
    assert with_recommended(AutoRecipe(), (), ("ModifiedResNet", "small")) == AutoRecipe()
    assert RecipeSource.of(AutoRecipe(), ["max_device_minutes"], None).given == ("max_device_minutes",)


@pytest.mark.parametrize(
    "wrong", [{"validation_share": 0.95}, {"max_device_minutes": 0}, {"epochs": 3}, {"trained_on": "words"}]
)
def test_other_options_and_values_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match="validation error"):
        parse_recipe({"method": "auto", **wrong})


def test_too_few_labelled_images_are_refused_with_both_numbers():
    check_parts(AutoRecipe(), 200)
    check_parts(CleanCLIPRecipe(), 2)
    with pytest.raises(OptionsRejected) as refused:
        check_parts(AutoRecipe(), 198)
    assert refused.value.code == "too_few_to_validate"
    assert "99 validation images and 99 test images" in refused.value.message
    assert (smaller_part(AutoRecipe(validation_share=0.3)), smaller_part(CleanCLIPRecipe())) == (0.3, 1.0)
