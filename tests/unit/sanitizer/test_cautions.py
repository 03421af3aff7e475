"""Recommended values with their sources, and the sentences on recipes, each at its threshold."""

from typing import Any

import pytest

from cleanclip.kinds.facts import Facts
from cleanclip.kinds.kind import SUSPECT
from cleanclip.kinds.sanitize import SANITIZE
from cleanclip.vocabulary import cautions
from cleanclip.vocabulary.anchors import Model as Suspect
from cleanclip.vocabulary.attack_options import BadNetOptions, SIGOptions
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import (
    AuditOptions,
    CleanCLIPRecipe,
    PARRecipe,
    Recipe,
    SupervisedRecipe,
    parse_recipe,
)
from cleanclip.vocabulary.recommended import (
    FULL_AT_LEAST,
    RECOMMENDATIONS,
    SMALL_AT_MOST,
    Model,
    RecipeSource,
    recommended,
    size_of,
    with_recommended,
)
from cleanclip.vocabulary.uar_recipe import UARRecipe

LEFT_OUT = "Options that you left out have the method's defaults"


def classes(number: int) -> list[str]:
    return [f"class {one}" for one in range(number)]


trained = cautions.TrainedClasses.of


def reported(recipe: Recipe, **changes: Any) -> list[str]:
    """Of a recipe on plenty of data and a model that its defaults are for."""
    values: dict[str, Any] = {
        "num_samples": 100_000,
        "num_classes": 100,
        "family": "ModifiedResNet",
        "size": "full",
        "given": (),
    }
    return cautions.before_training(recipe, **values | changes)


@pytest.mark.parametrize(
    ("num_pairs", "message", "remedy"),
    [
        (0, "0 pairs do not fill one batch of 64.", "Give more pairs."),
        (1, "1 pair does not fill one batch of 64.", "Give more pairs."),
        (2, "2 pairs do not fill one batch of 64.", "Set batch_size to at most 2, or give more pairs."),
        (63, "63 pairs do not fill one batch of 64.", "Set batch_size to at most 63, or give more pairs."),
    ],
)
def test_too_few_pairs_are_refused_with_a_batch_size_that_may_be_ordered(
    num_pairs: int, message: str, remedy: str
) -> None:
    with pytest.raises(OptionsRejected) as caught:
        cautions.check_batch(UARRecipe(batch_size=64), num_pairs)
    assert (caught.value.code, caught.value.message, caught.value.remedy) == (
        "batch_larger_than_data",
        message,
        remedy,
    )
    cautions.check_batch(UARRecipe(batch_size=64), 64)


@pytest.mark.parametrize(
    "recipe", [CleanCLIPRecipe(), PARRecipe(), SupervisedRecipe()], ids=lambda r: r.method
)
def test_defaults_on_the_data_and_the_model_that_they_were_published_for_are_not_warned_of(
    recipe: Recipe,
) -> None:
    assert reported(recipe) == []


@pytest.mark.parametrize("one", RECOMMENDATIONS, ids=lambda one: f"{one.method}-{one.families[0]}-{one.size}")
def test_every_recommendation_is_a_recipe_within_its_bounds_and_names_its_source(one: Any) -> None:
    parse_recipe({"method": one.method, **one.values})
    assert one.num_samples > 0
    assert ("arXiv" in one.source) == (one.kind == "published")
    assert ("docs/" in one.source) == (one.kind == "measured")
    assert (one.kind == "measured") == (one.size == "small")
    assert recommended(one.method, one.families[0], one.size) is one


@pytest.mark.parametrize("kind", [CleanCLIPRecipe, PARRecipe, SupervisedRecipe])
def test_a_methods_defaults_are_those_published_for_a_full_size_resnet(kind: type[Recipe]) -> None:
    recipe = kind()  # type: ignore[operator]
    source = RecipeSource.of(recipe, ("method", "epochs"), None)
    published = recommended(recipe.method, "ModifiedResNet", "full")
    assert published is not None
    assert {name: getattr(recipe, name) for name in published.values} == published.values
    assert source.given == ("epochs",)
    assert set(source.named_there) == set(published.values) - {"epochs"}


def test_defaults_of_a_method_that_nobody_ran_at_full_size_are_not_called_published() -> None:
    source = RecipeSource.of(UARRecipe(), ("epochs",), None)
    assert (source.given, source.named_there) == (("epochs",), ())
    assert "nobody has run the method on a full-size model" in source.defaults_from
    [found] = reported(UARRecipe())
    assert "nobody has run the method on a full-size model" in found
    assert "There are for cleanclip and par and supervised: take one of them." in found


OF_OPTIONS = ("The warm-up of", "There is no", "No pattern", "The text tower", "Captions")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            UARRecipe(epochs=1, strong_epochs=0, warmup_steps=10, batch_size=100),
            "does not end within a stage",
        ),
        (UARRecipe(strong_epochs=5), "no weak stage"),
        (UARRecipe(inversion_steps=0), "No pattern is inverted"),
        (UARRecipe(inverted_patches=0, inverted_blends=0), "No pattern is inverted"),
        (UARRecipe(trained_on="images_of_pairs"), "Captions are not used"),
        (UARRecipe(trigger_words=("a b",)), "with inserted triggers: 'a b'. A word of them that is not"),
        (UARRecipe(), None),
    ],
)
def test_uar_says_what_its_options_leave_out(recipe: Recipe, said: str | None) -> None:
    values: dict[str, Any] = {
        "family": "VisionTransformer",
        "size": "small",
        "given": None,
        "num_classes": 2,
    }
    found = reported(recipe, num_samples=1_000 if said and "within" in said else 9_000, **values)
    about = [one for one in found if one.startswith(OF_OPTIONS)]
    assert [said in one for one in about if said] == [True] * (said is not None)
    assert len(about) == (said is not None)


def test_recommended_values_are_taken_beside_what_was_given_and_their_source_is_said() -> None:
    model: Model = ("ModifiedResNet", "small")
    filled = with_recommended(CleanCLIPRecipe(epochs=2), ("epochs",), model)
    assert filled == CleanCLIPRecipe(learning_rate=1e-4, epochs=2, batch_size=64, warmup_steps=50)
    source = RecipeSource.of(filled, ("epochs",), model)
    assert (source.given, source.recommended) == (
        ("epochs",),
        ("learning_rate", "batch_size", "warmup_steps"),
    )
    assert "learning_rate 0.0001, batch_size 64, warmup_steps 50 (measured; docs/" in source.sentences(filled)
    others: tuple[Model | None, ...] = (None, ("VisionTransformer", "small"), ("ModifiedResNet", None))
    for other in others:
        assert with_recommended(CleanCLIPRecipe(epochs=2), ("epochs",), other) == CleanCLIPRecipe(epochs=2)
        assert RecipeSource.of(CleanCLIPRecipe(), (), other).recommended == ()


@pytest.mark.parametrize("one", RECOMMENDATIONS, ids=lambda one: f"{one.method}-{one.families[0]}-{one.size}")
def test_a_recommended_value_clashes_with_nothing_that_may_be_given(one: Any) -> None:
    """Options that a recipe's own check compares with others are recommended as they are by default."""
    defaults = parse_recipe({"method": one.method})
    compared = {"strong_epochs", "min_patch_size", "max_patch_size", "lambda1", "lambda2"}
    compared |= {"epochs"} if one.method == "uar" else set()
    compared |= {name for name in vars(defaults) if name.endswith("_share") and one.method == "uar"}
    for name in compared & {*one.values}:
        assert getattr(defaults, name) == one.values[name]


def test_sizes_end_where_sources_do() -> None:
    sizes = [size_of(n) for n in (1, SMALL_AT_MOST, SMALL_AT_MOST + 1, FULL_AT_LEAST - 1, FULL_AT_LEAST)]
    assert sizes == ["small", "small", None, None, "full"]
    assert size_of(102_007_137) == size_of(151_277_313) == "full", "RN50 and ViT-B/32"


def test_a_model_of_another_family_is_told_what_was_published_for_it() -> None:
    [found] = reported(CleanCLIPRecipe(), family="VisionTransformer")
    assert found.startswith(LEFT_OUT)
    assert "learning_rate 5e-06 instead of 1e-05" in found
    assert "arXiv 2412.20392" in found
    chosen = CleanCLIPRecipe(learning_rate=2e-5)
    assert reported(chosen, family="VisionTransformer", given=("learning_rate",)) == []
    assert reported(chosen, family="VisionTransformer", given=None) == [], "no default, so somebody gave it"
    by_hand = reported(CleanCLIPRecipe(), family="VisionTransformer", given=("learning_rate",))
    assert by_hand == [], "the default, on purpose"


def test_a_small_model_is_told_what_was_measured_on_small_models() -> None:
    found = reported(CleanCLIPRecipe(), size="small", num_classes=80, num_samples=8000)
    assert [one for one in found if one.startswith(LEFT_OUT)]
    assert "learning_rate 0.0001 instead of 1e-05, epochs 4 instead of 10" in found[-1]
    assert "docs/start/demo.md" in found[-1]


@pytest.mark.parametrize(
    ("family", "size", "recipe"),
    [
        ("ModifiedResNet", None, CleanCLIPRecipe()),
        ("VisionTransformer", "small", CleanCLIPRecipe()),
        ("VisionTransformer", "full", SupervisedRecipe()),
        ("ModifiedResNet", "full", UARRecipe()),
    ],
)
def test_where_no_source_speaks_the_sentence_says_so(family: str, size: str | None, recipe: Recipe) -> None:
    [found] = reported(recipe, family=family, size=size)
    assert "There are no published or measured values" in found
    assert reported(recipe, family=family, size=size, given=("learning_rate",)) == []


@pytest.mark.parametrize(
    ("num_samples", "num_classes", "said"),
    [
        (20_000, 20_001, "some classes have no sample"),
        (20_000, 20_000, "fewer than 75 a class"),
        (20_000, 267, "fewer than 75 a class"),
        (20_000, 266, None),
    ],
)
def test_samples_are_held_against_the_classes(num_samples: int, num_classes: int, said: str | None) -> None:
    found = reported(CleanCLIPRecipe(), num_samples=num_samples, num_classes=num_classes)
    assert [said in one for one in found if said] == [True] * (said is not None)
    assert len(found) == (said is not None)


def test_labelled_images_to_train_on_are_held_against_their_own_classes() -> None:
    few = reported(SupervisedRecipe(), trained=trained(classes(2_000), classes(10)), num_samples=100_000)
    assert [one for one in few if "100000 clean labelled images for 2000 classes are fewer than 75" in one]


def test_classes_of_the_audit_that_are_not_trained_on_are_told() -> None:
    recipe = SupervisedRecipe()
    assert reported(recipe, trained=trained(classes(100)[::-1], classes(100))) == reported(recipe)
    spelled = [f" Class  {one}" for one in range(100)]
    assert reported(recipe, trained=trained(spelled, classes(100))) == reported(recipe)
    some = reported(recipe, num_classes=4, trained=trained(classes(100), ["tench", *classes(3)]))
    assert some[0].startswith("1 of the 4 classes of the audit are not among the labelled images to train on")
    none = reported(recipe, num_classes=2, trained=trained(["n01440764", "n01484850"], ["tench", "shark"]))
    assert none[0].startswith("No class of the audit is one of the labelled images to train on")


@pytest.mark.parametrize(
    ("warmup_steps", "said"),
    [
        (2000, None),
        (2001, "takes 2001 of the 10000 updates, 20 % of the run"),
        (10_000, "does not end within"),
    ],
)
def test_a_warm_up_that_takes_much_of_the_run_is_told(warmup_steps: int, said: str | None) -> None:
    recipe = CleanCLIPRecipe(warmup_steps=warmup_steps)
    found = reported(recipe, num_samples=64_000, given=("warmup_steps",))
    assert [said in one for one in found if said] == [True] * (said is not None)
    assert len(found) == (said is not None)


@pytest.mark.parametrize(
    ("num_samples", "epochs", "said"),
    [
        (10_001, 10, None),
        (10_000, 10, "10,000 clean pairs are 10 times fewer than the 100,000 of the source of this recipe"),
        (50_000, 3, None),
        (50_000, 2, "2 epochs show the model 100,000 pairs, 10 times fewer than the 1,000,000 of the source"),
    ],
)
def test_far_fewer_pairs_than_the_source_had_are_told_in_numbers(
    num_samples: int, epochs: int, said: str | None
) -> None:
    recipe = CleanCLIPRecipe(epochs=epochs)
    found = reported(recipe, num_samples=num_samples, given=("epochs",))
    assert [said in one for one in found if said] == [True] * (said is not None)
    assert len(found) == (said is not None)


def test_few_updates_are_told() -> None:
    recipe = SupervisedRecipe(epochs=1, warmup_steps=10, batch_size=200)
    few, many = (
        reported(recipe, num_samples=num, given=("epochs", "batch_size", "warmup_steps"))
        for num in (99_999, 100_000)
    )
    assert [one for one in few if "makes 499 updates, fewer than 500" in one]
    assert many == []


def audit_told(policy: Policy, *, is_cleaned: bool = False, **changes: Any) -> list[str]:
    attacks = (BadNetOptions(), BadNetOptions(size=0.2), SIGOptions())
    return cautions.before_audit(
        AuditOptions(target="dog", attacks=attacks, **changes), policy, is_cleaned=is_cleaned
    )


def test_an_audits_defaults_are_not_warned_of() -> None:
    assert audit_told(Policy()) == []


def test_attacks_that_are_one_measurement_are_told() -> None:
    (reported,) = cautions.before_audit(AuditOptions(target="dog", suite="paper"), Policy(), is_cleaned=True)
    assert reported.startswith("badnet and label_consistent put the same")
    attacks = (BadNetOptions(), BadNetOptions(target="cat"), SIGOptions(), BadNetOptions(target="dog"))
    options = AuditOptions(target="dog", attacks=attacks)
    (reported,) = cautions.before_audit(options, Policy(), is_cleaned=True)
    assert reported.startswith("badnet and badnet:target=dog put the same")


def test_an_audit_in_bf16_is_told_so() -> None:
    (reported,) = audit_told(Policy(), precision="bf16")
    assert "in fp32" in reported


def test_a_limit_that_the_gate_overtakes_is_told_where_nothing_is_cleaned() -> None:
    policy = Policy(asr_at_most=0.2, asr_at_most_for={"badnet": 0.4})
    (reported,) = audit_told(policy, gate=0.4)
    assert reported.startswith("The limit of 40 % on badnet has no effect: ")
    assert len(audit_told(policy, gate=0.2)) == 2
    assert audit_told(policy, gate=0.41) == []
    assert audit_told(policy, gate=0.2, is_cleaned=True) == []


def test_words_are_refused_where_the_tokenizer_is_not_clips() -> None:
    def codes(text_cfg: dict[str, Any], recipe: Recipe) -> list[str]:
        model = Suspect(weights_sha256=None, config={"model_cfg": {"text_cfg": text_cfg}})
        return [
            refusal.code for refusal in SANITIZE.check(Facts(options=recipe, models={SUSPECT.column: model}))
        ]

    words = UARRecipe(trigger_words=("maestro",))
    assert codes({"hf_tokenizer_name": "0" * 64}, words) == ["trigger_words_tokenizer"]
    assert codes({}, words) == codes({"hf_tokenizer_name": "0" * 64}, UARRecipe()) == []
