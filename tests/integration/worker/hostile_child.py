"""What a hostile child does once its code runs: `python hostile_child.py BEHAVIOUR FOLDER`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOREVER_S = 600
MIB = 2**20


def say_that_it_lives() -> None:
    os.write(1, b'{"type": "phase_started", "phase": "baseline_audit", "total": null, "unit": "images"}\n')


def one_endless_line(_folder: Path) -> None:
    """A gigabyte of stdout without a line break."""
    for _ in range(1024):
        os.write(1, b"x" * MIB)
    time.sleep(FOREVER_S)


def endless_good_events(_folder: Path) -> None:
    line = b'{"type": "advanced", "phase": "finetune", "done": 1, "total": 2}\n'
    while True:
        os.write(1, line * 1000)


def a_log_without_end(_folder: Path) -> None:
    """A byte at a time from one process, as much as it can from another."""
    if os.fork() == 0:
        while True:
            os.write(2, b"x" * MIB)
    while True:
        os.write(2, b"x")


def tell_of_states_without_end(folder: Path) -> None:
    """Each with an audit of some MiB beside it, which is another one each time."""
    say_that_it_lives()
    number = 0
    while True:
        number += 1
        state = folder / "state" / f"step-{number:08d}"
        state.mkdir(parents=True)
        (state / "weights").write_bytes(b"x")
        partial = folder / "state" / "partial"
        partial.write_bytes(bytes(MIB))
        partial.rename(folder / "state" / "baseline_audit.json")
        os.write(1, b'{"type": "state_saved", "path": "state/%s", "step": 1}\n' % state.name.encode())


def claim_a_report_of_holes(folder: Path) -> None:
    with (folder / "outputs" / "report.json").open("wb") as file:
        file.truncate(MIB * 7)
    (folder / "outcome.json").write_text('{"status": "succeeded", "outputs": ["report.json"]}')


def start_processes_without_end(_folder: Path) -> None:
    """Each new process sleeps; a few at a time, for the sake of the machine that tests run on."""
    say_that_it_lives()
    while True:
        if os.fork() == 0:
            time.sleep(FOREVER_S)
        time.sleep(0.0005)


def fill_the_disk_with_files(folder: Path) -> None:
    say_that_it_lives()
    number = 0
    while True:
        (folder / f"junk-{number}").write_bytes(bytes(MIB))
        number += 1
        time.sleep(0.001)


def write_one_file_without_end(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with (folder / "junk").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(MIB))


def leave_orphans_everywhere(folder: Path) -> None:
    """Double forks that try a session and a group of their own, ignore SIGTERM, and outlive their parents."""
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for leave in (os.setsid, lambda: os.setpgid(0, 0)):\n"
        "    try: leave()\n"
        "    except OSError: pass\n"
        "if os.fork(): os._exit(0)\n"
        "if os.fork(): os._exit(0)\n"
        "time.sleep(600)\n"
    )
    for _ in range(5):
        subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    say_that_it_lives()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(FOREVER_S)


def stop_itself(_folder: Path) -> None:
    say_that_it_lives()
    os.kill(os.getpid(), signal.SIGSTOP)


def kill_everybody(folder: Path) -> None:
    """Whoever it may signal: with its own processes alone it dies first."""
    for target in (os.getppid(), 1, -1):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError as error:
            (folder / "refused").write_text(str(error))
    time.sleep(FOREVER_S)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
