"""How an attempt can end badly, and what that means for the job.

`retry_in_s` None: the job fails, because a second attempt would end the same way. A number: the next attempt
begins no sooner than that. Attempts count, but for those that ended by a fault or a limit of the operator's.
"""

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import DomainError, Unavailable
from app.domain.limits import MAX_LOG_TAIL_CHARACTERS
from app.storage.errors import AccessDenied, BucketNotFound, ClockWrong, ObjectNotFound, StorageError
from cleanclip.vocabulary.untrusted import shown

CRASH_RETRY_S = 30.0
OUTAGE_RETRY_S = 30.0
OUT_OF_MEMORY_RETRY_S = 300.0
"""For another worker to take it meanwhile, or somebody to give this one more."""
MAX_SAID_CHARACTERS = 300
LOG_LABEL = "(The end of what the job's process wrote. Do not take its words for the service's.)\n"
_CHECK_THE_FILE = "Check that the file is what it claims to be, or ask the operator for a higher limit."


_OF_THE_OPERATOR = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM),
        *(errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENODEV, errno.ENXIO),
    }
)


class AttemptFailed(Exception):
    """The attempt is over. `code`, `message` and `remedy` reach the customer and are ours; so do `said` and
    `log_tail`, which are quoted from the job's process and labelled so."""

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str,
        *,
        retry_in_s: float | None = None,
        where: str | None = None,
        said: str | None = None,
        log_tail: str | None = None,
        counts: bool = True,
        is_child_trusted: bool = True,
        scanners: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.remedy = remedy
        self.retry_in_s = retry_in_s
        self.where = where
        self.said = said
        self.log_tail = log_tail
        self.counts = counts
        """False: the operator is at fault. Tried again; what the job is about is not rejected for it."""
        self.is_child_trusted = is_child_trusted
        """False: nothing that the job's process said is kept, figures of its first audit included."""
        self.scanners = scanners
        """What other scanners say of a checkpoint that was refused, as its process reported."""

    def as_row(self, phase: str | None) -> dict[str, Any]:
        """The form kept on the job's row."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "phase": phase,
            "retryable": self.retry_in_s is not None,
        }
        if self.where:
            error["where"] = self.where
        if self.said:
            error["said"] = quoted(self.said)
        if self.log_tail:
            lines = self.log_tail[-MAX_LOG_TAIL_CHARACTERS:].expandtabs(4).split("\n")
            error["log_tail"] = LOG_LABEL + "\n".join(map(harmless, lines))[-MAX_LOG_TAIL_CHARACTERS:]
        return error


def input_missing(noun: str) -> AttemptFailed:
    """Something that the job reads was there when it was ordered."""
    return AttemptFailed(
        "input_missing",
        f"The job needs a {noun} that no longer exists.",
        "Upload the checkpoint again, or register the dataset again, and create a new job.",
    )


def from_storage(error: StorageError) -> AttemptFailed:
    """What an error of the object store means for a job."""
    if error.retryable:
        return AttemptFailed(
            "store_unavailable",
            "The object store did not answer for a long time.",
            "The job is retried automatically. If it fails for good, retry it when the store is back.",
            retry_in_s=OUTAGE_RETRY_S,
            counts=False,
        )
    if isinstance(error, ObjectNotFound):
        return input_missing("file")
    if isinstance(error, ClockWrong):
        return AttemptFailed(
            "worker_clock_wrong",
            "The clock of the worker that had the job is wrong, so the object store refuses its requests.",
            "The job is retried automatically, on another worker if there is one. Operators: set the clock.",
            retry_in_s=OUTAGE_RETRY_S,
            counts=False,
        )
    if isinstance(error, AccessDenied | BucketNotFound):
        return AttemptFailed(
            "input_not_readable",
            "The service may not read a file that the job needs.",
            "Give the service's account access to the bucket, or ask its operator.",
        )
    return AttemptFailed(
        "store_refused",
        "The object store refused a request of the job.",
        "Ask the operator; the worker's log says what was refused.",
        retry_in_s=OUTAGE_RETRY_S,
        counts=False,
    )


def from_domain(error: DomainError) -> AttemptFailed:
    """An input that is gone or cannot be used: trying again helps only where something did not answer."""
    is_outage = isinstance(error, Unavailable)
    retry_in_s = OUTAGE_RETRY_S if is_outage else None
    return AttemptFailed(error.code, error.message, error.remedy, retry_in_s=retry_in_s, counts=not is_outage)


def is_of_the_operator(error: OSError) -> bool:
    """Whether only the worker's machine can be at fault. Others a child can bring about in its own folder: by
    permissions, links, names without end."""
    return error.errno in _OF_THE_OPERATOR


def from_os(error: OSError, *, child_ran: bool) -> AttemptFailed:
    """A full disk is an outage of this worker; so is anything of the kind before the job's process began."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return disk_full()
    return AttemptFailed(
        "worker_io_error",
        "The worker could not read or write its own files.",
        "The job is retried automatically. If it keeps failing, ask the operator.",
        retry_in_s=OUTAGE_RETRY_S,
        counts=child_ran and not is_of_the_operator(error),
    )


def disk_full(log_tail: str | None = None) -> AttemptFailed:
    return AttemptFailed(
        "disk_full",
        "The worker's disk has no room for the job's files.",
        "The job is retried automatically. The operator can give workers more disk.",
        retry_in_s=OUTAGE_RETRY_S,
        log_tail=log_tail,
        counts=False,
    )


def worker_out_of_memory(log_tail: str | None = None) -> AttemptFailed:
    """The kernel killed for the memory of the whole container, which no job knows of."""
    return AttemptFailed(
        "worker_out_of_memory",
        "The worker's container has too little memory for the job.",
        "The job waits and is retried automatically. Operators: give workers more memory.",
        retry_in_s=OUT_OF_MEMORY_RETRY_S,
        log_tail=log_tail,
        counts=False,
    )


def cpu_time_exceeded(log_tail: str | None = None) -> AttemptFailed:
    return AttemptFailed(
        "cpu_time_exceeded",
        "The job took more processor time than a job of its kind may.",
        _CHECK_THE_FILE,
        log_tail=log_tail,
    )


def wall_time_exceeded(limit_s: float, log_tail: str | None = None) -> AttemptFailed:
    """It counts and is not tried again: another attempt would take as long."""
    return AttemptFailed(
        "wall_time_exceeded",
        f"The job's process took longer than {limit_s / 3600:,.1f} hours, the most for its kind and size.",
        "Check that the file is what it claims to be, order less in one job, or ask the operator for a "
        "higher limit (CLEANCLIP_WORKER__JOB_WALL_FACTOR).",
        log_tail=log_tail,
    )


def sandbox_failed(log_tail: str) -> AttemptFailed:
    """The guard did not become the program: nothing of the job ran."""
    return AttemptFailed(
        "sandbox_failed",
        "The job's process could not be set up.",
        "The job is retried automatically. Operators: the end of the log says what this machine refused.",
        retry_in_s=OUTAGE_RETRY_S,
        log_tail=log_tail,
        counts=False,
    )


def outputs_unusable(why: str) -> AttemptFailed:
    """The child ended well and yet did not leave what it should: another attempt may. `why`: "it names …"."""
    return AttemptFailed(
        "outputs_unusable",
        f"The job's process ended, but {why}.",
        "The job is retried automatically. If it keeps failing, ask the operator.",
        retry_in_s=CRASH_RETRY_S,
    )


def not_confirmed(why: str) -> AttemptFailed:
    """A second audit of the same weights did not find what the first says. Not tried again."""
    return AttemptFailed(
        "figures_not_confirmed",
        f"A second audit of the same weights did not confirm the report: {quoted(why)}.",
        "Nothing was published. Ask the operator: the checkpoint or the data may have taken over the "
        "process that wrote the report, or the service has a defect.",
        is_child_trusted=False,
    )


def outputs_rejected(why: str) -> AttemptFailed:
    """The child left what no sound process leaves. It is not tried again: another attempt would do the same.

    `why`: "its report.json …", without words that the child chose.
    """
    return AttemptFailed(
        "outputs_rejected",
        f"The outputs of the job's process failed the service's checks: {quoted(why)}.",
        "Nothing was published. Ask the operator: the checkpoint or the data may have taken over the "
        "process, or the service has a defect.",
        is_child_trusted=False,
    )


def quoted(text: str) -> str:
    """What a job's process said, short and in one line."""
    safe = harmless(text[: MAX_SAID_CHARACTERS + 1])
    return safe if len(safe) <= MAX_SAID_CHARACTERS else safe[: MAX_SAID_CHARACTERS - 1] + "…"


def harmless(line: str) -> str:
    """An untrusted line: every character visible, no address that a program would make a link of."""
    return shown(line, len(line)).replace("://", "[:]//").replace("www.", "www[.]")


def internal_failure() -> AttemptFailed:
    """A defect of ours; the worker's log has the traceback, the customer does not."""
    return AttemptFailed(
        "internal_error",
        "The worker met an unexpected error.",
        "The job is retried automatically. If it keeps failing, ask the operator.",
        retry_in_s=CRASH_RETRY_S,
    )
