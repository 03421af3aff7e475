"""One job folder from spec to outcome: the child's side of `jobspec`. Needs no queue.

Events leave as JSON lines on the process's own stdout; whatever else anybody prints goes to stderr, so
that nothing can be mistaken for an event. SIGTERM and SIGINT ask for a stop between two steps.

What a kind of job needs is loaded by name once the spec has been read, so that a child that reads hostile
bytes loads nothing else: see decision 0038 for what each kind loads, and what that costs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from pydantic import TypeAdapter, ValidationError

from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.errors import (
    CheckpointRejected,
    Interrupted,
    OptionsRejected,
    RankLost,
    SanitizerError,
)
from cleanclip.vocabulary.jobspec import ChildOutcome, Failure, JobSpec
from cleanclip.vocabulary.progress import (
    Advanced,
    Announced,
    Phase,
    PhaseStarted,
    Progress,
    ProgressEvent,
    SentEvent,
    Stop,
)

UNUSED_BY_CHILDREN = ("transformers", "timm")
"""Packages that others load where they find them, at a cost, and that no job needs but one on a model with
parts of timm's: `checkpoints.timm_model` makes timm importable again."""
WORK = {name: kind.engine for name, kind in KINDS.items()} | {
    "pages": "sanitizer.work.drawing_pages",
    "give_back": "sanitizer.work.giving_back",
    "withhold": "sanitizer.work.withholding",
    "recheck": "sanitizer.work.rechecking",
}
"""Kind of a spec → module with its work, `do`."""
MIN_ADVANCE_INTERVAL_S = 0.2
_MEMORY_WORDS = ("DefaultCPUAllocator", "bad_alloc", "could not create a memory object")
_EVENT: TypeAdapter[SentEvent] = TypeAdapter(SentEvent)


class StopFlag:
    """True once SIGTERM or SIGINT has asked the process to end; listens while it is entered as a context."""

    def __init__(self) -> None:
        self._is_set = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopFlag:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self.set)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self._is_set

    def set(self, *_: Any) -> None:
        """Ask for the stop; a signal handler."""
        self._is_set = True


class JsonLines:
    """A `Progress` that writes lines. Of `Advanced`, at most five a second and always a phase's last."""

    def __init__(self, stream: IO[bytes], now: Callable[[], float] = time.monotonic) -> None:
        """`stream` is unbuffered: nothing may be left in it for a reader that went away."""
        self._stream: IO[bytes] | None = stream
        self._now = now
        self._advanced_at = -MIN_ADVANCE_INTERVAL_S
        self.phase: Phase | None = None
        """The phase that began last, for a failure's record."""

    def __call__(self, event: ProgressEvent, /) -> None:
        if isinstance(event, PhaseStarted):
            self.phase = event.phase
            self._advanced_at = -MIN_ADVANCE_INTERVAL_S
        if isinstance(event, Announced) or (isinstance(event, Advanced) and not self._is_due(event)):
            return
        line = _EVENT.dump_json(event) + b"\n"
        try:
            if self._stream is not None:
                write_all(self._stream, line)
        except OSError:
            self._stream = None  # nobody listens any more; the work goes on until somebody ends it

    def _is_due(self, event: Advanced) -> bool:
        now = self._now()
        if event.done != event.total and now - self._advanced_at < MIN_ADVANCE_INTERVAL_S:
            return False
        self._advanced_at = now
        return True


def run(folder: Path) -> int:
    """Do what folder/spec.json asks, write outcome.json, and return the exit code of the process.

    Errors that are not the library's own leave no outcome: they are raised, and the process crashes. So it
    does, without a traceback of ours, when one of its ranks has crashed or was killed.
    """
    with StopFlag() as stop, take_stdout() as stream:
        progress = JsonLines(stream)
        try:
            spec = _read_spec(folder / jobspec.SPEC_NAME)
            outcome = ChildOutcome(status="succeeded", outputs=_do(spec, folder, progress, stop))
            code = jobspec.EXIT_SUCCEEDED
        except Interrupted as error:
            outcome = ChildOutcome(status="interrupted", failure=_failure(error, progress.phase))
            code = jobspec.EXIT_INTERRUPTED
        except SanitizerError as error:
            outcome = ChildOutcome(status="refused", failure=_failure(error, progress.phase))
            code = jobspec.EXIT_REFUSED
        except RankLost as lost:
            return _end_as(lost)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            outcome = ChildOutcome(status="refused", failure=_failure(out_of_memory(), progress.phase))
            code = jobspec.EXIT_REFUSED
    _write_outcome(folder, outcome)
    return code


def _end_as(lost: RankLost) -> int:
    """One of our processes was lost: end the way it did, as if it were all of us, for whoever asks why."""
    sys.stderr.write(f"{lost}\n")
    if lost.status < 0:
        number = signal.Signals(-lost.status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return lost.status


def _do(spec: JobSpec, folder: Path, progress: Progress, stop: Stop) -> tuple[str, ...]:
    """Do the work of the spec's kind; returns the names of the files in outputs/."""
    out_dir = folder / jobspec.OUTPUTS_PATH
    out_dir.mkdir(exist_ok=True)
    for name in UNUSED_BY_CHILDREN:
        # None makes Python raise ModuleNotFoundError on import (reference, "The module cache"), as if the
        # package were not installed: open_clip asks for both, and goes on without.
        sys.modules.setdefault(name, cast(ModuleType, None))
    work = importlib.import_module(WORK[spec.kind])
    work.do(spec, folder, progress, stop)
    return tuple(sorted(path.name for path in out_dir.iterdir() if path.is_file()))


def _read_spec(path: Path) -> JobSpec:
    try:
        return SPEC_ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise OptionsRejected(
            "no_spec", f"{path.name} cannot be read.", "Name a job folder that holds one."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionsRejected(
            "bad_spec",
            f"{path.name} is not a job spec: {first['msg']} at '{where}'.",
            "Write it from cleanclip.vocabulary.jobspec.",
            where=where,
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine, the process's limit or the accelerator, was the reason."""
    # torch.OutOfMemoryError by its name: where it was raised, torch is loaded; elsewhere it need not be.
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
        return True
    # On a CPU torch and oneDNN have no class of their own for it.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY_WORDS)


def out_of_memory() -> OptionsRejected:
    """What is reported to a person then."""
    return OptionsRejected(
        "out_of_memory",
        "The job needs more memory than this process may use.",
        "Set chunk_size below batch_size (the result stays the same), or lower the batch_size of the audit.",
        where="recipe.chunk_size",
    )


def _failure(error: SanitizerError, phase: Phase | None) -> Failure:
    return Failure(
        code=error.code,
        message=error.message,
        remedy=error.remedy,
        where=error.where,
        phase=phase,
        scanners=error.scanners if isinstance(error, CheckpointRejected) else (),
    )


def _write_outcome(folder: Path, outcome: ChildOutcome) -> None:
    partial = folder / (jobspec.OUTCOME_NAME + ".partial")
    document = jobspec.OUTCOME_ADAPTER.dump_python(outcome, mode="json")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / jobspec.OUTCOME_NAME)


def write_all(stream: IO[bytes], line: bytes) -> None:
    """To an unbuffered stream, which may take it in pieces. Raises OSError."""
    while line:
        line = line[stream.write(line) :]


def take_stdout() -> IO[bytes]:
    """The process's stdout as a private, unbuffered stream; descriptor 1 becomes stderr for all others."""
    stream = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return stream
