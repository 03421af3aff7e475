"""Processes that train together: how many, what their words and deaths become, and that none is left."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.errors import DatasetRejected, Interrupted, RankLost
from cleanclip.vocabulary.jobspec import SanitizeSpec
from cleanclip.vocabulary.progress import Noted, never_stop
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.ranks import group
from sanitizer.ranks.group import run_ranks
from sanitizer.ranks.protocol import LINE, ORDER, RankEnded, RankOrder, as_error, as_failure
from sanitizer.ranks.shared_training import Sources, how_many, train
from tests.fixtures.audited import write_model
from tests.fixtures.forked_child import ForkedChild
from tests.fixtures.sessions import members, wait_until_none_is_left
from tests.fixtures.shards import make_labelled, make_pairs
from tests.fixtures.tiny_clips import tiny_clip

RECIPE = CleanCLIPRecipe(epochs=100, batch_size=8, learning_rate=1e-5)
CPU = torch.device("cpu")
PROLOGUE = """
import json, os, signal, sys, time
order = json.loads(sys.stdin.readline())
rank = order["rank"]
def say(**line): print(json.dumps(line), flush=True)
def wait(): sys.stdin.read(); sys.exit(1)
"""


def orders(folder: Path) -> list[RankOrder]:
    return [
        RankOrder(
            rank=rank,
            num_ranks=2,
            meeting_folder=folder,
            checkpoint_folder=folder,
            architecture={},
            training_path=folder,
            recipe=RECIPE,
            seed=0,
            device="cpu",
            state_folder=folder,
            save_every_s=60.0,
            has_classes=False,
        )
        for rank in range(2)
    ]


def run_stand_ins(monkeypatch, tmp_path, script, progress=lambda event: None, stop=never_stop):
    """`script` in the place of both ranks: what they say and how they end is real."""
    monkeypatch.setattr(group, "COMMAND", (sys.executable, "-c", PROLOGUE + script))
    return run_ranks(orders(tmp_path), progress, stop)


@pytest.fixture(autouse=True)
def no_child_is_left():
    ForkedChild.start_server()  # it stays for the next tests, and is no child that a test left
    before = children()
    yield
    assert children() <= before


def children() -> set[str]:
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


@pytest.mark.parametrize(("at_most", "number"), [(1, 1), (2, 2), (3, 2), (5, 4), (64, 8), ("auto", 1)])
def test_a_batch_of_eight_is_shared_out_evenly_or_by_fewer(at_most, number):
    assert how_many(at_most, RECIPE, tiny_clip(), CPU) == number


def test_a_batch_whose_statistics_move_is_not_shared_out():
    thawed = replace(RECIPE, freeze_batch_norm_statistics=False)
    assert how_many(2, thawed, tiny_clip(), CPU) == 1


@pytest.mark.parametrize(("at_most", "number"), [("auto", 2), (4, 2), (1, 1)])
def test_no_device_is_given_to_two_processes(monkeypatch, at_most, number):
    model = tiny_clip()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert how_many(at_most, RECIPE, model, torch.device("cuda")) == number
    assert how_many(at_most, RECIPE, model, torch.device("cuda", 1)) == 1


def test_an_error_arrives_as_it_left(tmp_path):
    error = DatasetRejected("no_images", "All are bad.", "Repair them.", where="a.tar")
    line = LINE.dump_json(RankEnded(failure=as_failure(error)))
    arrived = as_error(LINE.validate_json(line).failure)
    assert type(arrived) is DatasetRejected
    assert vars(arrived) == vars(error)
    order = orders(tmp_path)[0]
    assert ORDER.validate_json(ORDER.dump_json(order)) == order


def test_what_one_refuses_ends_all(monkeypatch, tmp_path):
    script = """
if rank == 1:
    failure = dict(kind="DatasetRejected", code="no_images", message="Bad.", remedy="Repair.", where=None)
    say(type="rank_ended", failure=failure)
wait()
"""
    with pytest.raises(DatasetRejected, match="Repair") as caught:
        run_stand_ins(monkeypatch, tmp_path, script)
    assert caught.value.code == "no_images"


def test_one_that_is_killed_ends_all_and_is_the_one_that_is_told_of(monkeypatch, tmp_path):
    script = """
if rank == 1: os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0.1)
sys.exit(1)  # as one does whose neighbour hung up
"""
    began = time.monotonic()
    with pytest.raises(RankLost, match="Process 2 of the 2 training processes ended by SIGKILL") as caught:
        run_stand_ins(monkeypatch, tmp_path, script)
    assert caught.value.status == -signal.SIGKILL
    assert time.monotonic() - began < 10


def test_one_that_does_not_end_with_its_orders_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(group, "END_PATIENCE_S", 0.2)
    script = """
if rank == 1: sys.exit(7)
time.sleep(600)
"""
    with pytest.raises(RankLost, match="exit status 7"):
        run_stand_ins(monkeypatch, tmp_path, script)


def test_a_stop_reaches_every_rank_and_what_they_say_is_passed_on(monkeypatch, tmp_path):
    reported = []
    script = """
say(type="noted", level="info", message=f"{rank} processes share the training.")
heard = sys.stdin.readline().strip()
message = f"Rank {rank} heard {heard}."
failure = dict(kind="Interrupted", code="stopped", message=message, remedy="", where=None)
if rank == 0:
    time.sleep(1)
    say(type="rank_ended", failure=failure)
else:
    say(type="noted", level="info", message=f"0 of 0 {heard} samples of an earlier attempt are reused.")
wait()
"""
    with pytest.raises(Interrupted, match="Rank 0 heard stop"):
        run_stand_ins(monkeypatch, tmp_path, script, reported.append, stop=lambda: len(reported) >= 2)
    assert sorted(event.message for event in reported) == [
        "0 of 0 stop samples of an earlier attempt are reused.",
        *(f"{rank} processes share the training." for rank in (0, 1)),
    ]
    assert all(isinstance(event, Noted) for event in reported)


def trained(tmp_path, name, data, recipe, *, num_ranks, folder, class_CD=None):
    """The checkpoint after a training on `folder`, and what it reports; `name`: of the folder of states."""
    checkpoint = load_canonical(tmp_path / "checkpoint")
    finetuned = train(
        checkpoint,
        data,
        recipe,
        Sources(checkpoint_folder=tmp_path / "checkpoint", training_path=folder),
        num_ranks=num_ranks,
        seed=5,
        device=CPU,
        state_folder=tmp_path / name,
        save_every_s=60.0,
        progress=lambda event: None,
        stop=never_stop,
        num_workers=0,
        class_CD=class_CD,
    )
    return checkpoint, finetuned


@pytest.mark.slow
def test_a_method_of_labels_is_trained_against_the_same_class_embeddings(tmp_path):
    write_model(tmp_path / "checkpoint")
    folder = make_labelled(tmp_path / "labelled", 12)
    data = LabelsAsCaptions(open_labelled(folder))
    class_CD = torch.nn.functional.normalize(torch.eye(3, 24), dim=-1)
    recipe = SupervisedRecipe(epochs=1, batch_size=4, precision="fp32")
    curves = []
    for num_ranks in (1, 2):
        _, finetuned = trained(
            tmp_path,
            f"state-{num_ranks}",
            data,
            recipe,
            num_ranks=num_ranks,
            folder=folder,
            class_CD=class_CD,
        )
        curves.append([point.loss for point in finetuned.training.curve])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


@pytest.mark.slow
def test_of_a_shared_training_too_only_a_share_of_the_change_is_kept(tmp_path):
    write_model(tmp_path / "checkpoint")
    folder = make_pairs(tmp_path / "pairs", 8)
    pairs = open_pairs(folder)
    recipe = UARRecipe(epochs=2, strong_epochs=1, batch_size=4, learning_rate=1e-3, inversion_steps=1)
    start = load_canonical(tmp_path / "checkpoint").model.state_dict()
    ends = []
    for name, kept in (("state-whole", 1.0), ("state-half", 0.5)):
        recipe = replace(recipe, kept_change=kept)
        checkpoint, _ = trained(tmp_path, name, pairs, recipe, num_ranks=2, folder=folder)
        ends.append(checkpoint.model.state_dict())
    whole, half = ends
    assert any(not torch.equal(start[name], whole[name]) for name in start)
    for name, tensor in start.items():
        expected = (tensor + whole[name]) / 2 if tensor.is_floating_point() else tensor
        torch.testing.assert_close(half[name], expected)


@pytest.mark.slow
def test_no_rank_outlives_a_child_that_is_killed(tmp_path):
    write_model(tmp_path / "inputs/checkpoint")
    make_pairs(tmp_path / "inputs/pairs", 24)
    make_labelled(tmp_path / "inputs/labelled", 12)
    audit = AuditOptions(target="dog", attacks=(BadNetOptions(),))
    spec = SanitizeSpec(recipe=RECIPE, audit=audit, save_every_s=0.0, max_ranks=2)
    (tmp_path / "spec.json").write_bytes(SPEC_ADAPTER.dump_json(spec))
    child = ForkedChild(tmp_path, cores=4)  # so that each rank has a process that loads
    try:
        # A state after an update: at the one before the first, processes that load may not be there yet.
        while b"state_saved" not in (line := child.stdout.readline()) or b'"step":0,' in line:
            assert line, "the child ended early"
        assert len(members(child.pid)) >= 3
        child.kill()
        child.wait()
        assert wait_until_none_is_left(child.pid, seconds=10)
    finally:
        child.stdout.close()
        for pid in members(child.pid):
            os.kill(pid, signal.SIGKILL)
