"""The curve's points and the two ways in which a loss is unsound."""

import math
from dataclasses import replace

import pytest

from cleanclip.vocabulary.errors import TrainingDiverged
from sanitizer.training.record import MAX_CURVE_POINTS, Record
from sanitizer.training.state import Position
from sanitizer.training.step import StepResult

PARTS = ("loss_clip", "loss_push")


def result(loss: float, grad_norm: float = 1.0) -> StepResult:
    return StepResult(loss=loss, parts={"loss_clip": loss / 2, "loss_push": loss / 4}, grad_norm=grad_norm)


def feed(record: Record, losses: list[float], start: int = 0) -> None:
    for step, loss in enumerate(losses, start):
        record.add(step, result(loss), learning_rate=1e-5, logit_scale=20.0)


def test_a_point_is_the_mean_of_the_steps_since_the_one_before():
    record = Record(total_steps=1001, steps_per_epoch=100, parts=PARTS, chance_loss=1000.0)
    feed(record, [float(step) for step in range(1001)])
    assert len(record.curve) <= MAX_CURVE_POINTS
    assert [point.step for point in record.curve[:2]] == [3, 6]
    assert record.curve[0].loss == pytest.approx((0 + 1 + 2) / 3)
    assert record.curve[1].loss_clip == pytest.approx((3 + 4 + 5) / 3 / 2)
    assert record.curve[-1].step == 1001
    assert record.curve[-1].epoch == pytest.approx(10.01)


def test_a_short_run_keeps_every_step():
    record = Record(total_steps=7, steps_per_epoch=7, parts=PARTS, chance_loss=100.0)
    feed(record, [1.0] * 7)
    assert [point.step for point in record.curve] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_a_loss_or_gradient_that_is_not_finite_ends_the_run(loss, norm):
    record = Record(total_steps=7, steps_per_epoch=7, parts=PARTS, chance_loss=100.0)
    with pytest.raises(TrainingDiverged) as caught:
        record.add(0, result(loss, norm), learning_rate=1e-5, logit_scale=20.0)
    assert caught.value.code == "loss_not_finite"
    assert "At update 1 of 7, with a learning rate of 1e-05" in caught.value.message


def record_of(chance_loss: float, **changes) -> Record:
    options = {"total_steps": 1000, "steps_per_epoch": 10, "parts": PARTS, "chance_loss": chance_loss}
    return Record(**options | changes)


def test_a_loss_that_runs_away_ends_the_run_but_a_spike_does_not():
    feed(record_of(4.0), [3.0] * 50 + ([40.0] + [3.0] * 49) * 10)
    with pytest.raises(TrainingDiverged) as caught:
        feed(record_of(4.0), [3.0] * 50 + [12.0] * 200)
    assert caught.value.code == "loss_diverged"
    assert "over its bound of 8: " in caught.value.message


@pytest.mark.parametrize("num_sound", [10, 15, 300])
def test_a_model_that_forgets_all_ends_the_run_and_no_state_from_then_is_good(num_sound):
    """All embeddings alike: the loss is that of chance, finite, and stays there."""
    record = record_of(8.32)
    feed(record, [0.4] * (1 + num_sound))
    assert record.saving(1 + num_sound)
    feed(record, [8.3], start=1 + num_sound)
    assert not record.saving(2 + num_sound), "its running mean is still low"
    with pytest.raises(TrainingDiverged) as caught:
        feed(record, [8.28, 8.42] * 50, start=2 + num_sound)
    assert caught.value.code == "loss_diverged"
    good = 1 + num_sound
    assert caught.value.message.startswith(f"At update {good + 30} of 1000 the loss is 8.28, ")
    assert all(one in caught.value.message for one in ("0.4,", "8.32,", "30 updates", f"step {good}."))


def test_a_model_that_forgets_all_before_the_watch_has_begun_ends_the_run_all_the_same():
    with pytest.raises(TrainingDiverged) as caught:
        feed(record_of(8.32, total_steps=40), [3.24] * 4 + [8.3] * 36)
    assert all(one in caught.value.message for one in ("update 34 of 40", "8.3,", "6.28"))


@pytest.mark.parametrize(
    ("chance", "losses"),
    [
        (8.32, [8.0] * 12 + [8.3] * 900),
        (0.69, [0.3] + [0.4, 1.4] * 400),
        (2.08, [1.5] + [2.0, 2.4] * 400),
        (4.0, [3.0] * 20 + [4.0] * 29 + [3.0] * 20),
        (0.0, [0.0] * 100),
    ],
    ids=["knew nothing", "wrong as often as right", "a lucky first batch", "it came back", "one class"],
)
def test_a_loss_near_chance_is_not_a_collapse(chance: float, losses: list[float]):
    feed(record_of(chance), losses)


def test_a_method_may_have_a_part_watched():
    """PAR's push is subtracted, and is greatest where all are alike: the whole is under chance then."""
    record = record_of(8.32, watched_part="loss_clip")
    feed(record, [1.0] * 20)
    assert record.saving(20)
    feed(record, [16.6], start=20)
    assert not record.saving(21)
    with pytest.raises(TrainingDiverged, match="the model has forgotten all"):
        feed(record, [16.6] * 40, start=21)


def test_a_state_is_good_before_the_first_update_and_while_the_loss_is_at_its_level():
    record = record_of(2.0)
    assert record.saving(0)
    feed(record, [3.0] * 10)
    assert not record.saving(10), "there is no running mean yet to compare"
    assert record.good_step == 0
    feed(record, [2.9], start=10)
    assert record.saving(11)
    feed(record, [4.0], start=11)
    assert not record.saving(12)
    assert record.good_step == 11
    feed(record, [1.0] * 5, start=12)
    assert record.saving(17), "it came down again"
    with pytest.raises(TrainingDiverged) as caught:
        feed(record, [12.0] * 200, start=17)
    assert caught.value.message.endswith("step 17.")


def test_a_loss_that_is_not_finite_names_the_good_state_if_one_was_saved():
    for saved, end in (
        (False, "is nan and the norm of its gradient 1. The last good state is not known."),
        (True, "that of step 0, the input weights."),
    ):
        record = Record(total_steps=7, steps_per_epoch=7, parts=PARTS, chance_loss=100.0)
        if saved:
            record.saving(0)
        with pytest.raises(TrainingDiverged) as caught:
            record.add(0, result(math.nan), learning_rate=1e-5, logit_scale=20.0)
        assert caught.value.message.endswith(end)


def test_a_loss_that_starts_high_and_stays_is_not_called_diverged():
    record = Record(total_steps=1000, steps_per_epoch=10, parts=PARTS, chance_loss=4.0)
    feed(record, [30.0] * 400)


def test_a_restored_record_goes_on_as_if_never_cut():
    losses = [2.0 + math.sin(step) for step in range(1300)]
    whole = Record(total_steps=1300, steps_per_epoch=100, parts=PARTS, chance_loss=4.0)
    whole.saving(0)
    feed(whole, losses)
    for cut in (1, 40, 73, 901):
        first = Record(total_steps=1300, steps_per_epoch=100, parts=PARTS, chance_loss=4.0)
        first.saving(0)
        feed(first, losses[:cut])
        position = replace(
            Position(run_sha256="", step=cut, epoch=0, step_in_epoch=cut),
            curve=tuple(first.curve),
            interval_steps=first.interval_steps,
            interval_sums=first.interval_sums,
            watch=first.watch,
            good_step=first.good_step,
        )
        second = Record(total_steps=1300, steps_per_epoch=100, parts=PARTS, chance_loss=4.0)
        second.restore(position)
        feed(second, losses[cut:], start=cut)
        assert second.curve == whole.curve
        assert second.watch == whole.watch
        assert second.good_step == 0
