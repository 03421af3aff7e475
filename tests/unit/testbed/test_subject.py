"""The test subject on disk: trained once, vouched for by its manifest, in the layout of research code."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cleanclip.vocabulary.recipe import DeclaredOptions
from lab.testbed import training
from lab.testbed.options import BADNET, SubjectOptions
from lab.testbed.subject import MANIFEST_NAME, Subject, find_or_train
from sanitizer.pipeline.inspecting import inspect

TINY = SubjectOptions(num_pairs=96, epochs=1, batch_size=32, vision_width=8, warmup_steps=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Subject]:
    folder = tmp_path_factory.mktemp("subject")
    return folder, find_or_train(folder, TINY, BADNET, seed=1)


def test_a_second_run_finds_the_subject_and_does_not_train(
    made: tuple[Path, Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it trained again")

    monkeypatch.setattr(training, "train", refuse)
    folder, subject = made
    assert find_or_train(folder, TINY, BADNET, seed=1) == replace(subject, is_new=False)


@pytest.mark.parametrize("change", ["seed", "options", "damaged file", "no manifest"])
def test_it_trains_again_when_anything_is_not_as_recorded(
    made: tuple[Path, Subject], tmp_path: Path, change: str
) -> None:
    folder, subject = made
    (tmp_path / subject.path.name).write_bytes(subject.path.read_bytes())
    if change != "no manifest":
        (tmp_path / MANIFEST_NAME).write_bytes((folder / MANIFEST_NAME).read_bytes())
    if change == "damaged file":
        with (tmp_path / subject.path.name).open("r+b") as file:
            file.write(b"damaged")
    options = replace(TINY, learning_rate=2e-3) if change == "options" else TINY
    assert find_or_train(tmp_path, options, BADNET, seed=2 if change == "seed" else 1).is_new


def test_the_library_reads_the_file_that_safe_torch_load_refuses(
    made: tuple[Path, Subject], tmp_path: Path
) -> None:
    _, subject = made
    with pytest.raises(pickle.UnpicklingError):
        torch.load(subject.path, weights_only=True)
    inspection = inspect(
        subject.path, tmp_path / "out", declared=DeclaredOptions(), filename=subject.path.name
    )
    assert inspection.layout == "research"
    assert inspection.upload_sha256 == subject.sha256
    canonical = load_file(tmp_path / "out" / "model.safetensors")
    own = torch.load(subject.path, weights_only=False)["state_dict"]
    assert {f"module.{name}" for name in canonical} == set(own)
    assert all(torch.equal(tensor, own[f"module.{name}"]) for name, tensor in canonical.items())


def test_the_manifest_says_how_the_subject_was_made(made: tuple[Path, Subject]) -> None:
    folder, subject = made
    manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    assert manifest["sha256"] == subject.sha256
    assert manifest["seed"] == 1
    assert manifest["options"]["num_pairs"] == TINY.num_pairs
    assert manifest["options"]["attack"]["pattern"] == "gaussian_fixed"
    assert len(manifest["epochs"]) == 1
