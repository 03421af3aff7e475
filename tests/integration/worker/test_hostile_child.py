"""A child that misbehaves harms nobody: not the supervisor, not its secrets, not other files."""

import contextlib
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.db.models.job import Job
from app.db.repositories import job_changes
from app.domain.states import DatasetKind, DatasetState, JobState
from lab.drills.processes import processes_in
from tests.integration.worker.world import AUDIT, RECIPE, World, wait_until
from worker import supervision
from worker.confinement import child_output, sandbox
from worker.confinement.child import Child
from worker.confinement.sandbox import ChildLimits, strongest_isolation

HOSTILE = Path(__file__).with_name("hostile_child.py")
LIMITS = ChildLimits(memory_bytes=2**32, file_bytes=2**30, hostile_cpu_s=60, num_threads=1)
_LEVELS = ["full", "network", "none"]
CANARY = "canary-9f3a1c"


def error_of(world: World, job_id: str) -> dict[str, Any]:
    error = world.job(job_id).error
    assert error is not None
    return error


def test_a_child_that_crashes_every_time_ends_failed_with_the_tail_of_its_log(world: World) -> None:
    job = world.audit_job(max_attempts=2)
    assert world.runner("crash").run(job.id) is JobState.QUEUED
    assert world.runner("crash").run(job.id) is JobState.FAILED
    error = error_of(world, job.id)
    assert error["code"] == "child_crashed"
    assert "SIGSEGV" in error["message"]
    assert "something went wrong here" in error["log_tail"]
    assert error["retryable"] is True
    assert world.job(job.id).attempts_used == 2


def test_the_third_attempt_waits_and_the_second_does_not(world: World) -> None:
    job = world.audit_job(max_attempts=3)
    assert world.runner("crash").run(job.id) is JobState.QUEUED
    assert world.job(job.id).not_before is None
    assert world.runner("crash").run(job.id) is JobState.QUEUED
    assert world.job(job.id).not_before is not None
    assert world.runner().run(job.id) is None, "not before its time"


def test_a_child_that_outgrows_the_address_space_fails_by_itself(world: World) -> None:
    job = world.audit_job(max_attempts=1)
    assert world.runner("eat_memory", limits={"memory_bytes": 300 * 2**20}).run(job.id) is JobState.FAILED
    error = error_of(world, job.id)
    assert error["code"] == "child_crashed", "what it says of memory is quoted"
    assert "MemoryError" in error["log_tail"]


def test_resident_memory_is_watched_where_the_address_space_cannot_be_limited(world: World) -> None:
    job = world.audit_job(max_attempts=1)
    limits = {"memory_bytes": 300 * 2**20, "uses_cuda": True}
    assert world.runner("eat_memory", limits=limits).run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "out_of_memory"


def test_a_child_that_floods_its_output_is_stopped(world: World) -> None:
    job = world.audit_job(max_attempts=1)
    assert world.runner("flood_events").run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "child_nonsense"


def test_a_flood_of_log_lines_fills_no_disk_and_its_end_is_kept(world: World) -> None:
    job = world.audit_job(max_attempts=1)
    running = world.start(job.id, "flood_log")
    largest = 0
    while world.job(job.id).state is not JobState.FAILED:
        with contextlib.suppress(FileNotFoundError):  # removed just now
            largest = max([largest, *(path.stat().st_size for path in world.work_dir.glob("*/logs/*"))])
        assert running.error is None
    running.join()
    assert 0 < largest <= 4 * 2**20
    assert error_of(world, job.id)["code"] == "loss_diverged"


def test_a_job_that_takes_longer_than_its_rows_is_ended_for_good_whatever_its_process_says(
    world: World,
) -> None:
    job = world.sanitize_job(max_attempts=3)
    assert world.runner("work_until_told", wall_factor=0.0005).run(job.id) is JobState.FAILED
    error, row = error_of(world, job.id), world.job(job.id)
    assert (error["code"], error["retryable"], row.attempts_used) == ("wall_time_exceeded", False, 1)
    assert row.resume_state is None


def test_a_child_without_a_sign_of_life_is_stopped(world: World) -> None:
    job = world.audit_job(max_attempts=1)
    assert world.runner("wait_for_ever", limits={"stall_s": 2.0}).run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "child_stalled"


@pytest.mark.parametrize(
    "behaviour",
    [
        "point_outside",
        "say_nonsense",
        "leave_more",
        "leave_a_page_unnamed",
        "hand_in_another_mans_model",
    ],
)
def test_files_of_others_are_never_published_in_the_name_of_a_job(world: World, behaviour: str) -> None:
    """At the first attempt: who was taken over once would be again."""
    job = world.sanitize_job(max_attempts=3)
    assert world.runner(behaviour).run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "outputs_rejected"
    assert world.keys(f"outputs/{world.project_id}/") == []


@pytest.mark.parametrize("kind", ["sanitize", "audit"])
def test_an_honest_childs_figures_are_confirmed_by_a_second_audit(world: World, kind: str) -> None:
    job = recheck_job(world, kind)
    assert world.runner("work").run(job.id) is JobState.SUCCEEDED
    said = statement(world, job.id)["predicate"]["observed"]["recheck"]
    assert said == {
        "done": True,
        "why": "ordered",
        "num_withheld": 0,
        "tolerated_share": 0.0,
    }


def test_figures_that_fit_each_other_but_not_the_weights_are_not_published(world: World) -> None:
    """The careful liar: the poisoned weights as they came in, called cleaned, with an honest one's report."""
    unchecked, job = world.sanitize_job(), recheck_job(world, "sanitize")
    assert world.runner("invent_figures").run(unchecked.id) is JobState.SUCCEEDED, "nothing else tells"
    assert statement(world, unchecked.id)["predicate"]["observed"]["recheck"]["done"] is False
    assert world.runner("invent_figures").run(job.id) is JobState.FAILED
    error = error_of(world, job.id)
    assert (error["code"], error["retryable"]) == ("figures_not_confirmed", False)
    assert "differs at after.ca" in error["message"]
    assert [key for key in world.keys(f"outputs/{world.project_id}/") if job.id in key] == []


def statement(world: World, job_id: str) -> Any:
    return json.loads(world.artifacts(job_id)["statement.json"])


def recheck_job(world: World, kind: str) -> Job:
    """As it is ordered by default, and with a second audit."""
    spec = {"version": 1, "audit": AUDIT | {"recheck": True}}
    if kind == "audit":
        return world.audit_job(spec=spec)
    return world.sanitize_job(spec=spec | {"recipe": RECIPE})


def test_a_pickle_never_becomes_canonical_weights(world: World) -> None:
    checkpoint, job = world.checkpoint()
    assert world.runner("inspect_a_pickle").run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "outputs_rejected"
    assert world.keys(f"checkpoints/{world.project_id}/{checkpoint.id}/") == []


def test_another_model_than_the_uploads_becomes_no_canonical_weights_of_it(world: World) -> None:
    checkpoint, job = world.checkpoint()
    assert world.runner("inspect_another_model").run(job.id) is JobState.FAILED
    error = error_of(world, job.id)
    assert error["code"] == "outputs_rejected"
    assert "second conversion" in error["message"]
    assert world.keys(f"checkpoints/{world.project_id}/{checkpoint.id}/") == []


def test_every_checkpoint_is_converted_again(world: World) -> None:
    checkpoint, job = world.checkpoint()
    assert world.runner("work").run(job.id) is JobState.SUCCEEDED
    with world.database.unit_of_work() as unit:
        inspection = unit.checkpoints.get(world.project_id, checkpoint.id).inspection
    assert inspection is not None
    assert inspection["converted_again"]


def test_a_validation_of_other_files_makes_no_data_set_ready(world: World) -> None:
    dataset, job = world.dataset(DatasetKind.PAIRS, {"0.tar": b"x"})
    assert world.runner("validate_other_files").run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "outputs_rejected"
    with world.database.unit_of_work() as unit:
        assert unit.datasets.get(world.project_id, dataset.id).state is DatasetState.REJECTED


def test_the_child_sees_no_secret_no_network_no_other_process_and_no_other_folder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANCLIP_STORAGE__SECRET_KEY", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", f"postgresql://u:{CANARY}@h/d")
    with socket.create_server(("127.0.0.1", 0)):
        job = world.audit_job()
        running = world.start(job.id, "look_around")
        wait_until(lambda: list(world.work_dir.glob("*/job/seen.json")), 30)
        pids = processes_in(world.work_dir)
        (path,) = world.work_dir.glob("*/job/seen.json")
        wait_until(lambda: path.stat().st_size > 0)
        seen = json.loads(path.read_text())
        assert pids
        for pid in pids:
            assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
            limits = Path(f"/proc/{pid}/limits").read_text()
            if "stand_in_child" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1]:
                assert _limit(limits, "Max address space") == 4 * 2**30
                assert _limit(limits, "Max core file size") == 0
                assert _limit(limits, "Max file size") == 2**30
        running.leaving.set()
        running.join()
    assert CANARY not in json.dumps(seen)
    status = dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)
    assert status["NoNewPrivs"].strip() == "1"
    assert int(status["CapEff"], 16) == 0
    assert set(seen["environment"]) <= {
        "PATH", "HOME", "TMPDIR", "LANG", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "MPLCONFIGDIR",
        "CUBLAS_WORKSPACE_CONFIG", "HF_HUB_OFFLINE", *sandbox.KEPT_HEAP,
        "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LC_CTYPE",
    }  # fmt: skip
    assert seen["environment"]["HOME"].startswith(str(world.work_dir))
    if strongest_isolation() == "full":
        assert seen["network"] != "open"
        assert seen["outside"] != "written"
        assert seen["num_processes"] == 2


def test_the_child_dies_with_its_supervisor(world: World, tmp_path: Path) -> None:
    """The supervisor here is a process of its own that only starts a child, then is killed."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from worker.confinement import sandbox\n"
        "from worker.confinement.child import Child\n"
        "folder = Path(sys.argv[1])\n"
        "sleeps = [sys.executable, '-c', 'import time; time.sleep(600)', str(folder)]\n"
        "command = sandbox.guarded_command(sleeps, folder, sandbox.strongest_isolation(), {})\n"
        "Child(command, environment={'PATH': '/usr/bin:/bin'}, folder=folder, log_path=folder / 'log',"
        " on_event=print)\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    folder = tmp_path / "job"
    folder.mkdir()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "started\n"
    wait_until(lambda: len(processes_in(folder)) >= 3)
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    wait_until(lambda: processes_in(folder) == [])


def _limit(limits: str, name: str) -> int:
    (line,) = [line for line in limits.splitlines() if line.startswith(name)]
    return int(line.removeprefix(name).split()[0])


def hostile(world: World, behaviour: str, **limits: Any) -> dict[str, Any]:
    """Run a hostile child to its end: the job fails, nothing of it is left; returns the row's error."""
    job = world.audit_job(max_attempts=1)
    command = (sys.executable, str(HOSTILE), behaviour)
    assert world.runner(child_command=command, limits=limits).run(job.id) is JobState.FAILED
    assert list(world.work_dir.iterdir()) == []
    wait_until(lambda: processes_in(world.work_dir) == [], 5)
    return error_of(world, job.id)


@pytest.mark.parametrize("behaviour", ["one_endless_line", "endless_good_events"])
def test_a_gigabyte_of_output_costs_the_supervisor_no_memory(world: World, behaviour: str) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert hostile(world, behaviour)["code"] == "child_flood"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 50 * 1024


def test_a_log_without_end_costs_the_supervisor_little_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a bound: 12 s of its processor time in 30."""
    monkeypatch.setattr(child_output, "STDERR_BYTES", child_output.Allowance(burst=16 * 2**20, per_s=1))
    before_s = time.process_time()
    error = hostile(world, "a_log_without_end")
    assert error["code"] == "child_flood"
    assert time.process_time() - before_s < 3


def test_a_child_that_tells_of_states_without_end_is_ended(world: World) -> None:
    job = world.sanitize_job(max_attempts=1)
    command = (sys.executable, str(HOSTILE), "tell_of_states_without_end")
    assert world.runner(child_command=command).run(job.id) is JobState.FAILED
    assert error_of(world, job.id)["code"] == "child_flood"
    assert "state_saved" in error_of(world, job.id)["message"]


def test_a_file_of_holes_is_not_published(world: World) -> None:
    error = hostile(world, "claim_a_report_of_holes")
    assert error["code"] == "outputs_rejected"
    assert "holes" in error["message"]


def test_a_child_that_starts_processes_without_end_is_ended_with_all_of_them(world: World) -> None:
    error = hostile(world, "start_processes_without_end", memory_bytes=None)
    assert error["code"] == "too_many_processes"


def test_a_child_that_fills_the_disk_is_stopped_at_its_allowance(world: World) -> None:
    error = hostile(world, "fill_the_disk_with_files", file_bytes=20 * 2**20)
    assert error["code"] == "disk_allowance_used_up"


def test_a_file_without_end_ends_at_its_limit(world: World) -> None:
    error = hostile(world, "write_one_file_without_end", file_bytes=20 * 2**20)
    assert error["code"] == "child_crashed"
    assert "SIGXFSZ" in error["message"]


def test_a_child_that_stands_still_is_found_out(world: World) -> None:
    assert hostile(world, "stop_itself", stall_s=2.0)["code"] == "child_stalled"


@pytest.mark.parametrize("isolation", ["full", "network", "none"])
def test_no_orphan_outlives_its_job_on_any_level(world: World, isolation: str, tmp_path: Path) -> None:
    """Without a namespace of processes, that nothing can leave its group must be enough."""
    if isolation not in _LEVELS[_LEVELS.index(strongest_isolation()) :]:
        pytest.skip("this machine cannot isolate so far")
    folder = tmp_path / "job"
    folder.mkdir()
    command = [sys.executable, str(HOSTILE), "leave_orphans_everywhere", str(folder)]
    heard: list[Any] = []
    child = Child(
        sandbox.guarded_command(command, folder, isolation, {}),  # type: ignore[arg-type]
        environment=sandbox.environment(folder, LIMITS, os.environ),
        folder=folder,
        log_path=tmp_path / "log",
        on_event=heard.append,
    )
    try:
        wait_until(lambda: heard)
        assert child.usage().num_processes >= 6
        child.terminate()
    finally:
        child.close()
    wait_until(lambda: processes_in(folder) == [], 5)


def test_no_child_is_left_running_when_the_watch_cannot_begin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(folder: Path, **_: Any) -> None:
        wait_until(lambda: any(_runs(HOSTILE, pid) for pid in processes_in(folder)))
        raise OSError(errno.EIO, "the folder cannot be read")

    monkeypatch.setattr(supervision, "disk_use", cannot)
    monkeypatch.setattr(job_changes, "MAX_LOST_ATTEMPTS", 1)
    assert hostile(world, "stop_itself")["code"] == "worker_io_error"


def _runs(program: Path, pid: int) -> bool:
    """Whether the guard has become it. A process has no command line while it turns into another program."""
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:2] == [str(program)]


def test_a_child_can_signal_nobody_but_itself(world: World) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert hostile(world, "kill_everybody", stall_s=2.0)["code"] in {"child_crashed", "child_stalled"}
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
