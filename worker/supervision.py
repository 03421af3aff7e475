"""Watching one child from its start to its end: memory, processes, time, disk, floods, silence, requests to
stop, states to ship.

Decides when the child is stopped and how: on a cancel or a fence it is killed; when the worker leaves or
the job pauses it is asked to save first and killed after a grace.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.domain.states import JobKind
from app.logs import get_logger
from app.storage.errors import StorageError
from cleanclip.vocabulary.jobspec import EXIT_SUCCEEDED
from worker.confinement.child import Child
from worker.confinement.child_output import Excess
from worker.confinement.sandbox import MAX_PROCESSES, ChildLimits
from worker.confinement.session import MAX_DESCRIPTORS, Usage
from worker.confinement.trees import DiskUse, disk_use
from worker.control import Control, Stopped, StopReason
from worker.failures import CRASH_RETRY_S, AttemptFailed, cpu_time_exceeded, wall_time_exceeded
from worker.training_states import StateShipper

_LOG = get_logger(__name__)
_LOOK_EVERY_S = 0.1
MEASURE_EVERY_S = 0.5
MEASURE_DISK_EVERY_S = 2.0
_MAX_NEW_FILES = 100_000
_LEAST_WORK = 0.01
"""Of one core. What a child says of its progress is its word; that it computes the kernel says."""
_NO_BOUND = DiskUse(size_bytes=2**63, num_files=2**63)
_STATE_PATIENCE_S = 120.0
LEAVE_GRACE_S = 10.0
LEAVE_SHIP_S = 6.0
"""A worker that is told to go is gone within 20 s: 10 for the child, 6 for its last state, 4 to spare."""


@dataclass(frozen=True, kw_only=True)
class Grace:
    """How long the child may take to save its state when the job pauses or the worker leaves."""

    pause_s: float
    leave_s: float = LEAVE_GRACE_S


class Watch:
    """Looks at a child; `look` raises as soon as something is wrong or somebody asks to stop."""

    def __init__(
        self,
        child: Child,
        folder: Path,
        control: Control,
        kind: JobKind,
        limits: ChildLimits,
        *,
        written_bytes: int | None = None,
    ) -> None:
        """`folder` is the child's own; what lies there already is not counted against it. `written_bytes`:
        the most that it may write, where the limits allow more."""
        self._child = child
        self._folder = folder
        before = disk_use(folder, stop_at=_NO_BOUND)
        self._allowed = DiskUse(
            size_bytes=before.size_bytes + min(limits.written_bytes, written_bytes or limits.written_bytes),
            num_files=before.num_files + _MAX_NEW_FILES,
        )
        self._control = control
        self._limits = limits
        self._cpu_limit_s = limits.cpu_s(kind)
        self._wall_limit_s = limits.wall_s(kind)
        now = time.monotonic()
        self._started_at = self._disk_measured_at = self._heard_at = self._busy_at = now
        self._measured_at = 0.0
        self._cpu_s = self._cpu_s_before = self._cpu_s_when_busy = 0.0
        self.peak_bytes = 0

    def heard(self) -> None:
        """The child said something."""
        self._heard_at = time.monotonic()

    def look(self) -> None:
        """Raises Stopped, or AttemptFailed where the child must not go on."""
        self._control.check()
        now = time.monotonic()
        if now - self._measured_at < MEASURE_EVERY_S:
            return
        self._measured_at = now
        self.refuse(self._child.excess)
        if self._wall_limit_s is not None and now - self._started_at > self._wall_limit_s:
            raise wall_time_exceeded(self._wall_limit_s, self._child.log_tail())
        used = self._child.usage(self._limits.memory_bytes)
        self._look_at_usage(used)
        if self._cpu_s - self._cpu_s_when_busy >= _LEAST_WORK * self._limits.stall_s:
            self._busy_at, self._cpu_s_when_busy = now, self._cpu_s
        if now - min(self._heard_at, self._busy_at) > self._limits.stall_s:
            raise self._failed(
                "child_stalled", "The job's process has done nothing, or said nothing, for too long."
            )
        if now - self._disk_measured_at > MEASURE_DISK_EVERY_S:
            self._disk_measured_at = now
            self._look_at_disk(used.unnamed_disk_bytes)

    def refuse(self, excess: Excess | None) -> None:
        """Raises AttemptFailed where the child said more, or more nonsense, than any job does."""
        if excess is not None:
            raise AttemptFailed(
                excess.code,
                excess.message,
                "The job is retried automatically. If it keeps failing, ask the operator.",
                retry_in_s=CRASH_RETRY_S,
                log_tail=self._child.log_tail(),
                is_child_trusted=False,
            )

    def _look_at_usage(self, used: Usage) -> None:
        # The sum falls when the kernel forgets what an ended process used; what was seen of it still counts.
        self._cpu_s += max(0.0, used.cpu_s - self._cpu_s_before)
        self._cpu_s_before = used.cpu_s
        self.peak_bytes = max(self.peak_bytes, used.memory_bytes)
        if used.num_processes > MAX_PROCESSES:
            raise self._failed("too_many_processes", "The job's process started more processes than it may.")
        if used.num_descriptors > MAX_DESCRIPTORS:
            raise self._failed("too_many_open_files", "The job's process opened more files than it may.")
        if self._limits.memory_bytes is not None and used.memory_bytes > self._limits.memory_bytes:
            raise self._failed("out_of_memory", "The job used more memory than it may.")
        if self._cpu_limit_s is not None and self._cpu_s > self._cpu_limit_s:
            raise cpu_time_exceeded(self._child.log_tail())

    def _look_at_disk(self, unnamed_bytes: int) -> None:
        used = disk_use(self._folder, stop_at=self._allowed)
        size_bytes = used.size_bytes + unnamed_bytes
        if size_bytes > self._allowed.size_bytes or used.num_files > self._allowed.num_files:
            raise self._failed("disk_allowance_used_up", "The job wrote more files than it may.")

    def _failed(self, code: str, message: str) -> AttemptFailed:
        return AttemptFailed(
            code,
            message,
            "The job is retried automatically. If it fails for good, use smaller batches.",
            retry_in_s=CRASH_RETRY_S,
            log_tail=self._child.log_tail(),
        )


def supervise(
    child: Child,
    watch: Watch,
    shipper: StateShipper,
    control: Control,
    grace: Grace,
    *,
    look: Callable[[], None],
) -> None:
    """Return when the child has ended by itself; `look` is called meanwhile, again and again. Raises Stopped
    or AttemptFailed after it was stopped."""
    try:
        while child.poll() is None:
            watch.look()
            watch.refuse(shipper.excess)
            look()
            if shipper.has_waiting:
                _ship(child, shipper, watch)
            time.sleep(_LOOK_EVERY_S)
        control.check()
        status = child.close()
        watch.refuse(child.excess)
        if status != EXIT_SUCCEEDED and shipper.has_waiting:
            # Reported in its last words: whoever operates the service looks into a failure with it.
            _ship(child, shipper, watch)
    except Stopped as stopped:
        if stopped.reason in {StopReason.LEAVE, StopReason.PAUSE}:
            _save_and_stop(child, shipper, control, stopped.reason, grace)
            watch.refuse(child.excess or shipper.excess)  # it was caught: that goes first
        raise
    finally:
        child.kill()


class _ChildEnded(Exception):
    """A store that hangs does not keep a finished child's results waiting."""


def _ship(child: Child, shipper: StateShipper, watch: Watch) -> None:
    ended_at: list[float] = []

    def check() -> None:
        watch.look()
        if child.poll() is None:
            return
        ended_at[:] = ended_at or [time.monotonic()]
        if time.monotonic() - ended_at[0] > LEAVE_SHIP_S:
            raise _ChildEnded

    try:
        shipper.ship(check, patience_s=_STATE_PATIENCE_S)
    except (StorageError, _ChildEnded, OSError) as error:  # the child may lock us out of its own files
        _LOG.warning("state_not_shipped", reason=type(error).__name__)


def _save_and_stop(
    child: Child, shipper: StateShipper, control: Control, reason: StopReason, grace: Grace
) -> None:
    child.terminate()
    seconds = grace.leave_s if reason is StopReason.LEAVE else grace.pause_s
    deadline = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < deadline:
        _give_way_to_stronger(control, reason)
        time.sleep(_LOOK_EVERY_S)
    child.close()
    deadline = time.monotonic() + (LEAVE_SHIP_S if reason is StopReason.LEAVE else _STATE_PATIENCE_S)

    def check() -> None:
        _give_way_to_stronger(control, reason)
        if time.monotonic() > deadline:
            raise Stopped(reason)

    try:
        shipper.ship(check, patience_s=LEAVE_SHIP_S)
    except StorageError as error:
        _LOG.warning("last_state_not_shipped", reason=type(error).__name__)
    except OSError as error:
        _LOG.warning("last_state_not_read", reason=str(error))


_STRENGTH = [StopReason.PAUSE, StopReason.LEAVE, StopReason.CANCEL, StopReason.FENCED]


def _give_way_to_stronger(control: Control, reason: StopReason) -> None:
    now = control.reason
    if now is not None and _STRENGTH.index(now) > _STRENGTH.index(reason):
        raise Stopped(now)
