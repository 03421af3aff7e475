"""The loop: learns, resumes bit for bit, stops, refuses, keeps what it must not touch."""

import math
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from cleanclip.vocabulary.errors import Interrupted, OptionsRejected, TrainingDiverged
from cleanclip.vocabulary.progress import (
    Advanced,
    Noted,
    PhaseFinished,
    PhaseStarted,
    ProgressEvent,
    StateSaved,
)
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.pixels import normalise, to_model_pixels
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.training import loop, state
from sanitizer.training.abandoning import StepAbandoned, abandoning
from sanitizer.training.fits import check_fits
from sanitizer.training.step import take_step
from tests.fixtures.shards import make_labelled, make_pairs, write_tar
from tests.fixtures.tiny_clips import tiny_checkpoint
from tests.suites import mostly_full

CPU = torch.device("cpu")
NUM_PAIRS = 22
RECIPE = CleanCLIPRecipe(epochs=3, batch_size=4, learning_rate=1e-3, warmup_steps=2)
NUM_STEPS = 3 * (NUM_PAIRS // 4)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return open_pairs(make_pairs(tmp_path_factory.mktemp("pairs"), NUM_PAIRS))


def run(pairs, *, recipe=RECIPE, tower="resnet", folder=None, **options):
    """A fresh checkpoint through `finetune`; returns it and what came out."""
    checkpoint = tiny_checkpoint(tower)
    options = {"seed": 5, "device": CPU, "state_folder": folder, **options}
    return checkpoint, loop.finetune(checkpoint, pairs, recipe, **options)


def stop_at(step: int):
    """A `stop` and a `progress` that together ask for a stop once `step` updates are done."""
    done = [0]

    def progress(event: ProgressEvent) -> None:
        if isinstance(event, Advanced):
            done[0] = event.done

    return {"stop": lambda: done[0] >= step, "progress": progress}


@pytest.fixture(scope="module")
def uncut(pairs):
    return run(pairs)


def assert_same_run(one, other):
    (checkpoint, result), (expected_checkpoint, expected) = one, other
    weights = checkpoint.model.state_dict()
    for name, tensor in expected_checkpoint.model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    assert result.training.curve == expected.training.curve
    assert result.training.num_steps == expected.training.num_steps


def test_a_run_that_is_not_cut_is_the_same_each_time(pairs, uncut):
    assert_same_run(run(pairs), uncut)
    assert uncut[1].training.num_steps == NUM_STEPS
    assert uncut[1].training.num_pairs_seen == NUM_STEPS * 4


@pytest.mark.parametrize("step", mostly_full([0, 1, 4, 5, 6, 11, 14], daily=[0, 5, 11]))
def test_a_run_cut_by_a_stop_and_resumed_ends_with_the_same_weights(pairs, uncut, tmp_path, step):
    with pytest.raises(Interrupted):
        run(pairs, folder=tmp_path, **stop_at(step))
    assert state.read_position(state.find_newest(tmp_path)).step == step
    resumed = run(pairs, folder=tmp_path)
    assert_same_run(resumed, uncut)
    assert resumed[1].training.resumed_from_steps == (step,)


def test_a_run_of_par_that_is_cut_still_knows_the_model_that_came_in(pairs, tmp_path):
    """The distance is to the input model, and not to what a state had made of it when the run was resumed."""
    recipe = PARRecipe(epochs=3, batch_size=4, learning_rate=1e-3, initial_learning_rate=3e-3, push_share=0.2)
    uncut = run(pairs, recipe=recipe)
    with pytest.raises(Interrupted):
        run(pairs, recipe=recipe, folder=tmp_path, **stop_at(7))
    resumed = run(pairs, recipe=recipe, folder=tmp_path)
    assert_same_run(resumed, uncut)
    assert resumed[1].training.resumed_from_steps == (7,)
    first, *_, last = uncut[1].training.curve
    assert first.distance_image == first.distance_text == 0
    assert last.distance_image > 0.1
    assert last.loss == pytest.approx(last.loss_clip - last.loss_push, abs=1e-6)
    assert last.loss_self_supervised is None
    assert uncut[0].model.logit_scale.item() == tiny_checkpoint().model.logit_scale.item()


def test_a_supervised_run_resumes_and_changes_the_image_tower_only(tmp_path):
    labelled = LabelsAsCaptions(open_labelled(make_labelled(tmp_path / "labelled", NUM_PAIRS)))
    recipe = SupervisedRecipe(epochs=3, batch_size=4, learning_rate=1e-3, warmup_steps=2)
    width = tiny_checkpoint().model.text_projection.shape[1]
    rows = torch.randn(3, width, generator=torch.Generator().manual_seed(5))
    options = {"recipe": recipe, "class_CD": torch.nn.functional.normalize(rows, dim=-1)}
    uncut = run(labelled, **options)
    with pytest.raises(Interrupted):
        run(labelled, folder=tmp_path / "state", **options, **stop_at(7))
    resumed = run(labelled, folder=tmp_path / "state", **options)
    assert_same_run(resumed, uncut)
    first, *_, last = uncut[1].training.curve
    assert last.loss < first.loss
    assert (last.loss_clip, last.loss_self_supervised, last.loss_push) == (None, None, None)
    fresh = tiny_checkpoint().model.state_dict()
    weights = uncut[0].model.state_dict()
    changed = {name for name in fresh if not torch.equal(fresh[name], weights[name])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)


UAR = UARRecipe(
    epochs=3,
    strong_epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    warmup_steps=2,
    strong_live_share=0.5,
    strong_bank_share=0.25,
    weak_live_share=0.25,
    weak_bank_share=0.5,
    strong_edit_share=0.25,
    weak_edit_share=0.25,
    live_patches=0,
    live_warps=1,
    live_updates=3,
    inverted_colours=1,
    inverted_fixed_patches=1,
    bank_size=14,
    inversion_steps=3,
    reinversion_steps=3,
    kept_change=0.75,
)
"""15 updates: the second stage starts after 10."""


@pytest.fixture(scope="module")
def uncut_uar(pairs):
    return run(pairs, recipe=UAR, tower="vit")


def test_a_run_of_uar_is_the_same_each_time_and_changes_the_image_tower_only(pairs, uncut_uar):
    assert_same_run(run(pairs, recipe=UAR, tower="vit"), uncut_uar)
    fresh, weights = tiny_checkpoint("vit").model.state_dict(), uncut_uar[0].model.state_dict()
    changed = {name for name in fresh if not torch.equal(fresh[name], weights[name])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)
    curve = uncut_uar[1].training.curve
    assert [point.learning_rate for point in curve][9:12] == pytest.approx([3.8060e-5, 5e-4, 1e-3], rel=1e-4)
    for point in curve:
        assert point.loss == pytest.approx(point.loss_clip + 5 * point.loss_consistency, rel=1e-6)
        assert (point.loss_push, point.loss_self_supervised) == (None, None)


@pytest.mark.parametrize("step", mostly_full([0, 1, 9, 10, 11], daily=[1, 10]))
def test_a_run_of_uar_that_is_cut_goes_on_with_its_patterns(pairs, uncut_uar, tmp_path, step):
    """In either stage and at their boundary: live patterns, bank and inversions are in the state."""
    with pytest.raises(Interrupted):
        run(pairs, recipe=UAR, tower="vit", folder=tmp_path, **stop_at(step))
    assert state.read_position(state.find_newest(tmp_path)).step == step
    said: list[ProgressEvent] = []
    resumed = run(pairs, recipe=UAR, tower="vit", folder=tmp_path, progress=said.append)
    assert_same_run(resumed, uncut_uar)
    inverting = [one for one in said if isinstance(one, Advanced) and "Inverting" in (one.message or "")]
    assert len(inverting) == (6 if step == 0 else 0 if step > 10 else 3), "what was inverted is not again"


def test_a_stop_in_the_middle_of_an_inversion_is_obeyed_and_loses_nothing(pairs, uncut_uar, tmp_path):
    heard: list[str] = []

    def progress(event: ProgressEvent) -> None:
        if isinstance(event, Advanced) and event.message:
            heard.append(event.message)

    with pytest.raises(Interrupted):
        run(pairs, recipe=UAR, tower="vit", folder=tmp_path, progress=progress, stop=lambda: len(heard) >= 4)
    assert "step 1 of 3" in heard[-1]
    assert state.read_position(state.find_newest(tmp_path)).step == 10
    assert_same_run(run(pairs, recipe=UAR, tower="vit", folder=tmp_path), uncut_uar)


def test_the_time_left_counts_the_inversion_that_is_still_to_come(pairs):
    said: list[ProgressEvent] = []
    recipe = replace(UAR, inversion_steps=2, reinversion_steps=400)

    def is_enough() -> bool:
        return any(isinstance(one, Advanced) and one.done == 2 and one.loss is not None for one in said)

    with pytest.raises(Interrupted):
        run(pairs, recipe=recipe, tower="vit", progress=said.append, stop=is_enough)
    second = next(one for one in said if isinstance(one, Advanced) and one.done == 2 and one.loss is not None)
    assert second.eta_s > 3 * 13 * 4 / second.rate, (
        "13 updates of 4 pairs, and two hundred times an inversion"
    )


def test_uar_without_captions_needs_none_and_embeds_none(tmp_path, monkeypatch):
    labelled = LabelsAsCaptions(open_labelled(make_labelled(tmp_path / "labelled", NUM_PAIRS)))
    monkeypatch.setattr("sanitizer.training.step.encode_text", None)
    recipe = replace(UAR, trained_on="labelled_images")
    _, result = run(labelled, recipe=recipe, tower="vit")
    first, *_, last = result.training.curve
    assert first.loss_clip is last.loss_clip is None
    assert first.loss == pytest.approx(5 * first.loss_consistency, rel=1e-6)


def test_a_run_cut_twice_ends_with_the_same_weights_and_remembers_both(pairs, uncut, tmp_path):
    for step in (3, 9):
        with pytest.raises(Interrupted):
            run(pairs, folder=tmp_path, **stop_at(step))
    resumed = run(pairs, folder=tmp_path)
    assert_same_run(resumed, uncut)
    assert resumed[1].training.resumed_from_steps == (3, 9)


def test_a_run_that_crashes_goes_on_from_its_newest_whole_state(pairs, uncut, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "MAX_SAVING_SHARE", math.inf)

    def crash(event: ProgressEvent) -> None:
        if isinstance(event, Advanced) and event.done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(pairs, folder=tmp_path, save_every_s=0.0, progress=crash)
    newest = state.find_newest(tmp_path)
    assert newest.name == "step-00000007"
    (newest / state.WEIGHTS_NAME).write_bytes(b"torn")
    resumed = run(pairs, folder=tmp_path)
    assert_same_run(resumed, uncut)
    assert resumed[1].training.resumed_from_steps == (6,)


def test_a_finished_run_is_not_trained_again(pairs, uncut, tmp_path):
    run(pairs, folder=tmp_path)
    events: list[ProgressEvent] = []
    again = run(pairs, folder=tmp_path, progress=events.append)
    assert_same_run(again, uncut)
    assert not any(isinstance(event, Advanced) for event in events)


def test_loader_workers_change_nothing(pairs, uncut):
    assert_same_run(run(pairs, num_workers=2), uncut)


@pytest.mark.parametrize(
    "changes", [{"seed": 6}, {"recipe": replace(RECIPE, learning_rate=2e-3)}, {"tower": "vit"}]
)
def test_a_state_of_another_run_is_not_resumed(pairs, tmp_path, changes):
    with pytest.raises(Interrupted):
        run(pairs, folder=tmp_path, **stop_at(3))
    events: list[ProgressEvent] = []
    _, finetuned = run(pairs, folder=tmp_path, progress=events.append, **changes)
    assert finetuned.training.resumed_from_steps == ()
    assert isinstance(events[0], Noted)
    assert "step 3 belongs to another run" in events[0].message


def test_events_come_in_order_and_say_where_the_state_is(pairs, tmp_path):
    events: list[ProgressEvent] = []
    with pytest.raises(Interrupted):
        run(pairs, folder=tmp_path / "state", **stop_at(2))
    run(pairs, folder=tmp_path / "state", progress=events.append)
    assert isinstance(events[0], Noted)
    assert "step 2" in events[0].message
    assert events[1] == PhaseStarted(phase="finetune", total=NUM_STEPS, unit="steps")
    advances = [event for event in events if isinstance(event, Advanced)]
    assert [event.done for event in advances] == list(range(3, NUM_STEPS + 1))
    assert advances[-1].rate_unit == "pairs"
    assert advances[-1].rate > 0
    assert advances[-1].eta_s == 0
    assert events[-2] == StateSaved(path=f"state/step-{NUM_STEPS:08d}", step=NUM_STEPS, is_good=True)
    assert (tmp_path / events[-2].path).is_dir()
    assert events[-1] == PhaseFinished(phase="finetune")


def test_a_stop_without_a_state_folder_says_that_nothing_was_saved(pairs):
    with pytest.raises(Interrupted, match="nothing was saved"):
        run(pairs, **stop_at(1))


def test_the_loop_learns_the_pairs_by_heart(tmp_path):
    pairs = open_pairs(make_pairs(tmp_path, 16))
    recipe = CleanCLIPRecipe(epochs=80, batch_size=16, learning_rate=2e-3, warmup_steps=5, lambda2=0.2)
    checkpoint, finetuned = run(pairs, recipe=recipe, tower="vit")
    curve = finetuned.training.curve
    assert curve[0].loss_clip > 2.0  # ln 16 = 2.77 is chance
    assert curve[-1].loss_clip < 0.05
    within = [point.loss_self_supervised for point in curve]
    assert sum(within[-10:]) < 0.7 * sum(within[:10])
    assert not checkpoint.model.training

    read = [pairs.read(index) for index in range(16)]
    pixels = torch.stack([to_model_pixels(pair.image, 32) for pair in read])
    pixels = normalise(pixels, checkpoint.architecture.image_mean, checkpoint.architecture.image_std)
    with torch.no_grad():
        image_logits, _ = checkpoint.model.get_logits(pixels, checkpoint.tokenize([p.caption for p in read]))
    assert image_logits.argmax(dim=1).tolist() == list(range(16))


def test_batch_norm_statistics_stay_and_weights_move(pairs, uncut):
    before, after = tiny_checkpoint().model.state_dict(), uncut[0].model.state_dict()
    statistics = [name for name in before if "running" in name or "num_batches" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    moved = [name for name in before if name not in statistics and not torch.equal(before[name], after[name])]
    assert len(moved) == len(before) - len(statistics)


def test_statistics_that_are_not_frozen_move(pairs):
    checkpoint, _ = run(pairs, recipe=replace(RECIPE, freeze_batch_norm_statistics=False))
    before, after = tiny_checkpoint().model.state_dict(), checkpoint.model.state_dict()
    assert not torch.equal(before["visual.bn1.running_mean"], after["visual.bn1.running_mean"])


def test_chunks_give_the_same_run_up_to_rounding(pairs, uncut):
    _, finetuned = run(pairs, recipe=replace(RECIPE, chunk_size=3))
    expected = [point.loss for point in uncut[1].training.curve]
    assert [point.loss for point in finetuned.training.curve] == pytest.approx(expected, rel=1e-3)


def test_a_learning_rate_that_is_far_too_high_is_reported_not_delivered(pairs, tmp_path):
    recipe = replace(
        RECIPE, learning_rate=1.0, warmup_steps=0, max_grad_norm=None, weight_decay=10.0, epochs=40
    )
    with pytest.raises(TrainingDiverged) as caught:
        run(pairs, recipe=recipe, folder=tmp_path)
    assert caught.value.code in {"loss_not_finite", "loss_diverged"}
    assert "step 0, the input weights" in caught.value.message
    good = state.find_newest(tmp_path)
    assert good.name == "step-00000000"
    kept, came_in = load_file(good / state.WEIGHTS_NAME), tiny_checkpoint().model.state_dict()
    assert kept.keys() == came_in.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in came_in.items())


def reported(step: int) -> float:
    return 3.0 if step < 50 else 2.5 if step < 70 else 2.5 * 1.05 ** (step - 69)


def creeping(first_step: int):
    """A `take_step` whose loss is told to be 3.0 at first, then less, and from step 70 on ever more."""
    step = first_step - 1

    def take(*arguments, **options):
        nonlocal step
        step += 1
        return replace(take_step(*arguments, **options), loss=reported(step))

    return take


@pytest.mark.slow
def test_a_loss_that_creeps_up_leaves_the_last_good_state_from_which_a_run_is_the_same(
    pairs, tmp_path, monkeypatch
):
    recipe = replace(RECIPE, epochs=30)
    uncut, _ = run(pairs, recipe=recipe)
    good_step = max(step for step in range(150) if reported(step) <= reported(0)) + 1
    assert 70 < good_step < 100, "the states of more than two saves after it would push it out"
    assert reported(0) > 2 * math.log(recipe.batch_size), (
        "it begins over chance: good is what is not over that"
    )

    monkeypatch.setattr(loop, "MAX_SAVING_SHARE", math.inf)
    monkeypatch.setattr(loop, "take_step", creeping(0))
    saved: list[StateSaved] = []

    def note(event: ProgressEvent) -> None:
        if isinstance(event, StateSaved):
            saved.append(event)

    with pytest.raises(TrainingDiverged) as caught:
        run(pairs, recipe=recipe, folder=tmp_path, save_every_s=0.0, progress=note)
    assert caught.value.code == "loss_diverged"
    assert caught.value.message.endswith(f"step {good_step}.")
    assert [event.step for event in saved if event.is_good] == [0, *range(11, good_step + 1)]
    newest = saved[-1].step
    assert newest > good_step + 10
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"step-{step:08d}" for step in (good_step, newest - 1, newest)]
    assert all(state.verifies(tmp_path / name) for name in kept)

    for name in kept[1:]:
        shutil.rmtree(tmp_path / name)
    monkeypatch.setattr(loop, "take_step", take_step)
    resumed, finetuned = run(pairs, recipe=recipe, folder=tmp_path)
    assert finetuned.training.resumed_from_steps == (good_step,)
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in uncut.model.state_dict().items())


@pytest.mark.slow
def test_a_run_that_goes_on_while_its_loss_rises_still_knows_its_good_state(pairs, tmp_path, monkeypatch):
    recipe = replace(RECIPE, epochs=30)
    monkeypatch.setattr(loop, "take_step", creeping(0))
    for step in (72, 90, 100):
        with pytest.raises(Interrupted):
            run(pairs, recipe=recipe, folder=tmp_path, **stop_at(step))
        monkeypatch.setattr(loop, "take_step", creeping(step))
    with pytest.raises(TrainingDiverged, match=r"The last good state is that of step 72\."):
        run(pairs, recipe=recipe, folder=tmp_path)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["step-00000072", "step-00000090", "step-00000100"]


def test_what_does_not_fit_is_refused_before_anything_is_read():
    checkpoint = tiny_checkpoint()
    with pytest.raises(OptionsRejected) as caught:
        check_fits(replace(RECIPE, batch_size=23), checkpoint, NUM_PAIRS)
    assert caught.value.code == "batch_larger_than_data"
    with pytest.raises(OptionsRejected, match="cannot be divided evenly among 3 processes") as caught:
        check_fits(replace(RECIPE, batch_size=4), checkpoint, NUM_PAIRS, world_size=3)
    assert caught.value.code == "batch_not_shared_out"
    thawed = replace(RECIPE, freeze_batch_norm_statistics=False)
    with pytest.raises(OptionsRejected) as caught:
        check_fits(replace(thawed, chunk_size=2), checkpoint, NUM_PAIRS)
    assert caught.value.code == "batch_norm_needs_whole_batch"
    check_fits(thawed, checkpoint, NUM_PAIRS)
    check_fits(replace(thawed, chunk_size=2), tiny_checkpoint("vit"), NUM_PAIRS)


def test_a_resumed_run_counts_the_bad_pairs_that_it_met_before_it_was_cut(tmp_path):
    folder = make_pairs(tmp_path / "pairs", NUM_PAIRS)
    write_tar(folder / "pairs-bad.tar", [("torn.png", b"no picture"), ("torn.txt", b"a red dog")])
    pairs = open_pairs(folder)
    recipe = replace(RECIPE, max_skipped_share=0.1, epochs=4)
    _, whole = run(pairs, recipe=recipe)
    assert whole.num_skipped == 1
    with pytest.raises(Interrupted):
        run(pairs, recipe=recipe, folder=tmp_path / "state", **stop_at(18))
    _, resumed = run(pairs, recipe=recipe, folder=tmp_path / "state")
    assert resumed.num_skipped == 1
    assert resumed.skipped_examples == whole.skipped_examples


@pytest.mark.parametrize("num_asked", mostly_full([1, 60, 171, 300, 523], daily=[60, 300]))
def test_a_stop_in_the_middle_of_a_step_gives_it_up_and_changes_nothing(pairs, uncut, tmp_path, num_asked):
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] >= num_asked

    with pytest.raises(Interrupted):
        run(pairs, folder=tmp_path, stop=stop)
    assert asked[0] <= num_asked + 1  # once more, by the one who saves
    assert_same_run(run(pairs, folder=tmp_path), uncut)


def test_a_stop_is_noticed_in_the_forward_and_in_the_backward_pass(pairs):
    checkpoint, places = tiny_checkpoint(), set()
    for num_asked in range(1, 90):
        asked = [0]

        def stop(asked=asked, num_asked=num_asked) -> bool:
            asked[0] += 1
            return asked[0] >= num_asked

        with abandoning(checkpoint.model, stop):
            try:
                image = checkpoint.model.encode_image(torch.zeros(2, 3, 32, 32))
            except StepAbandoned:
                places.add("forward")
                continue
            try:
                image.sum().backward()
            except StepAbandoned:
                places.add("backward")
    assert places == {"forward", "backward"}
    assert not any(module._forward_hooks for module in checkpoint.model.modules())
