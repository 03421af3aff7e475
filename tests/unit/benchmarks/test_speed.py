"""Baseline and ours train on the same objective and the same pixels."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchvision.transforms import Compose

from cleanclip.vocabulary.recipe import CleanCLIPRecipe
from lab.benchmarks.speed import baseline
from lab.benchmarks.speed.material import captions, pictures, write_pairs
from lab.benchmarks.speed.measuring import as_a_job, in_own_process, in_turn, watching
from sanitizer.data.images import decode
from sanitizer.data.pairs import open_pairs
from sanitizer.data.pixels import to_model_pixels
from sanitizer.methods.catalogue import build_method
from sanitizer.training import towers
from sanitizer.training.distributed import World
from sanitizer.training.step import StepOptions, accumulate_gradients
from tests.fixtures.tiny_clips import tiny_batch, tiny_checkpoint, tiny_clip

CPU = torch.device("cpu")


def to_input(image: torch.Tensor) -> torch.Tensor:
    return (image.double() / 255 - 0.45) / 0.27


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_baseline_computes_the_objective_of_ours(tower: str) -> None:
    model, batch = tiny_clip(tower).double(), tiny_batch(6)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    images = torch.cat([batch.image_NCHW, batch.image_view_NCHW])
    tokens = torch.cat([batch.tokens_NL, batch.tokens_view_NL])
    theirs = baseline.loss_of(model, to_input(images), tokens)
    ours = accumulate_gradients(
        model,
        batch,
        StepOptions(
            to_input=to_input,
            method=build_method(CleanCLIPRecipe()),
            chunk_size=None,
            max_grad_norm=None,
            towers_dtype=torch.float32,
        ),
        World(),
    )
    assert theirs.item() == pytest.approx(ours.total.item(), rel=1e-12)


def test_the_baselines_pixels_are_ours() -> None:
    (data,) = pictures(1)
    image = decode(data)
    assert image.size == (500, 375)
    theirs = Compose(baseline.to_pixels(224))(image)
    assert torch.equal((theirs * 255).round().to(torch.uint8), to_model_pixels(image, 224))


def test_both_sides_read_the_same_pairs_and_the_baseline_trains_on_all_of_them(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 7, size=(50, 40))
    read = open_pairs(folder)
    assert [read.read(index).caption for index in range(7)] == list(captions(7))
    loaded = tiny_checkpoint()
    before = loaded.model.visual.conv1.weight.clone()
    recipe = CleanCLIPRecipe(epochs=2, batch_size=3, warmup_steps=1)
    num_trained = baseline.train(loaded, folder, recipe, num_workers=0, device=CPU)
    assert num_trained == 6
    assert not torch.equal(loaded.model.visual.conv1.weight, before)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems spawn")
def test_the_baselines_loader_forks_wherever_it_runs() -> None:
    context = baseline.loader_of([0, 1], num_workers=1).multiprocessing_context
    assert context.get_start_method() == "fork"  # type: ignore[union-attr]


def test_a_ratio_is_the_median_of_the_repetitions_ratios() -> None:
    slow, fast = iter([6.0, 9.0, 8.0]), iter([2.0, 1.0, 4.0])
    measured = in_turn(lambda: next(slow), lambda: next(fast), 3, lambda _: None)
    assert measured["ratio"] == {"median": 3.0, "low": 2.0, "high": 9.0}
    assert measured["baseline_s"]["median"] == 8.0


def test_a_side_runs_in_a_process_of_its_own_with_its_environment() -> None:
    assert in_own_process(os.getpid) != os.getpid()
    assert in_own_process(os.getenv, "MALLOC_ARENA_MAX", environment={"MALLOC_ARENA_MAX": "3"}) == "3"
    assert "MALLOC_ARENA_MAX" not in os.environ
    assert as_a_job(os.getenv, "MALLOC_MMAP_MAX_") == "0"


def test_pairs_beyond_those_that_differ_share_their_pictures(tmp_path: Path) -> None:
    pairs = open_pairs(write_pairs(tmp_path / "pairs", 5, size=(50, 40), num_different=2))
    assert [pairs.read(index).caption for index in range(5)] == list(captions(5))
    first, second, *others = ((tmp_path / "pairs" / f"{index:06d}.jpg").read_bytes() for index in range(5))
    assert first != second
    assert others == [first, second, first]


def test_a_gpu_is_as_busy_as_its_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        '#!/bin/sh\necho "$@" > "$0.asked"\n'
        'for share in 0 90 "[N/A]" 60; do echo "$share"; done\nexec sleep 60\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"ab-{device}")
    )
    with watching(torch.device("cuda", 3)) as utilisation:
        while len(utilisation.samples) < 3:
            time.sleep(0.01)
    assert utilisation.samples == [0.0, 0.9, 0.6]
    assert utilisation.mean == pytest.approx(0.5)
    assert "--id=GPU-ab-cuda:3 " in (tmp_path / "nvidia-smi.asked").read_text()
    with watching(CPU) as nothing:
        pass
    assert nothing.mean is None
