"""Zip files and pickles that are unusual and yet right, and the machine that reads pickles."""

import pickle
import random
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.one_format import check_is_one_format
from sanitizer.checkpoints.pickle_machine import ALLOWED_OPCODES, read_pickle
from sanitizer.checkpoints.pickle_values import Call, Global, NumberKey
from sanitizer.checkpoints.zip_container import open_zip
from tests.fixtures.checkpoints import VIT_CONFIG, tiny_clip


def names(path: Path) -> list[str]:
    return list(open_zip(MappedFile(path)))


def test_members_with_64_bit_sizes_are_read(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "x", "w") as archive,
        archive.open("a/data.pkl", "w", force_zip64=True) as file,
    ):
        file.write(b"hello")
    assert names(tmp_path / "x") == ["data.pkl"]


def test_members_with_data_descriptors_are_read(tmp_path: Path) -> None:
    """A writer that cannot seek puts sizes after the data."""

    class Pipe:
        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    pipe: Any = Pipe(tmp_path / "x")
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a/data.pkl", b"hello")
        archive.writestr("a/data/0", b"")
    pipe.file.close()
    assert names(tmp_path / "x") == ["data.pkl", "data/0"]


def test_a_zip64_directory_that_contradicts_the_old_one_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    at = data.rindex(b"PK\x06\x06")
    data[at + 24] += 1  # entries on this disk
    data[at + 32] += 1  # entries
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CheckpointRejected) as refused:
        names(tmp_path / "x")
    assert refused.value.code == "zip_layout_invalid"


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_an_archive_cut_anywhere_near_its_end_is_refused(cut: int, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:-cut])
    with pytest.raises(CheckpointRejected) as refused:
        names(tmp_path / "x")
    assert refused.value.code in ("zip_truncated", "zip_trailing_data")


def everything(found: Global) -> bool:
    return True


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_out_as_they_went_in(protocol: int) -> None:
    value: dict[Any, Any] = {
        "a": [1, -5, 2**40, -(2**70), True, None],
        "b": (1.5, "text", "ü" * 300, b"bytes", ()),
        "c": {"nested": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]},
        3: [],
    }
    read = read_pickle(pickle.dumps(value, protocol), member="data.pkl", is_allowed=everything)
    value[NumberKey(3)] = value.pop(3)
    if protocol == 2:  # which has no bytes of its own, and calls a function to make them
        assert isinstance(read.root["b"][3], Call)
        value["b"], read.root["b"] = (), ()
    assert read.root == value


def _num_probes(keys: list[Any]) -> int:
    """Places that CPython's dict looks at while it is filled with `keys` (Objects/dictobject.c)."""
    size = 1 << (len(keys) * 3 // 2).bit_length()
    taken = [False] * size
    total = 0
    for key in keys:
        perturb = hash(key) & (2**64 - 1)
        place, probes = perturb % size, 1
        while taken[place]:
            perturb >>= 5
            place, probes = (place * 5 + perturb + 1) % size, probes + 1
        taken[place] = True
        total += probes
    return total


def _numbers_that_collide(count: int) -> list[int]:
    """Half of them lie on the path that is searched in the end; the others, below 2^31, enter it early."""
    size = 1 << (count * 3 // 2).bit_length()
    path = [1]
    while len(path) < count // 2:
        path.append((path[-1] * 5 + 1) % size)
    places, begin = set(path), set(path[: len(path) // 4])
    rng, found = random.Random(0), set[int]()
    while len(found) < count - len(path):
        # Its low bits choose the first place, the others where the walk goes from there.
        number = rng.randrange(2**31)
        place, perturb, visited = number % size, number, []
        while perturb:
            visited.append(place)
            perturb >>= 5
            place = (place * 5 + perturb + 1) % size
        if place in begin and sum(one in places for one in visited) == len(visited):
            found.add(number)
    return [*path, *sorted(found)]


def test_numbers_that_a_stranger_chose_as_keys_do_not_share_a_chain_of_one_table() -> None:
    """344,283 of them took 309 s. Counted in steps of the search, not in seconds."""
    numbers = _numbers_that_collide(40)
    keys = list(read_pickle(pickle.dumps(dict.fromkeys(numbers), 2), member="x", is_allowed=everything).root)
    assert keys == numbers
    assert _num_probes(numbers) > 8 * len(numbers)
    assert _num_probes(keys) < 4 * len(numbers)


def test_the_next_memo_slot_is_the_number_of_those_that_are_filled() -> None:
    """As Python counts: MEMOIZE after a write into slot 5,000 takes slot 1."""
    pickled = b"\x80\x04]r" + (5000).to_bytes(4, "little") + b"}\x94h\x01\x87."
    read = read_pickle(pickled, member="x", is_allowed=everything)
    assert read.root == pickle.loads(pickled) == ([], {}, {})
    assert read.root[1] is read.root[2]


def test_a_class_becomes_a_record_and_is_not_called() -> None:
    data = pickle.dumps([OrderedDict(a=1), print], 2)
    read = read_pickle(data, member="data.pkl", is_allowed=everything)
    table, function = read.root
    assert table == {"a": 1}
    assert isinstance(function, Global)
    assert function.path in ("builtins.print", "__builtin__.print")


def test_a_reduction_becomes_a_record_of_what_it_would_have_called() -> None:
    data = pickle.dumps(complex(1, 2), 2)
    read = read_pickle(data, member="data.pkl", is_allowed=everything)
    assert isinstance(read.root, Call)
    assert read.root.args == (1.0, 2.0)


def test_shared_and_cyclic_values_are_one_object() -> None:
    shared: list[Any] = []
    shared.append(shared)
    read = read_pickle(pickle.dumps([shared, shared], 2), member="data.pkl", is_allowed=everything)
    assert read.root[0] is read.root[1]
    assert read.root[0][0] is read.root[0]


def test_no_instruction_that_calls_on_its_own_or_names_by_number_is_allowed() -> None:
    forbidden = {
        "INST",
        "OBJ",
        "EXT1",
        "EXT2",
        "EXT4",
        "NEWOBJ_EX",
        "PERSID",
        "NEXT_BUFFER",
        "DUP",
        "POP",
        "INT",
    }
    assert not forbidden & ALLOWED_OPCODES


@pytest.mark.slow
def test_reading_a_large_file_takes_little_more_memory_than_its_largest_tensor(tmp_path: Path) -> None:
    """Two word tables' worth of optimizer lie beside the weights; the peak is measured in a fresh process."""
    text = {**VIT_CONFIG["text_cfg"], "vocab_size": 100_000, "width": 128}
    state = tiny_clip({**VIT_CONFIG, "text_cfg": text}).state_dict()
    moments = {name: torch.rand(100_000, 128) for name in ("exp_avg", "exp_avg_sq")}
    torch.save({"state_dict": state, "optimizer": {"state": {0: moments}}}, tmp_path / "upload")
    size_kb = (tmp_path / "upload").stat().st_size // 1024
    assert size_kb > 150_000
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "upload"), str(tmp_path / "out")]
    grown_kb = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown_kb < 0.7 * size_kb


_MEASURE = """
import resource, sys
from pathlib import Path
from sanitizer.checkpoints.inspection import inspect_upload
from cleanclip.vocabulary.recipe import DeclaredOptions
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
options = DeclaredOptions(num_heads_text=2, num_heads_vision=2)
inspect_upload(Path(sys.argv[1]), Path(sys.argv[2]), declared=options, filename="x")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_no_length_of_an_honest_header_is_taken_for_a_pickle(tmp_path: Path) -> None:
    """Many begin as a pickle does: 640 is PROTO 2, 28,760 a text, 20,000 a line."""
    rng = random.Random(0)
    name = b'"visual.transformer.resblocks.0.attn.in_proj_weight":{"dtype":"F16","shape":[768,768]},'
    for length in range(64, 2**16, 24):
        header = (b'{"__metadata__":{"format":"pt"},' + name * (length // len(name) + 1))[:length]
        (tmp_path / "x").write_bytes(length.to_bytes(8, "little") + header + rng.randbytes(1024))
        check_is_one_format(MappedFile(tmp_path / "x"), "safetensors")
