"""Heads and activation that a report claims: plausible, and settled only by figures that settle them."""

from dataclasses import replace
from typing import Any

import pytest

from cleanclip.vocabulary.settled import COMPARED, Margin, SettingFigures, SettledArchitecture
from sanitizer.audits.statistics import wilson
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.settings import Settings, compared, known_by, not_compared, published_of
from sanitizer.checkpoints.tower_configs import Blocks, TextTransformer, VisionTransformer
from worker.failures import AttemptFailed
from worker.publishing.settings_claimed import check_settings

BLOCKS = Blocks(width=64, layers=1, heads=1, mlp_width=128)
CAME_IN = Architecture(
    embed_dim=8,
    vision=VisionTransformer(blocks=BLOCKS, patch_size=8, image_size=16),
    text=TextTransformer(blocks=BLOCKS, context_length=8, vocab_size=10),
    quick_gelu=False,
)
"""Of a width for which 1, 2 and 4 heads are plausible."""
N = 128


def measured(
    origin: dict[str, Any], margin: float = 0.5, came_in: Architecture = CAME_IN, **chosen: str
) -> SettledArchitecture:
    """As the library words it where the images tell `chosen` from the rest, each by `margin` nats."""
    known = known_by(came_in, origin)
    settings = []
    for option, values in plausible_values(came_in, known).items():
        value = chosen.get(option, shown(values[0]))
        other = next(shown(one) for one in values if shown(one) != value)
        settings.append(
            compared(
                not_compared(option, shown(values[0]), known[option], origin),
                values,
                published_of(came_in),
                chosen=SettingFigures(value=value, log_likelihood=-1.0, ca=wilson(90, N)),
                runner_up=SettingFigures(value=other, log_likelihood=-1.0 - margin, ca=wilson(60, N)),
                margin=Margin(n=N, low=margin - 0.1, high=margin + 0.1),
            )
        )
    counts = ("num_classes", "num_templates", "num_compared", "num_image_passes", "num_text_passes")
    return SettledArchitecture(
        n=N, seed=3, **dict.fromkeys(counts, 2), ca=wilson(90, N), chance=0.5, settings=tuple(settings)
    )


def believed(
    reported: SettledArchitecture, origin: dict[str, Any], came_in: Architecture = CAME_IN
) -> Settings:
    return Settings.of(check_settings(reported, came_in, origin, seed=3, can_measure=True))


def test_an_assumed_value_gives_way_to_a_plausible_one_that_was_measured() -> None:
    reported = measured({}, num_heads_vision="4", quick_gelu="true")
    assert [one.settled for one in reported.settings] == ["measured"] * len(COMPARED)
    assert reported.settings[0].why == "the best of 1, 4, 2"
    assert believed(reported, {}) == Settings(num_heads_vision=4, num_heads_text=1, quick_gelu=True)


@pytest.mark.parametrize("heads", ["8", "64", "-1", "3"])
def test_heads_that_no_published_model_has_are_not_believed_however_they_were_measured(heads: str) -> None:
    with pytest.raises(AttemptFailed, match="num_heads_vision a value that is known otherwise"):
        believed(measured({}, num_heads_vision=heads), {})


def test_no_measurement_changes_what_the_owner_declared() -> None:
    origin = {"declared": {"num_heads_vision": 1}}
    with pytest.raises(AttemptFailed, match="num_heads_vision a value that is known otherwise"):
        believed(measured(origin, num_heads_vision="4"), origin)


@pytest.mark.parametrize("settled", ["tensors", "declared", "configuration", "assumed"])
def test_what_was_measured_is_not_known_by_anything_else(settled: Any) -> None:
    reported = measured({}, num_heads_vision="4")
    first = replace(reported.settings[0], settled=settled)
    with pytest.raises(AttemptFailed, match="says of num_heads_vision what cannot follow"):
        believed(replace(reported, settings=(first, *reported.settings[1:])), {})


@pytest.mark.parametrize("settled", ["assumed", "measured", "published"])
def test_a_value_that_the_images_do_not_tell_is_not_believed_by_any_name(settled: Any) -> None:
    """Its audit should have been refused."""
    reported = measured({}, margin=0.05)
    first = replace(reported.settings[0], settled=settled, why="the best of 1, 4, 2")
    with pytest.raises(AttemptFailed, match="settles num_heads_vision though the images do not"):
        believed(replace(reported, settings=(first, *reported.settings[1:])), {})


def test_heads_of_a_published_model_of_this_shape_are_believed_where_images_leave_several() -> None:
    """Not those of the usual width that no model of the shape has, and no activation."""
    tower = Blocks(width=768, layers=12, heads=12, mlp_width=3072)
    text = Blocks(width=512, layers=12, heads=8, mlp_width=2048)
    clip = Architecture(
        embed_dim=512,
        vision=VisionTransformer(blocks=tower, patch_size=32, image_size=224),
        text=TextTransformer(blocks=text, context_length=77, vocab_size=49408),
        quick_gelu=False,
    )
    reported = measured({}, came_in=clip, margin=0.05)
    assert [one.settled for one in reported.settings] == ["published", "published", "assumed"]
    assert reported.settings[0].why == "as in ViT-B-32, which has this shape; the images do not rule out 48"
    declared = {"declared": {"quick_gelu": False}}
    reported = measured(declared, came_in=clip, margin=0.05)
    assert believed(reported, declared, clip) == Settings(
        num_heads_vision=12, num_heads_text=8, quick_gelu=False
    )
    other = measured(declared, came_in=clip, margin=0.05, num_heads_vision="16")
    with pytest.raises(AttemptFailed, match="settles num_heads_vision though the images do not"):
        believed(other, declared, clip)
