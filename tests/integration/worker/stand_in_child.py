"""A child that keeps the job folder's contract without a model: quick, and able to misbehave on request.

    python stand_in_child.py BEHAVIOUR FOLDER

`work` counts steps and hashes; its result depends on the seed and on nothing else, it saves states, resumes
and obeys SIGTERM. The other behaviours are what a broken or hostile child might do.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sanitizer import jobspec, report
from sanitizer.recipe import parse

NUM_STEPS = 30
SAVE_EVERY = 10
FOREVER_S = 600


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def finish(folder: Path, status: str, code: int, outputs: tuple[str, ...] = (), failure: Any = None) -> None:
    outcome = {"status": status, "outputs": outputs, "failure": failure}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    sys.exit(code)


def advance(phase: str, done: int, total: int) -> None:
    say(type="advanced", phase=phase, done=done, total=total)


# ---------------------------------------------------------------- work


def newest_state(folder: Path) -> tuple[int, str] | None:
    states = sorted((folder / "state").glob("step-*")) if (folder / "state").is_dir() else []
    if not states:
        return None
    saved = json.loads((states[-1] / "position.json").read_text())
    return saved["step"], saved["digest"]


def save(folder: Path, step: int, digest: str) -> None:
    name = f"state/step-{step:08d}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "position.json").write_text(json.dumps({"step": step, "digest": digest}))
    (folder / name / "weights.bin").write_bytes(digest.encode() * 100)
    say(type="state_saved", path=name, step=step)


def train(folder: Path, seed: int, pace_s: float) -> str:
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    step, digest = newest_state(folder) or (0, hashlib.sha256(str(seed).encode()).hexdigest())
    say(type="phase_started", phase="finetune", total=NUM_STEPS, unit="steps")
    if step:
        say(type="noted", level="info", message=f"resumed at {step}")
    while step < NUM_STEPS:
        step, digest = step + 1, hashlib.sha256(digest.encode()).hexdigest()
        time.sleep(pace_s)
        advance("finetune", step, NUM_STEPS)
        if stop:
            save(folder, step, digest)
            finish(folder, "interrupted", jobspec.EXIT_INTERRUPTED)
        if step % SAVE_EVERY == 0 and step < NUM_STEPS:
            save(folder, step, digest)
    say(type="phase_finished", phase="finetune")
    return digest


def estimate(successes: int, n: int) -> dict[str, Any]:
    return asdict(report.Estimate(value=successes / n, n=n, successes=successes, low=0.0, high=1.0))


def figures(digest: str) -> dict[str, Any]:
    attack = {
        "name": "badnet",
        "options": {},
        "trigger_sha256": "0" * 64,
        "asr": estimate(1, 2),
        "asr_including_target": estimate(1, 2),
        "pa": estimate(1, 2),
    }
    return {
        "weights_sha256": digest,
        "seed": 0,
        "ca": estimate(1, 2),
        "ca_top5": estimate(2, 2),
        "untriggered_target_rate": estimate(0, 2),
        "attacks": [attack],
    }


def report_json(spec: dict[str, Any], digest: str) -> bytes:
    document = {
        "kind": spec["kind"],
        "created_at": datetime.now(UTC).isoformat(),
        "seed": spec["seed"],
        "checkpoint": {
            "upload_sha256": spec.get("upload_sha256"),
            "weights_sha256": digest,
            "layout": "open_clip",
            "architecture": {},
            "declared": {},
        },
        "data": [],
        "audit": spec["audit"],
        "before": figures("0" * 64),
        "after": figures(digest),
        "verdict": {"outcome": "pass", "reason": "stand-in", "attacks": []},
        "environment": {
            "code_version": "0",
            "python": "3",
            "torch": "none",
            "open_clip": "none",
            "device": "cpu",
            "machine": "stand-in",
            "num_threads": 1,
            "precision": "fp32",
        },
    }
    return report.dump_json(parse(report.Report, document))


def work(folder: Path, pace_s: float = 0.02) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    out = folder / "outputs"
    if spec["kind"] == "inspect":
        inspect(folder, spec, out)
    if spec["kind"] == "validate":
        validate(folder, spec, out)
    say(type="phase_started", phase="baseline_audit", total=2, unit="images")
    advance("baseline_audit", 2, 2)
    say(type="phase_finished", phase="baseline_audit")
    digest = train(folder, spec["seed"], pace_s) if spec["kind"] == "sanitize" else "0" * 64
    (out / "report.json").write_bytes(report_json(spec, digest))
    names = ["report.json"]
    if spec["kind"] == "sanitize":
        (out / "model.safetensors").write_bytes(digest.encode() * 1000)
        names.append("model.safetensors")
    finish(folder, "succeeded", 0, tuple(names))


def inspect(folder: Path, spec: dict[str, Any], out: Path) -> None:
    data = (folder / "inputs/upload").read_bytes()
    say(type="phase_started", phase="inspect", total=len(data), unit="bytes")
    digest = hashlib.sha256(data).hexdigest()
    if not data.startswith(b"CLIP"):
        failure = {"code": "not_a_checkpoint", "message": "No checkpoint.", "remedy": "Upload one."}
        finish(folder, "refused", jobspec.EXIT_REFUSED, failure=failure)
    inspection = {
        "upload_sha256": digest,
        "size_bytes": len(data),
        "weights_sha256": digest,
        "layout": "open_clip",
        "architecture": {},
        "architecture_name": "stand-in",
        "num_parameters": 1,
        "dtype": "float32",
        "assumed": {},
        "findings": [],
    }
    (out / "model.safetensors").write_bytes(data)
    (out / "config.json").write_text("{}")
    (out / "inspection.json").write_text(json.dumps(inspection))
    finish(folder, "succeeded", 0, ("model.safetensors", "config.json", "inspection.json"))


def validate(folder: Path, spec: dict[str, Any], out: Path) -> None:
    shards = sorted((folder / "inputs" / spec["data_kind"]).glob("*.tar"))
    say(type="phase_started", phase="validate", total=len(shards), unit="samples")
    summary = {
        "kind": spec["data_kind"],
        "sha256": "0" * 64,
        "num_shards": len(shards),
        "num_samples": len(shards),
        "num_skipped": 0,
        "skipped_reasons": {},
        "skipped_examples": [],
    }
    names = folder / "inputs" / spec["data_kind"] / "classnames.txt"
    if names.exists():
        summary["class_names"] = names.read_text().splitlines()
    (out / "dataset.json").write_text(json.dumps(summary))
    finish(folder, "succeeded", 0, ("dataset.json",))


# ---------------------------------------------------------------- misbehaviour


def say_that_it_waits() -> None:
    say(type="phase_started", phase="baseline_audit", total=None, unit="images")


def wait_for_ever(_folder: Path) -> None:
    say_that_it_waits()
    time.sleep(FOREVER_S)


def ignore_terminate(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait_for_ever(folder)


def flood_events(_folder: Path) -> None:
    line = b"x" * 100 + b"\n"
    while True:
        os.write(1, line * 600)


def flood_log(folder: Path) -> None:
    for _ in range(2000):
        os.write(2, b"chatter" * 15_000)
    os.write(2, b"the last words\n")
    finish(folder, "refused", jobspec.EXIT_REFUSED, failure={"code": "done", "message": "m", "remedy": "r"})


def eat_memory(_folder: Path) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1) * (16 * 1024 * 1024)))


def crash(_folder: Path) -> None:
    sys.stderr.write("something went wrong here\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def point_outside(folder: Path) -> None:
    (folder / "outputs" / "report.json").symlink_to("/etc/passwd")
    finish(folder, "succeeded", 0, ("report.json",))


def say_nonsense(folder: Path) -> None:
    (folder / "outcome.json").write_text('{"status": "succeeded", "outputs": ["../../lock"]}')
    sys.exit(0)


def leave_a_daemon(folder: Path) -> None:
    """Double fork into a session of its own, as a process does that wants to outlive its group."""
    script = "import os,time\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(600)"
    subprocess.run([sys.executable, "-c", script, "stand-in-daemon"], check=True)
    wait_for_ever(folder)


def look_around(folder: Path) -> None:
    """Write down what the child can see and touch."""
    seen: dict[str, Any] = {"environment": dict(os.environ), "status": Path("/proc/self/status").read_text()}
    seen["num_processes"] = sum(name.isdecimal() for name in os.listdir("/proc"))
    try:
        socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "1"))), timeout=1).close()
        seen["network"] = "open"
    except OSError as error:
        seen["network"] = str(error)
    try:
        (folder.parent / "trespass").write_text("x")
        seen["outside"] = "written"
    except OSError as error:
        seen["outside"] = str(error)
    (folder / "seen.json").write_text(json.dumps(seen))
    wait_for_ever(folder)


BEHAVIOURS = {
    "work": work,
    "work_slowly": lambda folder: work(folder, pace_s=0.2),
    **{
        function.__name__: function
        for function in (
            wait_for_ever,
            ignore_terminate,
            flood_events,
            flood_log,
            eat_memory,
            crash,
            point_outside,
            say_nonsense,
            leave_a_daemon,
            look_around,
        )
    },
}

if __name__ == "__main__":
    BEHAVIOURS[sys.argv[1]](Path(sys.argv[2]))
