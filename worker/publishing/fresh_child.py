"""A child that begins again beside a job's own: confined alike, given only files that we have checked.

What people open in other programs (pages, a pickle of weights) is not written by the process that read an
untrusted file. One that has never seen it writes them, of what we made of the first one's files. One parts
the labelled images before the job's child runs, and one audits the weights that are published once more. One
is given the untrusted file again, and runs our reader alone.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from app.domain.states import JobKind
from app.logs import get_logger
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.jobspec import (
    SPEC_NAME,
    GiveBackSpec,
    InspectSpec,
    PagesSpec,
    RecheckSpec,
    SearchSpec,
    WithholdSpec,
)
from cleanclip.vocabulary.progress import Noted, ProgressEvent, ignore
from worker import cgroup
from worker.confinement import sandbox
from worker.confinement.child import Child
from worker.confinement.outcome import Wanted, interpret, seen_of
from worker.confinement.sandbox import ChildLimits, Isolation
from worker.control import Control
from worker.failures import outputs_rejected
from worker.staging.stage import Received
from worker.staging.transfer import file_sha256, interruptible
from worker.supervision import Watch

_LOG = get_logger(__name__)
_LOOK_EVERY_S = 0.05
_MAX_NOTES = 20
FreshSpec = PagesSpec | GiveBackSpec | WithholdSpec | RecheckSpec | InspectSpec | SearchSpec
_LIGHT = frozenset({"pages", "inspect"})
"""Kinds that run within the limits of a file's inspection."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a fresh child left: its files, and the sentences that it noted."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


class Fresh(Protocol):
    """Starts a fresh child; see `FreshChildren`."""

    @property
    def uses_cuda(self) -> bool: ...

    def folder_of(self, spec: FreshSpec, /) -> Path: ...

    def run(
        self,
        spec: FreshSpec,
        inputs: Mapping[str, Path],
        wanted: Wanted,
        /,
        *,
        hear: Callable[[ProgressEvent], None] = ignore,
    ) -> Left: ...


@dataclass(frozen=True, kw_only=True)
class FreshChildren:
    """Starts them, one after the other, each in a folder of its own that is made below `folder`."""

    folder: Path
    command: tuple[str, ...]
    limits: ChildLimits
    isolation: Isolation
    control: Control
    worker_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def uses_cuda(self) -> bool:
        return self.limits.uses_cuda

    def folder_of(self, spec: FreshSpec) -> Path:
        """Where the child will find what is put there before it runs."""
        return self.folder / spec.kind / "job"

    def run(
        self,
        spec: FreshSpec,
        inputs: Mapping[str, Path],
        wanted: Wanted,
        *,
        hear: Callable[[ProgressEvent], None] = ignore,
    ) -> Left:
        """`inputs`: place in the child's folder → our file, which is copied there. `hear` hears all events.

        Raises AttemptFailed as `interpret` does, Stopped, OSError.
        """
        job = self.folder_of(spec)
        for name in ("home", "tmp", "outputs"):
            (job / name).mkdir(parents=True)
        for path, source in inputs.items():
            (job / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, job / path)  # never a link: the child may write in its own folder
        (job / SPEC_NAME).write_bytes(SPEC_ADAPTER.dump_json(spec))
        notes: list[str] = []

        def on_event(event: ProgressEvent) -> None:
            if isinstance(event, Noted):
                notes.append(event.message)
            hear(event)

        kills_before = cgroup.oom_kills()
        child = self._watch(job, on_event, is_light=spec.kind in _LIGHT)
        seen = seen_of(child, kills_before)
        files = interpret(
            seen,
            job,
            wanted,
            attempts_used=1,
            log_tail=child.log_tail(),
            max_bytes=self.limits.written_bytes,
        )
        return Left(files=files, notes=tuple(notes[:_MAX_NOTES]))

    def _watch(self, job: Path, on_event: Callable[[ProgressEvent], None], *, is_light: bool) -> Child:
        """The child, which has ended."""
        kind = JobKind.INSPECT if is_light else JobKind.AUDIT
        limits = replace(self.limits, uses_cuda=False) if is_light else self.limits
        watches: list[Watch] = []

        def heard(event: ProgressEvent) -> None:
            for watch in watches:
                watch.heard()
            on_event(event)

        began = time.monotonic()
        child = Child(
            sandbox.guarded_command(
                [*self.command, str(job)],
                job,
                self.isolation,
                sandbox.rlimits(limits, kind, self.isolation),
                uses_cuda=limits.uses_cuda,
                more_calls=limits.more_calls,
                tokenizers_dir=limits.tokenizers_dir,
            ),
            environment=sandbox.environment(job, limits, self.worker_environment),
            folder=job,
            log_path=job.with_name("stderr.log"),
            on_event=heard,
        )
        try:
            watches.append(Watch(child, job, self.control, kind, limits))
            while child.poll() is None:
                watches[0].look()
                time.sleep(_LOOK_EVERY_S)
        finally:
            status = child.close()
        _LOG.info("fresh_child_ended", status=status, took_s=round(time.monotonic() - began, 2))
        return child


def take_input(inputs: Path, one: Received, place: Path, check: Callable[[], None]) -> None:
    """Move a file from the first child's folder, if it is as it was. Raises AttemptFailed, Stopped."""
    source, target = inputs.resolve() / one.path, place / one.path
    changed = outputs_rejected("it changed its own inputs")
    try:
        status = source.lstat()
    except OSError as error:
        raise changed from error
    if source.resolve() != source or not stat.S_ISREG(status.st_mode) or status.st_size != one.size_bytes:
        raise changed
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    if interruptible(partial(file_sha256, target), check) != one.sha256:
        raise changed
