"""What is left of a race, by figures that are made up."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest
import torch
from open_clip.factory import get_model_config

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.settled import MIN_MARGIN
from sanitizer.audits.settings_fit import Fit
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.settings import Settings
from sanitizer.pipeline.settling import Race
from tests.fixtures import learned

N = 400
VALUES = {"num_heads_vision": [12, 16, 24], "num_heads_text": [8, 16], "quick_gelu": [True]}
ASSUMED = dict.fromkeys(VALUES, "assumed")
PUBLISHED = Architecture.from_config(get_model_config("ViT-B-32"))


def fit_of(mean: Callable[[Settings], float], values: Mapping[str, list[Any]] = VALUES) -> Fit:
    """Every image is named rightly; log-likelihoods are `mean` and noise that settings do not share."""
    combinations = tuple(Settings(**dict(zip(values, one, strict=True))) for one in product(*values.values()))
    noise = torch.Generator().manual_seed(1)
    drawn = {one: 0.1 * torch.randn(1, N, generator=noise, dtype=torch.float64) for one in combinations}
    label_N = torch.arange(N) % 4
    return Fit(
        combinations=combinations,
        num_classes=4,
        num_looks=2,
        label_N=label_N,
        log_likelihood_SN={one: mean(one) + part - part.mean() for one, part in drawn.items()},
        predicted_N=dict.fromkeys(combinations, label_N),
    )


def race_of(architecture: Architecture, known: Mapping[str, str] = ASSUMED) -> Race:
    return Race(architecture, known, VALUES)


def text_tells_more_than_vision(one: Settings) -> float:
    """8 text heads are right; of the vision heads 24 are out, and 16 seem a little better than 12."""
    return (
        -1.0 - (one.num_heads_text != 8) - (one.num_heads_vision == 24) + 0.01 * (one.num_heads_vision == 16)
    )


def test_where_images_leave_several_heads_those_of_the_published_model_of_the_shape_are_taken() -> None:
    fit, race = fit_of(text_tells_more_than_vision), race_of(PUBLISHED)
    left = race.undecided(fit)
    assert {one.num_heads_vision for one in left} == {12, 16}, "more images first"
    assert race.decided(fit) == Settings(num_heads_vision=12, num_heads_text=8, quick_gelu=True)


@pytest.mark.parametrize(
    ("name", "taken"),
    [("ViT-L-14-336", True), ("ViT-g-14", False), ("EVA02-B-16", False), ("convnext_base_w_320", False)],
)
def test_an_activation_that_images_leave_is_that_of_all_published_weights(name: str, taken: bool) -> None:
    architecture = Architecture.from_config(get_model_config(name))
    heads = {option: [getattr(Settings.of(architecture), option)] for option in list(VALUES)[:2]}
    values = {**heads, "quick_gelu": [not taken, taken]}
    fit, race = fit_of(lambda one: -1.0, values), Race(architecture, ASSUMED, values)
    assert len(race.undecided(fit)) == 2
    assert race.decided(fit).quick_gelu is taken
    mixed = Race(PUBLISHED, ASSUMED, values)
    mixed.undecided(fit)
    with pytest.raises(CheckpointRejected, match="several values of quick_gelu"):
        mixed.decided(fit)


def test_without_a_published_model_of_the_shape_they_are_refused() -> None:
    fit, race = fit_of(text_tells_more_than_vision), race_of(learned.true_architecture())
    race.undecided(fit)
    with pytest.raises(CheckpointRejected, match="several values of num_heads_vision"):
        race.decided(fit)
    assert race.open == {"num_heads_vision": [12, 16]}


def test_what_images_rule_out_is_not_taken_because_it_is_published() -> None:
    fit, race = fit_of(lambda one: -float(one.num_heads_vision == 12)), race_of(PUBLISHED)
    race.undecided(fit)
    with pytest.raises(CheckpointRejected):
        race.decided(fit)
    assert race.open["num_heads_vision"] == [16, 24]


def test_a_winner_is_settled_only_by_more_than_the_least_margin_over_each_other() -> None:
    true = Settings(num_heads_vision=16, num_heads_text=8, quick_gelu=True)

    for margin, is_settled in ((2 * MIN_MARGIN, True), (MIN_MARGIN, False)):

        def mean(one: Settings, margin: float = margin) -> float:
            return 0.0 if one == true else -margin

        fit, race = fit_of(mean), race_of(learned.true_architecture())
        assert (race.undecided(fit) == ()) is is_settled
        assert race.chosen == true


def test_a_declared_value_blames_itself_and_not_one_that_was_declared_rightly() -> None:
    given = Settings(num_heads_vision=24, num_heads_text=8, quick_gelu=True)
    known = {**ASSUMED, "num_heads_vision": "declared", "num_heads_text": "declared"}
    fit, race = fit_of(text_tells_more_than_vision), race_of(given.applied(PUBLISHED), known)
    with pytest.raises(CheckpointRejected) as caught:
        race.undecided(fit)
    assert (caught.value.code, caught.value.where) == ("declared_setting_does_not_fit", "num_heads_vision")
