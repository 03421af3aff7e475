"""Canonical files: written, loaded, damaged, and read by open_clip itself."""

import json
import resource
import shutil
from pathlib import Path

import open_clip
import pytest
import safetensors
import safetensors.torch
import torch

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.pickle_machine import read_pickle
from sanitizer.checkpoints.safetensors_file import open_safetensors, write_safetensors
from sanitizer.checkpoints.tensors import check_finite, strided, vector
from sanitizer.checkpoints.torch_archive import TorchArchive
from sanitizer.checkpoints.writing import write_as_uploaded, write_canonical
from sanitizer.checkpoints.zip_container import Member
from tests.fixtures import pickle_assembly as asm
from tests.fixtures.checkpoints import RESNET_CONFIG, VIT_CONFIG, cast, tiny_clip

END_TOKEN = 49407


def canonical(folder: Path, dtype: torch.dtype = torch.float32, quick_gelu: bool = False) -> str:
    model = tiny_clip(VIT_CONFIG, quick_gelu=quick_gelu)
    architecture = Architecture.from_config({**VIT_CONFIG, "quick_gelu": quick_gelu})
    return write_canonical(folder, cast(model.state_dict(), dtype), architecture, {"layout": "open_clip"})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_model_is_loaded_in_fp32_and_eval_mode_whatever_the_file_holds(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    digest = canonical(tmp_path, dtype)
    loaded = load_canonical(tmp_path)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert not loaded.model.training
    assert all(p.requires_grad and not p.is_meta for p in loaded.model.parameters())
    assert not any(buffer.is_meta for buffer in loaded.model.buffers())
    assert loaded.weights_sha256 == digest == file_sha256(tmp_path / "model.safetensors")
    assert loaded.provenance["layout"] == "open_clip"


def test_training_a_loaded_model_leaves_its_file_alone(tmp_path: Path) -> None:
    digest = canonical(tmp_path)
    loaded = load_canonical(tmp_path)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(1)
    assert file_sha256(tmp_path / "model.safetensors") == digest


def test_a_text_that_is_too_long_keeps_its_end_token(tmp_path: Path) -> None:
    canonical(tmp_path)
    tokens = load_canonical(tmp_path).tokenize(["cat", "cat " * 100, ""])
    assert tokens.shape == (3, 12)
    assert tokens.dtype == torch.int64
    assert tokens[1, -1] == END_TOKEN
    assert (tokens == END_TOKEN).sum(1).tolist() == [1, 1, 1]
    assert torch.equal(tokens[0], open_clip.tokenize(["cat"], context_length=12)[0])


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_open_clip_reads_the_folder_once_the_configuration_has_its_name(
    quick_gelu: bool, tmp_path: Path
) -> None:
    """As the documentation says: copy config.json to open_clip_config.json, then `local-dir:`."""
    canonical(tmp_path, quick_gelu=quick_gelu)
    shutil.copy(tmp_path / "config.json", tmp_path / "open_clip_config.json")

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")

    loaded = load_canonical(tmp_path)
    tokens, image = loaded.tokenize(["a photo of a cat"]), torch.rand(1, 3, 32, 32)
    assert torch.equal(tokenizer(["a photo of a cat"]), tokens)
    with torch.no_grad():
        assert torch.equal(model.eval().encode_text(tokens), loaded.model.encode_text(tokens))
        assert torch.equal(model.encode_image(image), loaded.model.encode_image(image))
    assert tuple(model.visual.image_mean) == loaded.architecture.image_mean
    assert preprocess.transforms[0].size in (32, (32, 32))


def test_a_resnet_keeps_its_statistics(tmp_path: Path) -> None:
    model = tiny_clip(RESNET_CONFIG)
    write_canonical(tmp_path, model.state_dict(), Architecture.from_config(RESNET_CONFIG), {})
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_canonical(tmp_path).model.encode_image(image), model.encode_image(image))


def test_weights_that_are_not_the_ones_the_configuration_was_written_for_are_refused(tmp_path: Path) -> None:
    canonical(tmp_path)
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointRejected) as refused:
        load_canonical(tmp_path)
    assert refused.value.code == "canonical_damaged"


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000])
def test_a_broken_configuration_is_refused(content: str, tmp_path: Path) -> None:
    canonical(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointRejected) as refused:
        load_canonical(tmp_path)
    assert refused.value.code == "canonical_damaged"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    canonical(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointRejected) as refused:
        load_canonical(tmp_path)
    assert refused.value.code == "canonical_missing"


def test_a_state_dict_of_another_architecture_is_not_written(tmp_path: Path) -> None:
    state = tiny_clip(RESNET_CONFIG).state_dict()
    with pytest.raises(CheckpointRejected) as refused:
        write_canonical(tmp_path / "out", state, Architecture.from_config(VIT_CONFIG), {})
    assert refused.value.code == "architecture_mismatch"
    assert not (tmp_path / "out").exists()


def test_the_written_file_is_one_that_the_safetensors_library_reads(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(3, dtype=torch.int64),
        "b": torch.rand(3, 5).to(torch.float16),
        "c": torch.rand(2, 3).T,
        "d": torch.tensor(1.5, dtype=torch.bfloat16),
        "e": torch.zeros(1),
    }
    digest = write_safetensors(tmp_path / "x.safetensors", tensors, {"format": "pt"})
    assert digest == file_sha256(tmp_path / "x.safetensors")
    read = safetensors.torch.load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    ours = open_safetensors(tmp_path / "x.safetensors")
    assert all(torch.equal(ours[name], tensors[name]) for name in tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_same_tensors_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    tensors = {name: torch.rand(3) for name in "abc"}
    backwards = dict(reversed(tensors.items()))
    first = write_safetensors(tmp_path / "1", tensors, {})
    assert write_safetensors(tmp_path / "2", backwards, {}) == first


def test_a_tensor_that_is_not_aligned_in_its_file_is_read(tmp_path: Path) -> None:
    values = torch.rand(5)
    (tmp_path / "x").write_bytes(b"\0\0\0" + values.numpy().tobytes())
    assert torch.equal(vector(MappedFile(tmp_path / "x"), 3, 5, torch.float32), values)


def test_layers_on_one_storage_at_an_odd_byte_are_copied_alone(tmp_path: Path) -> None:
    """150 layers copied the whole storage 150 times: 69 s. Counted in bytes behind the tensors."""
    values = torch.arange(150 * 64, dtype=torch.float32).reshape(150, 8, 8)
    (tmp_path / "x").write_bytes(b"\0" + values.numpy().tobytes())
    file = MappedFile(tmp_path / "x")
    stored = Member(name="data/0", offset=1, size_bytes=4 * values.numel())
    archive = TorchArchive(file, {"data/0": stored})
    num_copied = 0
    for index, expected in enumerate(values):
        described = asm.tensor("0", (8, 8), offset=64 * index, stride=(1, 8), num_elements=values.numel())
        called = read_pickle(asm.PROTO2 + described + asm.STOP, member="x", is_allowed=lambda found: True)
        tensor = archive.tensor("w", called.root).load()
        assert torch.equal(tensor, expected.T)
        num_copied += tensor.untyped_storage().nbytes()
    assert num_copied == stored.size_bytes
    scalar = strided(file, 1, torch.float32, (), ())
    assert scalar.shape == ()


def test_pages_that_were_given_back_are_read_again(tmp_path: Path) -> None:
    values = torch.rand(100_000)
    (tmp_path / "x").write_bytes(values.numpy().tobytes())
    file = MappedFile(tmp_path / "x")
    view = vector(file, 0, 100_000, torch.float32)
    assert torch.equal(view, values)
    file.release()
    assert torch.equal(view, values)


def test_a_large_tensor_is_checked_without_keeping_its_pages(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as sparse:
        sparse.truncate(200 * 2**20)
    file = MappedFile(tmp_path / "x")
    held: list[int] = []

    def release() -> None:
        shared_pages = int(Path("/proc/self/statm").read_text().split()[2])
        held.append(shared_pages * resource.getpagesize())
        file.release()

    release()
    check_finite("w", vector(file, 0, 100 * 2**20, torch.float16), release)
    assert len(held) > 20
    assert max(held) - held[0] < 40 * 2**20


def test_weights_without_an_upload_have_no_layout_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        write_as_uploaded(tmp_path, tiny_clip(VIT_CONFIG).state_dict(), {"layout": "open_clip"})
    assert refused.value.code == "provenance_missing"


def test_a_value_that_does_not_fit_the_uploaded_dtype_is_refused(tmp_path: Path) -> None:
    origin = {"name": "logit_scale", "dtype": "float16", "shape": [], "source": "logit_scale"}
    upload = {"layout": "open_clip", "container": "torch_zip", "naming": "open_clip", "origins": [origin]}
    with pytest.raises(CheckpointRejected) as refused:
        write_as_uploaded(tmp_path, {"logit_scale": torch.tensor(1e6)}, {"upload": upload})
    assert refused.value.code == "does_not_fit_dtype"
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_plain_json_in_the_form_of_open_clip(tmp_path: Path) -> None:
    canonical(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(config) == {"model_cfg", "preprocess_cfg", "checkpoint"}
    assert config["checkpoint"]["weights_sha256"] == file_sha256(tmp_path / "model.safetensors")
    assert config["checkpoint"]["weights_dtype"] == "float32"
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
