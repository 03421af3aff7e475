"""Every inspected upload is read once more by torch or safetensors; a difference is a refusal."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import Inspection
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints import comparison, scanners
from sanitizer.checkpoints.comparison_process import compare, first_difference
from sanitizer.checkpoints.inspection import inspect_upload
from tests.fixtures.benign_checkpoints import BENIGN
from tests.fixtures.checkpoints import (
    write_open_clip,
    write_open_clip_safetensors,
    write_openai_torchscript,
    write_research,
)
from tests.fixtures.hostile.corpus import HOSTILE

Answer = Callable[[str], None]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Another program in the place of the process that compares."""

    def put(program: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable}\n{program}\n")
        path.chmod(0o700)
        monkeypatch.setattr(comparison, "PYTHON", str(path))
        monkeypatch.setattr(scanners, "SCANNERS", {})

    return put


def inspected(folder: Path, declared: DeclaredOptions) -> Inspection:
    return inspect_upload(
        folder / "upload", folder / "out", declared=declared, filename="x", scanner_time_limit_s=20.0
    )


@pytest.mark.parametrize(
    ("write", "container", "key", "reader"),
    [
        (write_open_clip, "torch_zip", "", "torch.load"),
        (BENIGN["tensors_in_one_storage"], "torch_zip", "", "torch.load"),
        (BENIGN["prefixed_and_nested"], "torch_zip", "state_dict", "torch.load"),
        (write_open_clip_safetensors, "safetensors", "", "safetensors"),
    ],
)
def test_a_file_that_both_read_alike_is_the_same(
    write: Callable[[Path], object], container: str, key: str, reader: str, tmp_path: Path
) -> None:
    write(tmp_path / "upload")
    found = compare(tmp_path / "upload", container, key)
    assert (found.outcome, found.detail) == ("same", "")
    assert found.reader.startswith(reader)
    assert found.num_tensors > 50


_FIRST_OTHER_COPY = """
import sys
from pathlib import Path
from sanitizer.checkpoints.comparison_process import first_other_copy
print(first_other_copy(Path(sys.argv[1])))
"""


def test_a_storage_that_torch_copies_otherwise_than_it_maps_it_is_found(tmp_path: Path) -> None:
    """Our own gate refuses this file, so the comparison's half is asked by itself."""
    HOSTILE["a_storage_that_is_a_folder"].write(tmp_path / "upload", tmp_path / "canary")
    answer = subprocess.run(
        [sys.executable, "-c", _FIRST_OTHER_COPY, str(tmp_path / "upload")],
        env=os.environ | comparison.FILLED_MEMORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout == "data/5\n"


def test_a_file_that_torch_does_not_open_is_not_compared_and_the_reason_is_said(tmp_path: Path) -> None:
    write_research(tmp_path / "upload")
    found = compare(tmp_path / "upload", "torch_zip", "state_dict")
    assert found.outcome == "not_opened"
    assert "multiarray.scalar" in found.detail


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, -0.0])},
        {"a": torch.tensor([1.0, 0.0], dtype=torch.float64)},
        {"a": torch.tensor([[1.0, 0.0]])},
        {"a": torch.tensor([1.0, 0.0]), "b": torch.ones(1)},
        {},
    ],
)
def test_another_bit_shape_type_or_name_is_a_difference(other: dict[str, Tensor]) -> None:
    ours = {"a": torch.tensor([1.0, 0.0])}
    assert first_difference(ours, set(other), other.__getitem__) in {"a", "b"}
    assert first_difference(ours, set(ours), ours.__getitem__) is None


def test_a_difference_refuses_the_file_and_nothing_is_left(
    tmp_path: Path, declared: DeclaredOptions, answer: Answer
) -> None:
    said = '{"outcome": "different", "reader": "torch.load 9", "num_tensors": 1, "detail": "visual.proj"}'
    answer(f"print('{said}')")
    write_open_clip(tmp_path / "upload")
    with pytest.raises(CheckpointRejected) as refused:
        inspected(tmp_path, declared)
    assert (refused.value.code, refused.value.where) == ("read_otherwise", "visual.proj")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("program", ["import os; os.abort()", "print('{}')", "print('x' * 300_000)"])
def test_a_comparison_that_breaks_refuses_nothing_and_is_not_told_as_one(
    program: str, tmp_path: Path, declared: DeclaredOptions, answer: Answer
) -> None:
    answer(program)
    write_open_clip(tmp_path / "upload")
    assert "were not compared" in inspected(tmp_path, declared).findings[-1]


def test_a_torchscript_archive_is_not_loaded_for_comparison(
    tmp_path: Path, declared: DeclaredOptions, answer: Answer
) -> None:
    answer("raise SystemExit('not reached')")
    write_openai_torchscript(tmp_path / "upload")
    assert "would run the archive's code" in inspected(tmp_path, declared).findings[-1]
