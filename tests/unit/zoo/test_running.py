"""The runner: a model is made once, looked at by every detector once, and its rows survive a crash."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily
from lab.testbed import training
from lab.zoo import making, running, scanning
from lab.zoo.judging import statistics_of
from lab.zoo.plan import Model, model
from lab.zoo.rows import MODELS_NAME, SCANS_NAME, read_models, read_scans
from lab.zoo.running import Busy, Folders, run_all

_STATISTICS = {"patch:0.25, agreement"}


def _tiny(split: str, number: int) -> Model:
    whole = model(split, "digits-resnet", number)  # type: ignore[arg-type]
    options = replace(whole.options, num_pairs=128, epochs=1, warmup_steps=1, context_length=12)
    return replace(whole, options=options)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    quick = CollapseDetectorOptions(
        families=(PatternFamily(family="patch", budget=0.25),), restarts=2, images_per_step=2, steps=(1, 2)
    )
    monkeypatch.setattr(scanning, "SCAN", replace(scanning.SCAN, collapse=quick))
    monkeypatch.setattr(scanning, "NUM_HELD_OUT", 64)
    monkeypatch.setattr(making, "NUM_TEST", 64)
    monkeypatch.setattr(running, "anchor_of", lambda bed: _tiny("calibration", 0))
    monkeypatch.setattr(training, "Watch", partial(training.Watch, num_images=32))
    return Folders(rows=tmp_path / "rows", weights=tmp_path / "weights")


def test_a_model_is_made_and_scanned_once_and_made_again_with_the_same_weights_for_a_look_that_is_missing(
    folders: Folders,
) -> None:
    models, said = [_tiny("calibration", 0), _tiny("development", 2)], list[str]()
    assert run_all(models, ["collapse"], folders, say=said.append) == 0
    made, looks = read_models(folders.rows), read_scans(folders.rows)
    assert [row.family for row in made.values()] == ["clean", "stripes"]
    assert [len(row.asr) for row in made.values()] == [0, 1]
    assert all(row.weights_sha256 == made[row.name].weights_sha256 for row in looks.values())
    assert all(set(statistics_of(row)) == _STATISTICS for row in looks.values())
    # Weights are dropped at once, and nothing is made again.
    assert not list(folders.weights.glob("*/model.safetensors"))
    said.clear()
    run_all(models, ["collapse"], folders, say=said.append)
    assert said == []
    # A crash in the middle of a line: the look is lost, no other.
    scans = folders.rows / SCANS_NAME
    scans.write_bytes(scans.read_bytes()[:-20])
    assert list(read_scans(folders.rows)) == [next(iter(looks))]
    assert run_all(models, ["collapse"], folders, say=said.append) == 0
    again = read_scans(folders.rows)
    assert [statistics_of(row) for row in again.values()] == [statistics_of(row) for row in looks.values()]
    assert len((folders.rows / MODELS_NAME).read_bytes().splitlines()) == 2


def test_a_look_with_an_anchor_is_made_of_every_model_but_the_anchor(folders: Folders) -> None:
    models = [_tiny("calibration", number) for number in (0, 1)]
    assert run_all(models[1:], ["residual"], folders, say=lambda _: None) == 0
    # The anchor was made for it: its row is there, and it is not compared with itself.
    made = read_models(folders.rows)
    assert set(made) == {one.name for one in models}
    assert run_all(models, ["residual"], folders, say=lambda _: None) == 0
    ((name, look),) = [(row.name, row.measured) for row in read_scans(folders.rows).values()]
    assert name == models[1].name
    assert look.residual is not None
    assert look.anchor_sha256 == made[models[0].name].weights_sha256
    assert not (folders.weights / models[1].name).exists()


def test_a_second_process_on_the_same_folder_is_refused(folders: Folders) -> None:
    with running.alone(folders.weights), pytest.raises(Busy):
        run_all([], ["collapse"], folders)


def test_no_model_is_begun_after_the_time(folders: Folders) -> None:
    said = list[str]()
    left = run_all([_tiny("calibration", 0)], ["collapse"], folders, stop_after_s=-1, say=said.append)
    assert left == 1
    assert "The same command goes on" in said[0]
