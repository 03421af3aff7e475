"""How a child is started: nothing of the worker's environment, limits by kind."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.states import JobKind
from cleanclip.vocabulary.jobspec import TOKENIZERS_VARIABLE, MaxRanks
from worker.confinement import sandbox
from worker.confinement.file_access import READ, rules
from worker.confinement.sandbox import ChildLimits, Isolation, environment, finds_cuda, rlimits

LIMITS = ChildLimits(memory_bytes=2**33, file_bytes=2**30, hostile_cpu_s=60)


def test_nothing_but_a_short_named_list_is_passed_on() -> None:
    worker = {"PATH": "/bin", "CLEANCLIP_STORAGE__SECRET_KEY": "s", "AWS_PROFILE": "x", "HOME": "/root"}
    child = environment(Path("/job"), LIMITS, worker)
    assert child["PATH"] == "/bin"
    assert child["HOME"] == "/job/home"
    assert not {"CLEANCLIP_STORAGE__SECRET_KEY", "AWS_PROFILE"} & set(child)
    assert child["CUDA_VISIBLE_DEVICES"] == "", "no GPU where none is to be used"


def test_a_gpu_is_passed_on_where_it_is_used() -> None:
    limits = ChildLimits(memory_bytes=None, file_bytes=1, hostile_cpu_s=None, uses_cuda=True)
    assert environment(Path("/job"), limits, {"CUDA_VISIBLE_DEVICES": "3"})["CUDA_VISIBLE_DEVICES"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in environment(Path("/job"), limits, {})


def test_a_child_may_read_the_operators_tokenizers_and_is_told_where_they_are(tmp_path: Path) -> None:
    shelf, job = tmp_path / "shelf", tmp_path / "job"
    shelf.mkdir()
    job.mkdir()
    limits = replace(LIMITS, tokenizers_dir=shelf)
    assert environment(job, limits, {})[TOKENIZERS_VARIABLE] == str(shelf)
    assert TOKENIZERS_VARIABLE not in environment(job, LIMITS, {TOKENIZERS_VARIABLE: "/of/the/worker"})
    allowed = dict(rules(job, ["/bin/true"], {}, uses_cuda=False, also=shelf))
    assert allowed[str(shelf)] == READ
    assert str(shelf) not in dict(rules(job, ["/bin/true"], {}, uses_cuda=False))


def test_the_address_space_is_limited_except_where_the_driver_maps_more_than_it_uses() -> None:
    assert rlimits(LIMITS, JobKind.SANITIZE, "full")["AS"] == 2**33
    on_gpu = ChildLimits(memory_bytes=2**33, file_bytes=1, hostile_cpu_s=None, uses_cuda=True)
    assert "AS" not in rlimits(on_gpu, JobKind.SANITIZE, "full")


def test_processor_time_is_limited_apart_for_hostile_bytes_and_for_training() -> None:
    limits = replace(LIMITS, training_cpu_s=7200)
    for kind, seconds in ((JobKind.INSPECT, 60), (JobKind.VALIDATE, 60), (JobKind.SANITIZE, 7200)):
        assert limits.cpu_s(kind) == seconds
        assert rlimits(limits, kind, "full")["CPU"] == seconds + 300, "the supervisor sees it first"
    assert "CPU" not in rlimits(LIMITS, JobKind.AUDIT, "full")


def test_processes_are_counted_only_where_the_count_is_our_own() -> None:
    assert "NPROC" in rlimits(LIMITS, JobKind.AUDIT, "network")
    assert "NPROC" not in rlimits(LIMITS, JobKind.AUDIT, "none")


@pytest.mark.parametrize(
    ("asked", "isolation", "devices", "allowed"),
    [
        (1, "none", 8, 1),
        (2, "full", 0, 2),
        (2, "network", 0, 2),
        (2, "none", 8, 1),
        ("auto", "full", 8, "auto"),
        ("auto", "full", 1, 1),
        ("auto", "none", 8, 1),
    ],
)
def test_ranks_need_a_network_of_their_own_and_auto_more_than_one_gpu(
    monkeypatch: pytest.MonkeyPatch,
    asked: MaxRanks,
    isolation: Isolation,
    devices: int,
    allowed: MaxRanks,
) -> None:
    found = [f"/dev/nvidia{number}" for number in range(devices)]
    monkeypatch.setattr(sandbox.glob, "glob", lambda pattern: found)
    assert sandbox.allowed_ranks(asked, isolation, uses_cuda=devices > 0) == allowed


def test_a_device_that_was_named_is_believed() -> None:
    assert finds_cuda("cuda")
    assert not finds_cuda("cpu")
