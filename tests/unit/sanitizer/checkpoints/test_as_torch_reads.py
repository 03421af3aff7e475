"""What we read of a file is what torch, safetensors and open_clip read of it, bit by bit."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip.factory
import pytest
import safetensors.torch
import torch
import torch.utils.serialization
from torch import Tensor

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.provenance import uploaded_tensor
from sanitizer.checkpoints.reading import ReadCheckpoint, read_upload
from tests.fixtures import odd_checkpoints
from tests.fixtures import pickle_assembly as asm
from tests.fixtures.benign_checkpoints import BENIGN
from tests.fixtures.hostile.corpus import HOSTILE
from tests.fixtures.hostile.entries import vit

NUMPY = [np._core.multiarray.scalar, np.dtype, *{type(np.dtype(t)) for t in ("f4", "f8", "i8")}]
KNOWN_TO_TORCH_ONLY_IN_PROTOCOL_2 = {"saved_with_protocol_4", "saved_with_protocol_5"}


def bits(tensor: Tensor) -> tuple[Any, ...]:
    flat = tensor.detach().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes()


def as_read(found: ReadCheckpoint) -> dict[str, Tensor]:
    """Our reading under the file's own names, without its prefix."""
    return {origin.name: uploaded_tensor(found.tensors, origin) for origin in found.upload.origins}


def as_loaded(path: Path, found: ReadCheckpoint, *, weights_only: bool = True) -> Mapping[str, Tensor]:
    """What its owner gets, by open_clip's own rule where that has one."""
    if found.upload.container == "safetensors":
        return safetensors.torch.load_file(path)
    if found.upload.container == "torchscript":
        state = torch.jit.load(path).state_dict()  # type: ignore[no-untyped-call]
        return {name: tensor for name, tensor in state.items() if name != "attn_mask"}  # is rebuilt
    key = found.upload.weights_key
    with torch.serialization.safe_globals(NUMPY):
        if key is None or key == "state_dict":
            return open_clip.factory.load_state_dict(str(path), weights_only=weights_only)  # type: ignore[no-any-return]
        return torch.load(path, weights_only=weights_only, map_location="cpu")[key]  # type: ignore[no-any-return]


def differences(path: Path, found: ReadCheckpoint, **options: bool) -> list[str]:
    """Names of tensors that one reader has and the other has not, or that are not the same bits."""
    loaded = {name.removeprefix("module."): t for name, t in as_loaded(path, found, **options).items()}
    prefix = found.upload.prefix.removeprefix("module.")
    ours = {prefix + name: tensor for name, tensor in as_read(found).items()}
    named = sorted(ours.keys() ^ loaded.keys())
    return named + [name for name in ours.keys() & loaded.keys() if bits(ours[name]) != bits(loaded[name])]


@pytest.mark.parametrize("name", BENIGN)
def test_an_accepted_file_is_the_same_for_torch(name: str, tmp_path: Path, declared: DeclaredOptions) -> None:
    BENIGN[name](tmp_path / "upload")
    found = read_upload(tmp_path / "upload", declared=declared, filename="x")
    weights_only = name not in KNOWN_TO_TORCH_ONLY_IN_PROTOCOL_2
    assert differences(tmp_path / "upload", found, weights_only=weights_only) == []


def _place(name: str, tmp_path: Path) -> Path:
    HOSTILE[name].write(tmp_path / "upload", tmp_path / "canary")
    return tmp_path / "upload"


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("floats_in_the_optimizer_halves_in_the_weights", "visual.proj"),
        ("floats_and_halves_in_one_plain_state_dict", "visual.proj"),
        ("integers_first_then_floats", "logit_scale"),
        ("weights_in_a_counter", "visual.proj"),
        ("weights_in_the_arguments_of_a_table", "visual.proj"),
    ],
)
def test_what_is_refused_would_be_another_model_for_open_clip(name: str, tensor: str, tmp_path: Path) -> None:
    """The corpus means nothing unless its files work."""
    loaded = open_clip.factory.load_state_dict(str(_place(name, tmp_path)))
    loaded = loaded.get("model", loaded)
    assert bits(loaded[tensor]) != bits(vit()[tensor])


def test_torch_computes_the_places_of_storages_when_it_is_told_to(tmp_path: Path) -> None:
    torch.save(vit(), tmp_path / "good")
    with torch.utils.serialization.config.patch({"load.calculate_storage_offsets": True}):
        good = torch.load(tmp_path / "good", mmap=True)
        other = torch.load(_place("storages_in_another_order_than_announced", tmp_path), mmap=True)
    assert all(bits(good[name]) == bits(tensor) for name, tensor in vit().items())
    assert bits(other["ln_final.bias"]) != bits(vit()["ln_final.bias"])


@pytest.mark.parametrize(
    "name", ["torchscript_that_changes_its_weights_while_loaded", "torchscript_that_hides_its_code"]
)
def test_torch_runs_setstate_while_it_loads_torchscript(name: str, tmp_path: Path) -> None:
    module = torch.jit.load(_place(name, tmp_path))  # type: ignore[no-untyped-call]
    assert module.state_dict()["logit_scale"].item() == pytest.approx(-4.6)


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_odd_file_is_accepted_is_the_same_for_torch(
    chunk: int, tmp_path: Path, declared: DeclaredOptions
) -> None:
    path, num_accepted = tmp_path / "upload", 0
    for seed in range(30 * chunk, 30 * (chunk + 1)):
        odd_checkpoints.write(path, seed)
        try:
            found = read_upload(path, declared=declared, filename="x")
        except CheckpointRejected:
            continue
        num_accepted += 1
        assert differences(path, found) == [], f"seed {seed}"
    assert num_accepted >= 8


def test_a_pickle_with_random_damage_is_refused_or_the_same_for_torch(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    rng = random.Random(16)
    odd_checkpoints.write(tmp_path / "good", 11)
    good, num_accepted = (tmp_path / "good").read_bytes(), 0
    for _ in range(100):
        (tmp_path / "bad").write_bytes(asm.repacked(good, lambda pickled: _damaged(pickled, rng)))
        try:
            found = read_upload(tmp_path / "bad", declared=declared, filename="x")
        except CheckpointRejected:
            continue
        num_accepted += 1
        assert differences(tmp_path / "bad", found) == []
    assert 0 < num_accepted < 100


def _damaged(pickled: bytes, rng: random.Random) -> bytes:
    data = bytearray(pickled)
    data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), *b"(uRQhq.\x88\x89KJX}"))
    return bytes(data)
