"""What the command's exit status means: the one table, and which error gives which."""

from enum import IntEnum

from cleanclip import errors
from cleanclip.command.settings import NotConfigured


class ExitCode(IntEnum):
    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    NOT_AUTHORISED = 4
    NOT_FOUND = 5
    JOB_FAILED = 6
    JOB_CANCELLED = 7
    NOT_VERIFIED = 8
    UNREACHABLE = 9
    TIMED_OUT = 10
    UNREADABLE = 11
    GATE_SHUT = 12
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "an unexpected error (CLEANCLIP_DEBUG=1 shows where), or `doctor` found a problem",
    ExitCode.USAGE: "wrong usage, no address, or no such profile",
    ExitCode.REFUSED: "the service refused the input, or rejected the checkpoint or dataset",
    ExitCode.NOT_AUTHORISED: "no key, an invalid key, or a key without the scope",
    ExitCode.NOT_FOUND: "not found in this project",
    ExitCode.JOB_FAILED: "the job failed",
    ExitCode.JOB_CANCELLED: "the job was cancelled",
    ExitCode.NOT_VERIFIED: "a digest, signature or figure is wrong, or a file changed",
    ExitCode.UNREACHABLE: "the service or the object store cannot be reached, or fails",
    ExitCode.TIMED_OUT: "--timeout has passed; the job continues",
    ExitCode.UNREADABLE: "a file, folder or key on this machine cannot be read, or a download writes it",
    ExitCode.GATE_SHUT: "the gate is closed: --fail-on names the verdict, or there is no verdict",
    ExitCode.INTERRUPTED: "interrupted; what was started on the service continues",
}

HELP = "\b\nExit status:\n" + "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in MEANINGS.items())

_BY_KIND: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (errors.Unauthorized, ExitCode.NOT_AUTHORISED),
    (errors.Forbidden, ExitCode.NOT_AUTHORISED),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.ServerError, ExitCode.UNREACHABLE),
    (errors.ApiError, ExitCode.REFUSED),
    (errors.Rejected, ExitCode.REFUSED),
    (errors.NotACheckpoint, ExitCode.REFUSED),
    (errors.Undecided, ExitCode.UNREACHABLE),
    (errors.TransportError, ExitCode.UNREACHABLE),
    (errors.DigestMismatch, ExitCode.NOT_VERIFIED),
    (errors.FileChanged, ExitCode.NOT_VERIFIED),
    (errors.Unreadable, ExitCode.UNREADABLE),
    (errors.InUse, ExitCode.UNREADABLE),
    (errors.JobFailed, ExitCode.JOB_FAILED),
    (errors.JobCancelled, ExitCode.JOB_CANCELLED),
    (errors.WaitTimeout, ExitCode.TIMED_OUT),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """The status that the command ends with."""
    if isinstance(error, NotConfigured):
        return ExitCode.NOT_AUTHORISED if error.part == "key" else ExitCode.USAGE
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), ExitCode.UNEXPECTED)
