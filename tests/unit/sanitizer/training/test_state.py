"""States on disk: whole or not there, verified, few."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from cleanclip.vocabulary.recipe import CleanCLIPRecipe
from cleanclip.vocabulary.report import CurvePoint
from sanitizer.data.skipping import Skipped
from sanitizer.methods.catalogue import build_method
from sanitizer.training import optimizer, state, towers
from sanitizer.training.distributed import World
from sanitizer.training.state import Position, Watch
from sanitizer.training.step import StepOptions, take_step
from tests.fixtures.tiny_clips import tiny_batch, tiny_clip

OPTIONS = StepOptions(
    to_input=lambda image: (image.float() / 255 - 0.45) / 0.27,
    method=build_method(CleanCLIPRecipe()),
    chunk_size=None,
    max_grad_norm=1.0,
    towers_dtype=torch.float32,
)


def trained(num_steps: int, *, seed: int = 0):
    model = tiny_clip("resnet", seed=seed).to(memory_format=torch.channels_last)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    update = optimizer.build(model, CleanCLIPRecipe(learning_rate=1e-3))
    for step in range(num_steps):
        take_step(model, update, tiny_batch(4, seed=step), OPTIONS, World())
    return model, update


def position(step: int, run: str = "run") -> Position:
    point = CurvePoint(
        step=1,
        epoch=0.1,
        loss=1 / 3,
        loss_clip=0.1,
        loss_self_supervised=2e-17,
        learning_rate=1e-5,
        logit_scale=14.3,
    )
    return Position(
        run_sha256=run,
        step=step,
        epoch=1,
        step_in_epoch=2,
        curve=(point,),
        interval_sums=(0.1, 0.2, 0.30000000000000004),
        watch=Watch(average=1 / 7),
        skipped=(Skipped(index=3, key="é", reason="no_caption", detail="none"),),
    )


def test_a_state_brings_back_weights_moments_position_and_random_state(tmp_path):
    model, update = trained(3)
    torch.manual_seed(11)
    path = state.save(tmp_path, model, update, position(3))
    expected_draw = torch.rand(4)

    other, fresh = trained(1, seed=1)
    found = state.load(path, other, fresh)

    assert found == position(3)
    assert path.name == "step-00000003"
    assert torch.equal(torch.rand(4), expected_draw)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    ours, theirs = optimizer.export_moments(update, model), optimizer.export_moments(fresh, other)
    assert ours.keys() == theirs.keys()
    assert len(ours) == 3 * len(list(model.parameters()))
    assert all(torch.equal(theirs[key], tensor) for key, tensor in ours.items())
    take_step(model, update, tiny_batch(4, seed=9), OPTIONS, World())
    take_step(other, fresh, tiny_batch(4, seed=9), OPTIONS, World())
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_only_the_newest_two_states_are_kept(tmp_path):
    model, update = trained(1)
    for step in (1, 2, 3, 4):
        state.save(tmp_path, model, update, position(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    assert state.find_newest(tmp_path).name == "step-00000004"


def test_a_good_state_is_not_pushed_out_by_later_ones_until_there_is_a_later_good_one(tmp_path):
    model, update = trained(1)
    for step, good_step, kept in (
        (1, 1, [1]),
        (2, 1, [1, 2]),
        (3, 1, [1, 2, 3]),
        (4, 1, [1, 3, 4]),
        (5, 5, [4, 5]),
        (6, 5, [5, 6]),
    ):
        state.save(tmp_path, model, update, replace(position(step), good_step=good_step))
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in kept]


@pytest.mark.parametrize("name", [state.WEIGHTS_NAME, state.MOMENTS_NAME, state.POSITION_NAME])
@pytest.mark.parametrize("damage", ["flipped", "short", "gone"])
def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, name, damage):
    model, update = trained(1)
    state.save(tmp_path, model, update, position(1))
    file = state.save(tmp_path, model, update, position(2)) / name
    content = bytearray(file.read_bytes())
    match damage:
        case "flipped":
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "short":
            file.write_bytes(content[:-1])
        case "gone":
            file.unlink()
    assert state.find_newest(tmp_path).name == "step-00000001"


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"files": 3}', '{"files": {}}', "null"])
def test_a_manifest_that_makes_no_sense_verifies_nothing(tmp_path, manifest):
    model, update = trained(1)
    path = state.save(tmp_path, model, update, position(1))
    (path / state.MANIFEST_NAME).write_text(manifest)
    assert not state.verifies(path)
    assert state.find_newest(tmp_path) is None


def test_a_manifest_that_leaves_out_a_file_verifies_nothing(tmp_path):
    model, update = trained(1)
    path = state.save(tmp_path, model, update, position(1))
    manifest = json.loads((path / state.MANIFEST_NAME).read_text())
    del manifest["files"][state.WEIGHTS_NAME]
    (path / state.MANIFEST_NAME).write_text(json.dumps(manifest))
    assert not state.verifies(path)


def test_a_state_that_was_being_written_is_not_seen(tmp_path):
    model, update = trained(1)
    path = state.save(tmp_path, model, update, position(1))
    shutil.copytree(path, tmp_path / ".unfinished-step-00000009")
    (tmp_path / "step-00000008").mkdir()
    (tmp_path / "step-x").mkdir()
    assert state.find_newest(tmp_path) == path


def test_a_state_of_another_run_does_not_fit(tmp_path):
    model, update = trained(1)
    mine = state.save(tmp_path, model, update, position(1, "mine"))
    state.save(tmp_path, model, update, position(2, "theirs"))
    assert state.find_newest(tmp_path, "mine") == mine
    assert state.find_newest(tmp_path, "nobody's") is None


def test_a_new_run_in_the_folder_of_an_old_one_keeps_its_own_states(tmp_path):
    model, update = trained(1)
    state.save(tmp_path, model, update, position(500, "old"))
    (tmp_path / ".unfinished-step-00000600").mkdir()
    for step in (10, 20):
        state.save(tmp_path, model, update, position(step, "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000020"]
    assert state.find_newest(tmp_path, "new").name == "step-00000020"


def test_a_folder_that_is_not_there_holds_no_state(tmp_path):
    assert state.find_newest(tmp_path / "absent") is None


def test_a_damaged_state_of_the_same_step_is_replaced(tmp_path):
    model, update = trained(1)
    path = state.save(tmp_path, model, update, position(1))
    (path / state.WEIGHTS_NAME).write_bytes(b"")
    state.save(tmp_path, model, update, position(1))
    assert state.verifies(path)
