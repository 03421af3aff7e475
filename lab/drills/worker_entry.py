"""One worker that makes one attempt at one job: the real Runner, its store and database counted at the gates.

Started by the drills in a process of its own (`Workers`, from a fork server, so that a start costs no
imports); what it does to the job, and how the child is made, is worker.wiring's business.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, cast

import botocore.auth

from app.logs import configure_logging
from app.settings import load_settings
from lab.drills.breaking import CountedDatabase, Gate, Turnstile, counted_store
from worker.runner import Runner
from worker.wiring import attempt_options, build_runner

_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)
SHIM = Path(__file__).with_name("child_shim.py")


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a worker is to do, and where it is to break."""

    job_id: str
    folder: Path
    """Its log and the marks of its gate."""
    gate: Gate | None = None
    child: Mapping[str, Any] = field(default_factory=dict)
    """For the shim before the child; empty: the child as it is."""
    clock_offset_s: float = 0.0
    disk_bytes: int | None = None
    """The work folder lies on a disk of this size (a tmpfs in a mount namespace of the worker's own)."""
    memory_bytes: int | None = None
    """The child's limit."""


def run_once(environment: Mapping[str, str], orders: Orders) -> None:
    """The process: from claim to whatever end; then it exits with 0, with 3 where there was nothing to do."""
    os.setsid()
    if orders.disk_bytes is not None:
        _small_disk(orders.folder / "work", orders.disk_bytes)
    os.environ.update(environment)
    log = os.open(orders.folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    settings = load_settings()
    configure_logging(level="INFO", json_lines=True)
    if orders.clock_offset_s:
        _turn_the_clock(orders.clock_offset_s)
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    options = replace(attempt_options(settings), poll_s=0.1)
    if orders.memory_bytes is not None:
        options = replace(options, limits=replace(options.limits, memory_bytes=orders.memory_bytes))
    if orders.child:
        command = (sys.executable, "-I", "-S", str(SHIM), json.dumps(dict(orders.child)))
        options = replace(options, child_command=(*command, *options.child_command))
    real = build_runner(settings, options, leaving)
    turnstile = Turnstile(orders.folder / "writes.log", orders.gate)
    runner = Runner(
        CountedDatabase(real._database, turnstile),
        counted_store(real._store, turnstile),
        real._publisher,
        options,
        leaving=leaving,
    )
    state = runner.run(orders.job_id)
    os._exit(3 if state is None else 0)


def _turn_the_clock(offset_s: float) -> None:
    """This process's wall clock is wrong from here on, also the one by which requests to the store are
    signed; its monotonic clock, as on a real machine, is not."""
    right, signing = time.time, cast(Any, botocore.auth)
    right_when_signing = signing.get_current_datetime
    time.time = lambda: right() + offset_s
    signing.get_current_datetime = lambda *a, **k: right_when_signing(*a, **k) + timedelta(seconds=offset_s)


def _small_disk(folder: Path, size_bytes: int) -> None:
    """Mount one for this process and its children alone. Needs user namespaces. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    data = f"size={size_bytes},mode=700".encode()
    _checked(_libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), data), "mount")


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


class Workers:
    """Starts workers, each a process of its own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["lab.drills.worker_entry"])

    def start(self, orders: Orders) -> ForkServerProcess:
        """Returns at once; the process is killed with this one."""
        orders.folder.mkdir(parents=True, exist_ok=True)
        (orders.folder / "orders.json").write_text(json.dumps(asdict(orders), default=str))
        work_dir = {"CLEANCLIP_WORKER__WORK_DIR": str(orders.folder / "work")}
        process = self._context.Process(
            target=run_once, args=(self._environment | work_dir, orders), daemon=True
        )
        process.start()
        return process
