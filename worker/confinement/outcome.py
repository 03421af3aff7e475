"""What a child's end means: its exit status and outcome.json, as results or as a failure with a code.

The child's files are untrusted: only small, regular files of our own schema are believed.
"""

import errno
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.jobspec import (
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_SUCCEEDED,
    OUTCOME_ADAPTER,
    OUTCOME_NAME,
    OUTPUTS_PATH,
    ChildOutcome,
)
from worker import cgroup, metrics
from worker.confinement.child import Child
from worker.confinement.child_json import read_json
from worker.confinement.trees import has_holes
from worker.failures import (
    CRASH_RETRY_S,
    AttemptFailed,
    disk_full,
    is_of_the_operator,
    outputs_rejected,
    outputs_unusable,
    sandbox_failed,
    worker_out_of_memory,
)
from worker.refusals import refused

_MAX_OUTCOME_BYTES = 1024 * 1024
_REASONS = {
    EXIT_SUCCEEDED: "succeeded",
    EXIT_REFUSED: "refused",
    EXIT_INTERRUPTED: "interrupted",
}
_ROOM_BYTES = 64 * 2**20
_PROBE_BYTES = 2**20

Wanted = Mapping[str, int | None]
"""The files that a child must leave, and no other: name → most bytes. None: as many as a job may write."""


def wanted_outputs(kind: str, *, weights_bytes: int) -> Wanted:
    """The files of a job of this kind, whose weights have this size at most."""
    return {name: weights_bytes if most is None else most for name, most in KINDS[kind].leaves.items()}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What our side saw of a child's end: nothing of it is the child's word."""

    status: int
    """Which ends it chooses itself; no status says whose fault it is."""
    was_set_up: bool = True
    """Whether the guard became the program."""
    container_ran_out: bool = False
    """Meanwhile the kernel killed something for want of memory in the worker's container."""


def seen_of(child: Child, kills_before: int) -> Seen:
    """Closes and counts it. `kills_before`: `cgroup.oom_kills` as it was when the child began."""
    seen = Seen(
        status=child.close(),
        was_set_up=child.was_set_up,
        container_ran_out=cgroup.oom_kills() > kills_before,
    )
    metrics.CHILD_EXITS.labels(exit_reason(seen)).inc()
    return seen


def interpret(
    seen: Seen,
    folder: Path,
    wanted: Wanted,
    *,
    attempts_used: int,
    log_tail: str,
    max_bytes: int,
) -> tuple[Path, ...]:
    """The files that a succeeded child left: exactly those `wanted`, plain and not too large.

    Raises AttemptFailed otherwise. Whether the attempt counts follows from what was seen and from what the
    file system says.

    They have `max_bytes` together at most, and no holes: those take no room here, but are hashed and uploaded
    as if they were bytes. To be called once the child and all that it started are dead: nothing changes under
    our hands then.
    """
    if not seen.was_set_up:
        raise sandbox_failed(log_tail)
    if seen.status == EXIT_SUCCEEDED:
        try:
            return _outputs(folder, wanted, max_bytes)
        except OSError as error:
            if is_of_the_operator(error):
                raise
            raise outputs_rejected("its outputs cannot be read") from error
    if seen.status == EXIT_REFUSED:
        raise refused(_outcome(folder, "refused").failure)
    if seen.container_ran_out:
        raise worker_out_of_memory(log_tail)
    if is_disk_full(folder.parent):
        raise disk_full(log_tail)
    raise _crash(seen.status, attempts_used, log_tail)


def is_disk_full(folder: Path) -> bool:
    """Whether the file system there, or a quota of ours on it, has room for no more than a report."""
    if shutil.disk_usage(folder).free < _ROOM_BYTES:
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE_BYTES)
    except OSError as error:
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return False


def exit_reason(seen: Seen) -> str:
    """One of `worker.metrics.EXIT_REASONS`."""
    if not seen.was_set_up:
        return "setup"
    if seen.status in _REASONS:
        return _REASONS[seen.status]
    if seen.container_ran_out:
        return "container_out_of_memory"
    if seen.status == -signal.SIGKILL:
        return "killed"
    return "signal" if seen.status < 0 else "crashed"


def _outcome(folder: Path, expected: str) -> ChildOutcome:
    try:
        outcome = OUTCOME_ADAPTER.validate_json(read_json(folder / OUTCOME_NAME, _MAX_OUTCOME_BYTES))
    except (OSError, ValueError, ValidationError) as error:
        raise outputs_unusable(f"its outcome cannot be read ({type(error).__name__})") from error
    if outcome.status != expected:
        raise outputs_unusable(f"its outcome says {outcome.status!r} where its exit says {expected!r}")
    return outcome


def _outputs(folder: Path, wanted: Wanted, max_bytes: int) -> tuple[Path, ...]:
    place = folder / OUTPUTS_PATH
    named = _outcome(folder, "succeeded").outputs
    if not place.is_dir() or place.is_symlink():
        raise outputs_rejected("it left no folder of outputs")
    if sorted(named) != sorted(wanted) or {*os.listdir(place)} != {*wanted}:
        raise outputs_rejected(f"it left other files than {', '.join(wanted)}")
    paths = tuple(place / name for name in wanted)
    for path in paths:
        if not _is_plain_file(path):
            raise outputs_rejected(f"its {path.name} is not a plain file, or one with holes")
        most = wanted[path.name]
        if most is not None and path.lstat().st_size > most:
            raise outputs_rejected(f"its {path.name} has more than {most} bytes")
    if sum(path.lstat().st_size for path in paths) > max_bytes:
        raise outputs_rejected("its outputs are larger than those of such a job can be")
    return paths


def _is_plain_file(path: Path) -> bool:
    """One name, no link on the way, no holes."""
    try:
        if not stat.S_ISDIR(path.parent.lstat().st_mode):
            return False
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(file)
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and not has_holes(file)
    except OSError:
        return False
    finally:
        os.close(file)


def _name_of(number: int) -> str:
    return next((one.name for one in signal.Signals if one == number), str(number))


def _crash(status: int, attempts_used: int, log_tail: str) -> AttemptFailed:
    # The first crash is repeated at once (a machine was reclaimed); later ones wait, longer each time.
    wait_s = 0.0 if attempts_used <= 1 else CRASH_RETRY_S * 2.0 ** (attempts_used - 2)
    how = f"by signal {_name_of(-status)}" if status < 0 else f"with exit status {status}"
    code, message = "child_crashed", f"The job's process ended {how}."
    if status == -signal.SIGKILL:
        code, message = "child_killed", "The job's process was killed. The most frequent cause is memory."
    return AttemptFailed(
        code,
        message,
        "The job is retried automatically, from the beginning. If it fails for good, the end of its log says "
        "where it stopped.",
        retry_in_s=wait_s,
        log_tail=log_tail,
    )
