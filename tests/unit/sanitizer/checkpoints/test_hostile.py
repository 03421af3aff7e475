"""Every hostile file is refused with its own code, runs nothing, and leaves nothing behind."""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.reading import read_upload
from tests.fixtures import pickle_assembly as asm
from tests.fixtures.checkpoints import (
    VIT_CONFIG,
    cast,
    tiny_clip,
    write_huggingface_bin,
    write_open_clip_safetensors,
    write_openai_torchscript,
    write_research,
)
from tests.fixtures.hostile.canaries import CONTROLS, CanaryPort
from tests.fixtures.hostile.corpus import HOSTILE
from tools.reference import codes


@pytest.fixture(scope="module")
def port() -> Iterator[CanaryPort]:
    """A TCP port that payloads connect to."""
    with CanaryPort() as listening:
        yield listening


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason_and_runs_nothing(
    name: str, tmp_path: Path, port: CanaryPort, declared: DeclaredOptions
) -> None:
    """Here in one process and without a sandbox, where nothing but the reader itself stands in the way."""
    file = HOSTILE[name]
    upload, canary, out = tmp_path / "upload", tmp_path / "canary", tmp_path / "out"
    port.announce(canary)
    file.write(upload, canary)

    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(upload, out, declared=declared, filename="model.pt")

    assert refused.value.code == file.code
    assert file.says in f"{refused.value.message} | {refused.value.where}"
    assert not canary.exists()
    assert not port.was_called()
    assert not out.exists()
    for sentence in (refused.value.message, refused.value.remedy, refused.value.where or ""):
        assert sentence.isprintable()
        assert len(sentence) < 400
    if file.code in {"pickle_forbidden_global", "legacy_pickle"}:
        assert refused.value.remedy.startswith("Do not load this file"), "that would run it"
    _REASONS[name] = (refused.value.code, refused.value.message)


_REASONS: dict[str, tuple[str, str]] = {}
# The same cause in two disguises: these alone may be given one sentence.
_SAME_CAUSE = (
    {"trailing_data", "zip_and_pickle", "zip_that_begins_like_safetensors"},
    {"module_without_tensors", "safetensors_without_tensors"},
    {"tensors_without_end", "twenty_thousand_tensors"},
    {"expanded_tensor", "overlapping_strides"},
    {"parameter_with_a_call_as_hooks", "weights_in_the_arguments_of_a_table"},
    {"floats_in_the_optimizer_halves_in_the_weights", "floats_and_halves_in_one_plain_state_dict"},
    {"weights_in_a_counter", "state_dict_without_tensors_beside_the_model"},
    {"torchscript_that_changes_its_weights_while_loaded", "torchscript_that_hides_its_code"},
    {"names_that_are_calls", "names_that_are_tuples_with_a_call"},
    {
        "a_second_model_without_names",
        "a_second_model_in_pairs",
        "a_second_model_in_capitals",
        "a_second_model_with_a_suffix",
        "a_second_model_under_many_prefixes",
        "a_second_model_as_the_state_of_an_optimizer",
        "a_second_model_as_an_optimizers_master_weights",
        "a_second_model_behind_one_number",
        "a_second_model_behind_the_weights",
    },
    {"tarred_checkpoint", "zip_that_is_a_tar", "zip_that_is_an_old_tar"},
)


def test_every_cause_has_its_own_sentence() -> None:
    """After the test above, of which it needs every case."""
    if len(_REASONS) < len(HOSTILE):
        pytest.skip("only a part of the corpus was run")
    by_sentence: dict[tuple[str, str], set[str]] = {}
    for name, reason in _REASONS.items():
        by_sentence.setdefault(reason, set()).add(name)
    shared = [names for names in by_sentence.values() if len(names) > 1]
    assert [names for names in shared if names not in _SAME_CAUSE] == []


def test_the_corpus_is_large_and_says_what_each_file_tries() -> None:
    assert len(HOSTILE) >= 250
    assert all(len(file.tries) > 10 and file.says for file in HOSTILE.values())
    assert len({file.tries for file in HOSTILE.values()}) == len(HOSTILE)


@pytest.mark.parametrize("name", CONTROLS)
def test_the_payloads_would_betray_themselves_if_they_ran(
    name: str, tmp_path: Path, port: CanaryPort
) -> None:
    """The tests above mean nothing unless the payloads work: Python's own unpickler, elsewhere, runs them."""
    upload, canary = tmp_path / "upload", tmp_path / "canary"
    port.announce(canary)
    HOSTILE[name].write(upload, canary)
    subprocess.run([sys.executable, "-c", _LOAD, str(upload)], check=False, timeout=60, capture_output=True)
    assert canary.exists() == (CONTROLS[name] != "port")
    expected = CONTROLS[name] != "file"
    assert port.was_called(within_s=10.0 if expected else 0.0) == expected


_LOAD = """
import io, pickle, sys, zipfile
if zipfile.is_zipfile(sys.argv[1]):
    archive = zipfile.ZipFile(sys.argv[1])
    data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
else:
    data = open(sys.argv[1], "rb").read()
class Unpickler(pickle.Unpickler):
    def persistent_load(self, pid):
        return None
Unpickler(io.BytesIO(data)).load()
"""


def test_code_inside_a_torchscript_archive_is_never_run(tmp_path: Path, declared: DeclaredOptions) -> None:
    """Good tensors, and next to them code that would run: only the tensors are read."""
    canary = tmp_path / "canary"
    state = cast(tiny_clip(VIT_CONFIG).state_dict(), torch.float16)
    modules: dict[str, bytes] = {}
    nested: dict[str, list[tuple[bytes, bytes]]] = {}
    for index, (name, tensor) in enumerate(state.items()):
        described = asm.tensor(str(index), tuple(tensor.shape), storage="HalfStorage")
        parent, _, leaf = name.rpartition(".")
        nested.setdefault(parent, []).append((asm.text(leaf), described))
        while parent:
            parent = parent.rpartition(".")[0]
            nested.setdefault(parent, [])
    for parent in sorted(nested, key=lambda path: -path.count(".") if path else 1):
        attributes = list(nested[parent])
        children = [path for path in modules if path.rpartition(".")[0] == parent and path]
        attributes += [(asm.text(child.rpartition(".")[2]), modules.pop(child)) for child in children]
        modules[parent] = asm.named("__torch__.evil", "M") + b")\x81" + asm.table(attributes) + b"b"
    run = asm.PROTO2 + asm.call(asm.named("os", "system"), asm.text(f"touch {canary}")) + asm.STOP
    members = asm.storages_of(state) | {
        "constants.pkl": b"\x80\x02).",
        "code/__torch__/evil.py": f"import os\nos.system('touch {canary}')\n".encode(),
        "code/__torch__/evil.py.debug_pkl": run,
    }
    asm.write_archive(tmp_path / "upload", asm.PROTO2 + modules[""] + asm.STOP, members)

    read = read_upload(tmp_path / "upload", declared=declared, filename="clip.pt")

    assert read.layout == "openai_torchscript"
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in state.items())
    assert not canary.exists()


def test_a_file_whose_digest_is_not_the_declared_one_is_refused(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    write_open_clip_safetensors(tmp_path / "upload")
    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(
            tmp_path / "upload", tmp_path / "out", declared=declared, filename="x", expected_sha256="0" * 64
        )
    assert refused.value.code == "digest_mismatch"


def test_every_code_of_a_hostile_file_is_in_the_reference() -> None:
    """That the reference has every code which the source raises is held by tests/docs/test_reference.py."""
    assert {file.code for file in HOSTILE.values()} <= set(codes.of_the_library()["checkpoints"])


WRITERS = (write_research, write_openai_torchscript, write_open_clip_safetensors, write_huggingface_bin)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: str(writer.__name__))
def test_a_file_with_random_damage_is_refused_or_read_but_never_breaks_the_reader(
    writer: type, tmp_path: Path, declared: DeclaredOptions
) -> None:
    """Sixty files a layout, damaged where their structure is: in the header, the pickle, the directory."""
    rng = random.Random(writer.__name__)
    writer(tmp_path / "good", torch.float16)
    good = (tmp_path / "good").read_bytes()
    num_refused = 0
    for _ in range(60):
        (tmp_path / "bad").write_bytes(_damaged(good, rng))
        try:
            read_upload(tmp_path / "bad", declared=declared, filename="x")
        except CheckpointRejected:
            num_refused += 1
    assert num_refused > 30


def _damaged(good: bytes, rng: random.Random) -> bytes:
    if good[:2] != b"PK":
        data = bytearray(good)
        for _ in range(2):
            data[rng.randrange(int.from_bytes(good[:8], "little"))] = rng.choice(b'09"]}\x00\xff')
        return bytes(data)
    if rng.random() < 0.3:
        data = bytearray(good)
        data[rng.randrange(len(data) - 4000, len(data))] = rng.randrange(256)
        return bytes(data)
    return _with_damaged_pickle(good, rng)


def _with_damaged_pickle(good: bytes, rng: random.Random) -> bytes:
    """The same archive, packed again with right checksums around a pickle that was tampered with."""

    def damage(pickled: bytes) -> bytes:
        data = bytearray(pickled)
        at = rng.randrange(len(data))
        if rng.random() < 0.7:
            data[at] = rng.randrange(256)
        else:
            del data[at : at + rng.randint(1, 6)]
        return bytes(data)

    return asm.repacked(good, damage)
