"""Workers and sweepers as real processes, each with its log, killed at the end of the test."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Processes:
    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = dict(environment) | {
            "OMP_NUM_THREADS": "1",
            "CLEANCLIP_JOBS__LEASE_S": "6",
            "CLEANCLIP_JOBS__HEARTBEAT_S": "1",
            "CLEANCLIP_JOBS__SWEEP_EVERY_S": "1",
            "CLEANCLIP_JOBS__SAVE_EVERY_S": "0.2",
            "CLEANCLIP_WORKER__DEVICE": "cpu",
            "CLEANCLIP_WORKER__NUM_THREADS": "1",
        }
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def worker(self, name: str, behaviour: str | None = None) -> subprocess.Popen[bytes]:
        """A Celery worker; with a behaviour its child is the stand-in, else the real library."""
        module = "worker.celery_app" if behaviour is None else "tests.end_to_end.stand_in_worker"
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            module,
            "worker",
            "--without-gossip",
            "--without-mingle",
        ]
        return self._start(name, command, {"STAND_IN_BEHAVIOUR": behaviour or ""})

    def sweeper(self) -> subprocess.Popen[bytes]:
        return self._start("sweeper", [sys.executable, "-m", "worker.sweeper"], {})

    def deliverer(self) -> subprocess.Popen[bytes]:
        return self._start("webhooks", [sys.executable, "-m", "worker.webhooks"], {})

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()

    def _start(self, name: str, command: list[str], more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        work_dir = self._folder / f"{name}-work"
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self._environment, **more, "CLEANCLIP_WORKER__WORK_DIR": str(work_dir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        return process
