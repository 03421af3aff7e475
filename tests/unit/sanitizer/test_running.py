"""A job folder through a real child process: events, outcomes, exit codes, and what a signal leaves.

One child is started by its command; the others are forked, and must leave the same bytes.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from safetensors.torch import load_file

from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.jobspec import (
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_SUCCEEDED,
    OUTCOME_ADAPTER,
    AuditSpec,
    JobSpec,
    SanitizeSpec,
)
from cleanclip.vocabulary.progress import Advanced, PhaseStarted, ProgressEvent, StateSaved
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe
from cleanclip.vocabulary.report import load_json
from sanitizer.pipeline.baseline import FILE_NAME
from sanitizer.work import running
from sanitizer.work.running import JsonLines, StopFlag, run
from tests.fixtures.audited import write_answered, write_model
from tests.fixtures.forked_child import ForkedChild
from tests.fixtures.sessions import members, wait_until_none_is_left
from tests.fixtures.shards import make_labelled, make_pairs, random_image

EVENT: TypeAdapter[ProgressEvent] = TypeAdapter(ProgressEvent)
AUDIT = AuditOptions(target="dog", attacks=(BadNetOptions(),))
SANITIZE = SanitizeSpec(
    recipe=CleanCLIPRecipe(epochs=40, batch_size=8, learning_rate=1e-4, warmup_steps=5),
    audit=AUDIT,
    seed=3,
    save_every_s=0.0,
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    make_pairs(folder / "pairs", 24)
    make_labelled(folder / "labelled", 12)
    return folder


def job(folder, inputs, spec: JobSpec):
    folder.mkdir()
    (folder / "inputs").symlink_to(inputs)
    (folder / "spec.json").write_bytes(SPEC_ADAPTER.dump_json(spec))
    return folder


def start(folder, *, cores: int = 1) -> ForkedChild:
    return ForkedChild(folder, cores=cores)


def finish(child: subprocess.Popen[bytes] | ForkedChild) -> list[ProgressEvent]:
    """Every line of stdout is an event, or this fails."""
    output, _ = child.communicate(timeout=240)
    return [EVENT.validate_json(line) for line in output.splitlines()]


def wait_for(child: ForkedChild, kind: type, num: int = 1) -> None:
    """Until the child has told of `num` events of this kind."""
    seen = 0
    for line in child.stdout:
        seen += isinstance(EVENT.validate_json(line), kind)
        if seen == num:
            return
    pytest.fail("the child ended early")


def outcome(folder):
    return OUTCOME_ADAPTER.validate_json((folder / "outcome.json").read_bytes())


@pytest.fixture(scope="module")
def uncut(tmp_path_factory, inputs):
    """The job that nobody disturbs: its folder and its events."""
    folder = job(tmp_path_factory.mktemp("uncut") / "job", inputs, SANITIZE)
    child = subprocess.Popen(
        [sys.executable, "-m", "sanitizer", "run", str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    events = finish(child)
    assert child.returncode == EXIT_SUCCEEDED
    return folder, events


@pytest.mark.slow
def test_a_job_ends_with_an_outcome_and_its_outputs(uncut):
    folder, events = uncut
    ended = outcome(folder)
    assert ended.status == "succeeded"
    assert set(ended.outputs) == {
        "config.json",
        "model.safetensors",
        "report.json",
        "training_curve.json",
    }
    assert load_json((folder / "outputs/report.json").read_bytes()).training.num_steps == 120
    assert [e.phase for e in events if isinstance(e, PhaseStarted)] == [
        "baseline_audit",
        "finetune",
        "final_audit",
    ]
    saved = [event for event in events if isinstance(event, StateSaved)]
    assert saved[-1].step == 120
    assert (folder / saved[-1].path / "manifest.json").is_file()


def assert_same_outputs(folder, uncut_folder):
    for name in ("model.safetensors", "training_curve.json"):
        assert (folder / "outputs" / name).read_bytes() == (uncut_folder / "outputs" / name).read_bytes()
    report, expected = (load_json((f / "outputs/report.json").read_bytes()) for f in (folder, uncut_folder))
    assert (report.before, report.after, report.verdict) == (
        expected.before,
        expected.after,
        expected.verdict,
    )
    return report


@pytest.mark.slow
def test_a_child_killed_outright_and_started_again_ends_with_the_same_bytes(tmp_path, inputs, uncut):
    folder = job(tmp_path / "job", inputs, SANITIZE)
    child = start(folder)
    wait_for(child, StateSaved, num=3)  # the first is from before the first update
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    assert not (folder / "outcome.json").exists()
    again = start(folder)
    finish(again)
    assert again.returncode == EXIT_SUCCEEDED
    report = assert_same_outputs(folder, uncut[0])
    assert len(report.training.resumed_from_steps) == 1
    assert report.training.resumed_from_steps[0] > 0


@pytest.mark.slow
def test_a_child_told_to_stop_saves_its_state_and_goes_on_later_to_the_same_bytes(tmp_path, inputs, uncut):
    spec = SanitizeSpec(recipe=SANITIZE.recipe, audit=AUDIT, seed=3, save_every_s=3600.0)
    folder = job(tmp_path / "job", inputs, spec)
    child = start(folder, cores=2)  # with a loader worker, where there are two cores
    wait_for(child, Advanced, num=4)
    os.killpg(child.pid, signal.SIGTERM)  # the whole group, as some supervisors do
    events = finish(child)
    assert child.returncode == EXIT_INTERRUPTED
    assert any(isinstance(event, StateSaved) for event in events)
    ended = outcome(folder)
    assert ended.status == "interrupted"
    assert ended.failure.phase in {"finetune", "baseline_audit"}
    again = start(folder)
    finish(again)
    assert again.returncode == EXIT_SUCCEEDED
    assert_same_outputs(folder, uncut[0])


@pytest.mark.slow
def test_no_decoding_process_outlives_an_audit_that_is_killed(tmp_path):
    model = write_model(tmp_path / "inputs/checkpoint")
    images = [random_image(seed) for seed in range(1200)]
    write_answered(tmp_path / "inputs/labelled", model, images, ("cat", "dog", "tree"))
    spec = AuditSpec(audit=replace(AUDIT, batch_size=2))
    (tmp_path / "spec.json").write_bytes(SPEC_ADAPTER.dump_json(spec))
    child = start(tmp_path, cores=2)
    try:
        wait_for(child, Advanced, num=3)  # the first is from before the first image
        child.send_signal(signal.SIGSTOP)  # or it might end before it is looked at
        assert len(members(child.pid)) == 2
        child.kill()
        child.wait()
        assert wait_until_none_is_left(child.pid, seconds=15)
        assert not (tmp_path / "outcome.json").exists()
    finally:
        child.stdout.close()
        for pid in members(child.pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def quiet_stdout():
    """`run` takes the process's stdout; give it back afterwards."""
    kept = os.dup(1)
    yield
    os.dup2(kept, 1)
    os.close(kept)


def test_a_refusal_says_what_where_and_in_which_phase(tmp_path, inputs, quiet_stdout):
    spec = AuditSpec(audit=AuditOptions(target="cow", attacks=AUDIT.attacks))
    folder = job(tmp_path / "job", inputs, spec)
    assert run(folder) == EXIT_REFUSED
    ended = outcome(folder)
    assert ended.status == "refused"
    assert ended.outputs == ()
    assert (ended.failure.code, ended.failure.where) == ("unknown_target", "audit.target")


EXPLODING = CleanCLIPRecipe(epochs=40, batch_size=8, learning_rate=1.0, warmup_steps=20, max_grad_norm=None)


@pytest.mark.slow
def test_a_loss_that_explodes_ends_a_real_child_and_keeps_states_and_the_audit_before(tmp_path, inputs):
    spec = replace(SANITIZE, recipe=EXPLODING)
    folder = job(tmp_path / "job", inputs, spec)
    child = start(folder)
    events = finish(child)
    assert child.returncode == EXIT_REFUSED
    failure = outcome(folder).failure
    assert (failure.code, failure.phase) == ("loss_not_finite", "finetune")
    assert "learning rate" in failure.remedy
    update = int(re.search(r"At update (\d+) of 120", failure.message)[1])
    saved = [event for event in events if isinstance(event, StateSaved)]
    assert saved[-1].step < update, "the update that could not be made left no state"
    assert "good state is that of step 0, the input weights" in failure.message
    states = {path.name for path in (folder / "state").glob("step-*")}
    assert {"step-00000000", Path(saved[-1].path).name} <= states
    for name in states:
        tensors = load_file(folder / "state" / name / "weights.safetensors")
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert not any((folder / "outputs").iterdir())
    kept = json.loads((folder / "state" / FILE_NAME).read_text())
    assert kept["figures"]["ca"]["n"] == 12


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_spec"),
        ('{"kind": "bake"}', "bad_spec"),
        ('{"kind": "audit"}', "bad_spec"),
        (None, "no_spec"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(tmp_path, quiet_stdout, text, code):
    if text is not None:
        (tmp_path / "spec.json").write_text(text)
    assert run(tmp_path) == EXIT_REFUSED
    assert outcome(tmp_path).failure.code == code


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_that_runs_out_is_a_refusal_that_says_what_to_do(
    tmp_path, inputs, quiet_stdout, monkeypatch, error
):
    def exhausted(*_, **__):
        raise error

    monkeypatch.setattr("sanitizer.pipeline.operations.audit", exhausted)
    folder = job(tmp_path / "job", inputs, AuditSpec(audit=AUDIT))
    assert run(folder) == EXIT_REFUSED
    assert outcome(folder).failure.code == "out_of_memory"


def test_an_error_of_the_program_is_a_crash_without_an_outcome(tmp_path, inputs, quiet_stdout, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("sanitizer.pipeline.operations.audit", broken)
    folder = job(tmp_path / "job", inputs, AuditSpec(audit=AUDIT))
    with pytest.raises(RuntimeError, match="a bug"):
        run(folder)
    assert not (folder / "outcome.json").exists()


def test_what_others_print_never_reaches_the_events(tmp_path, inputs, monkeypatch, quiet_stdout):
    events = tmp_path / "events"
    with events.open("wb") as file:
        os.dup2(file.fileno(), 1)

    def chatty(_places, _spec, run):
        os.write(1, b"hello from a C library\n")
        run.progress(PhaseStarted(phase="baseline_audit", total=1, unit="images"))

    monkeypatch.setattr("sanitizer.pipeline.operations.audit", chatty)
    assert run(job(tmp_path / "job", inputs, AuditSpec(audit=AUDIT))) == EXIT_SUCCEEDED
    types = [json.loads(line)["type"] for line in events.read_bytes().splitlines()]
    assert types == ["phase_started"]


def test_advances_are_thinned_out_but_the_last_one_is_told():
    clock, stream = [0.0], io.BytesIO()
    lines = JsonLines(stream, lambda: clock[0])
    lines(PhaseStarted(phase="finetune", total=100, unit="steps"))
    for done in range(1, 101):
        clock[0] += 0.01
        lines(Advanced(phase="finetune", done=done, total=100))
    reported = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert reported[0]["type"] == "phase_started"
    assert [event["done"] for event in reported[1:]] == [1, 21, 41, 61, 81, 100]


def test_a_reader_that_went_away_does_not_end_the_work():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as stream:
        lines = JsonLines(stream)
        for _ in range(3):
            lines(PhaseStarted(phase="finetune", total=1, unit="steps"))
        assert lines.phase == "finetune"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_flag_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopFlag() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) is before


def test_each_kind_of_job_has_its_work() -> None:
    """A merge had dropped one: every scan ended with a KeyError, and only a test of the full suite saw it."""
    assert running.WORK.keys() == {*KINDS, "pages", "give_back", "withhold", "recheck"}
    for name in running.WORK.values():
        assert callable(import_module(name).do)
