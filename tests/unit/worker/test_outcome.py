"""What a child's end means: results only where status, outcome and files agree; else a code."""

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import RESUMABLE_ENDINGS, JobKind
from app.storage.errors import AccessDenied, ClockWrong, ObjectNotFound, StorageError, StoreUnavailable
from cleanclip.vocabulary.jobspec import EXIT_INTERRUPTED, EXIT_REFUSED, MAX_SCAN_STATE_BYTES
from worker.confinement import outcome
from worker.confinement.guard import SETUP_FAILED
from worker.confinement.outcome import Seen, interpret, is_disk_full, wanted_outputs
from worker.failures import LOG_LABEL, AttemptFailed, from_os, from_storage
from worker.publishing.output_bounds import REPORT_BYTES, output_bytes, state_bytes
from worker.staging.stage import Received

WANTED = {"report.json": 2**21}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "report.json").write_text("{}")
    return tmp_path


def leave(folder: Path, **outcome: Any) -> None:
    (folder / "outcome.json").write_text(json.dumps({"status": "succeeded"} | outcome))


def failure(folder: Path, status: int, *, attempts_used: int = 1, log_tail: str = "") -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        interpret(
            Seen(status=status),
            folder,
            WANTED,
            attempts_used=attempts_used,
            log_tail=log_tail,
            max_bytes=2**20,
        )
    return failed.value


def test_the_files_of_a_success_are_returned(folder: Path) -> None:
    leave(folder, outputs=["report.json"])
    paths = interpret(Seen(status=0), folder, WANTED, attempts_used=1, log_tail="", max_bytes=2**20)
    assert paths == (folder / "outputs" / "report.json",)


def test_a_refusal_keeps_the_librarys_code_and_is_not_tried_again(folder: Path) -> None:
    refusal = {"code": "zip_truncated", "message": "M.", "remedy": "R.", "where": "data.pkl"}
    leave(folder, status="refused", failure=refusal)
    failed = failure(folder, EXIT_REFUSED)
    assert (failed.code, failed.message, failed.said) == (
        "zip_truncated",
        "The archive is cut off.",
        "M. (at data.pkl)",
    )
    assert failed.retry_in_s is None


@pytest.mark.parametrize(
    "outcome",
    [
        {"status": "refused", "outputs": ["report.json"]},
        {"status": "unheard of"},
        {"surprise": "x" * 2_000_000},
    ],
)
def test_an_outcome_that_does_not_hold_is_not_believed(folder: Path, outcome: dict[str, Any]) -> None:
    leave(folder, **outcome)
    assert failure(folder, 0).code == "outputs_unusable"


def test_no_outcome_at_all_is_no_success(folder: Path) -> None:
    assert failure(folder, 0).code == "outputs_unusable"


@pytest.mark.parametrize(
    "names",
    [
        ["../outcome.json"],
        ["missing.json"],
        ["report.json", "report.json"],
        ["report.json", "model.pkl"],
        [f"{n}.json" for n in range(100)],
        [],
    ],
)
def test_other_files_than_the_job_has_are_not_believed(folder: Path, names: list[str]) -> None:
    leave(folder, outputs=names)
    failed = failure(folder, 0)
    assert (failed.code, failed.retry_in_s) == ("outputs_rejected", None)


@pytest.mark.parametrize(
    "name", ["index.html", "model.pkl", "run.sh", ".hidden", "statement.json", "model.sig"]
)
def test_a_file_that_lies_there_unnamed_fails_the_job_too(folder: Path, name: str) -> None:
    (folder / "outputs" / name).write_text("<script>alert(1)</script>")
    leave(folder, outputs=["report.json"])
    assert failure(folder, 0).code == "outputs_rejected"


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "nothing"])
def test_only_a_plain_file_is_an_output(folder: Path, tmp_path: Path, kind: str) -> None:
    path = folder / "outputs" / "report.json"
    path.unlink()
    (tmp_path / "of somebody else").write_text("secret")
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "hard link":
        os.link(tmp_path / "of somebody else", path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    leave(folder, outputs=["report.json"])
    assert failure(folder, 0).code == "outputs_rejected"


def test_a_folder_of_outputs_that_is_a_link_is_not_followed(folder: Path) -> None:
    (folder / "outputs").rename(folder / "elsewhere")
    (folder / "outputs").symlink_to(folder / "elsewhere")
    leave(folder, outputs=["report.json"])
    assert failure(folder, 0).code == "outputs_rejected"


def test_outputs_that_claim_more_than_a_job_may_write_are_not_taken(folder: Path) -> None:
    leave(folder, outputs=["report.json"])
    for size_bytes, most in ((2**20 + 1, 2**20), (WANTED["report.json"] + 1, 2**30)):
        (folder / "outputs" / "report.json").write_bytes(bytes(size_bytes))
        with pytest.raises(AttemptFailed, match=r"more than|larger") as failed:
            interpret(Seen(status=0), folder, WANTED, attempts_used=1, log_tail="", max_bytes=most)
        assert failed.value.code == "outputs_rejected"


def test_a_file_with_holes_is_not_taken_for_weights(folder: Path) -> None:
    """It takes no room here, and would be hashed, uploaded and kept as gigabytes of zeros."""
    sparse, names = folder / "outputs" / "model.safetensors", {**WANTED, "model.safetensors": None}
    sparse.write_bytes(b"begins like any other")
    os.truncate(sparse, 10 * 2**20)
    leave(folder, outputs=["report.json", "model.safetensors"])
    with pytest.raises(AttemptFailed, match="holes"):
        interpret(Seen(status=0), folder, names, attempts_used=1, log_tail="", max_bytes=2**40)
    sparse.write_bytes(bytes(10 * 2**20))
    assert len(interpret(Seen(status=0), folder, names, attempts_used=1, log_tail="", max_bytes=2**40)) == 2


def received(path: str, size_bytes: int) -> Received:
    return Received(path=path, size_bytes=size_bytes, sha256="0" * 64)


def test_what_a_job_may_leave_follows_from_what_it_was_given() -> None:
    weights = (received("inputs/checkpoint/model.safetensors", 10**9), received("inputs/pairs/0.tar", 10**12))
    assert output_bytes(JobKind.SANITIZE, weights) == 4 * 10**9 + REPORT_BYTES
    assert output_bytes(JobKind.INSPECT, (received("inputs/upload", 10**9),)) == 4 * 10**9 + REPORT_BYTES
    assert output_bytes(JobKind.AUDIT, weights) == output_bytes(JobKind.VALIDATE, weights) == REPORT_BYTES
    assert state_bytes(JobKind.SANITIZE, weights) == 10 * 10**9 + REPORT_BYTES
    assert state_bytes(JobKind.SCAN, weights) == MAX_SCAN_STATE_BYTES


@pytest.mark.parametrize(
    "said",
    [
        {"code": "Not A Code"},
        {"code": "x" * 81},
        {"message": "x" * 10_001},
        {"phase": "x" * 201},
    ],
)
def test_a_reason_that_no_library_gives_is_not_believed(folder: Path, said: dict[str, str]) -> None:
    leave(folder, status="refused", failure={"code": "c", "message": "m", "remedy": "r"} | said)
    assert failure(folder, EXIT_REFUSED).code == "outputs_unusable"


def test_a_long_reason_is_cut_because_every_list_carries_it(folder: Path) -> None:
    refusal = {"code": "zip_truncated", "message": "m" * 9000, "remedy": "r" * 9000, "where": "w" * 9000}
    leave(folder, status="refused", failure=refusal)
    reported = failure(folder, EXIT_REFUSED).as_row(None)
    assert (len(reported["said"]), "mm" in reported["message"], "where" in reported) == (300, False, False)


def test_weights_are_no_larger_than_those_that_came_in(folder: Path) -> None:
    names = wanted_outputs(JobKind.INSPECT, weights_bytes=4096)
    for name in names:
        (folder / "outputs" / name).write_text("{}")
    (folder / "outputs" / "report.json").unlink()
    leave(folder, outputs=list(names))
    assert len(interpret(Seen(status=0), folder, names, attempts_used=1, log_tail="", max_bytes=2**40)) == 3
    (folder / "outputs" / "model.safetensors").write_bytes(bytes(4097))
    with pytest.raises(AttemptFailed, match=r"model\.safetensors has more than 4096 bytes"):
        interpret(Seen(status=0), folder, names, attempts_used=1, log_tail="", max_bytes=2**40)


def test_an_outcome_that_is_a_link_or_a_pipe_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "outcome.json")
    assert failure(folder, 0).code == "outputs_unusable"


@pytest.mark.parametrize(
    ("status", "log_tail", "code"),
    [
        (-signal.SIGKILL, "", "child_killed"),
        (-signal.SIGSEGV, "", "child_crashed"),
        (-signal.SIGXCPU, "", "child_crashed"),
        (-40, "", "child_crashed"),
        (1, "Traceback", "child_crashed"),
        (1, "MemoryError: out of memory\n", "child_crashed"),
        (1, "OSError: [Errno 28] No space left on device: 'state'", "child_crashed"),
        (1, "Disk quota exceeded", "child_crashed"),
        (EXIT_INTERRUPTED, "", "child_crashed"),
        (SETUP_FAILED, "guard: OSError", "child_crashed"),
    ],
)
def test_however_a_child_ends_and_whatever_it_says_the_attempt_counts_and_later_ones_wait_longer(
    folder: Path, status: int, log_tail: str, code: str
) -> None:
    waits = [failure(folder, status, attempts_used=n, log_tail=log_tail).retry_in_s for n in (1, 2, 3)]
    assert waits == [0.0, 30.0, 60.0]
    failed = failure(folder, status, log_tail=log_tail)
    assert (failed.code, failed.counts) == (code, True)
    assert code not in RESUMABLE_ENDINGS
    assert failed.as_row("finetune").get("log_tail", "").removeprefix(LOG_LABEL) == log_tail


def test_a_child_that_never_ran_does_not_count_whatever_its_status(folder: Path) -> None:
    leave(folder, outputs=["report.json"])
    for status in (0, EXIT_REFUSED, SETUP_FAILED, -signal.SIGKILL):
        with pytest.raises(AttemptFailed) as failed:
            interpret(
                Seen(status=status, was_set_up=False),
                folder,
                WANTED,
                attempts_used=1,
                log_tail="",
                max_bytes=2**20,
            )
        assert (failed.value.code, failed.value.counts) == ("sandbox_failed", False)


def test_whether_the_disk_is_full_says_the_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_disk_full(folder)
    monkeypatch.setattr(outcome, "is_disk_full", lambda _: True)
    failed = failure(folder, 1)
    assert (failed.code, failed.counts) == ("disk_full", False)
    assert failed.retry_in_s


def test_a_quota_that_is_used_up_is_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert is_disk_full(folder)


def test_errors_that_a_child_can_bring_about_in_its_folder_count_once_it_ran() -> None:
    for number in (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, None):
        error = OSError(number, "no") if number else TimeoutError("a process of the job does not end")
        assert from_os(error, child_ran=True).counts is True
        assert from_os(error, child_ran=False).counts is False
    assert from_os(OSError(errno.EIO, "no"), child_ran=True).counts is False
    assert from_os(OSError(errno.ENOSPC, "no"), child_ran=True).code == "disk_full"


def test_outputs_that_the_child_locked_us_out_of_are_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(folder, outputs=["report.json"])

    def no(_: Any) -> list[str]:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "listdir", no)
    assert failure(folder, 0).code == "outputs_rejected"


@pytest.mark.parametrize("status", [-signal.SIGKILL, 1, 121])
def test_a_limit_of_the_container_is_no_fault_of_the_jobs(folder: Path, status: int) -> None:
    with pytest.raises(AttemptFailed) as failed:
        interpret(
            Seen(status=status, container_ran_out=True),
            folder,
            WANTED,
            attempts_used=3,
            log_tail="",
            max_bytes=2**20,
        )
    assert (failed.value.code, failed.value.counts) == ("worker_out_of_memory", False)
    assert failed.value.retry_in_s
    leave(folder, outputs=["report.json"])
    seen = Seen(status=0, container_ran_out=True)
    done = interpret(seen, folder, WANTED, attempts_used=1, log_tail="", max_bytes=2**20)
    assert done, "what succeeded all the same has succeeded"


def test_what_the_store_does_not_do_does_not_count() -> None:
    for error in (StoreUnavailable("key: 503"), ClockWrong("key: 403"), StorageError("key: 500")):
        assert from_storage(error).counts is False
    assert from_storage(ObjectNotFound("key: 404")).counts is True


def test_a_store_that_does_not_believe_our_clock_is_no_fault_of_the_jobs() -> None:
    refused, wrong = from_storage(AccessDenied("key: 403")), from_storage(ClockWrong("key: 403"))
    assert (refused.code, refused.retry_in_s) == ("input_not_readable", None)
    assert wrong.code == "worker_clock_wrong"
    assert wrong.retry_in_s
