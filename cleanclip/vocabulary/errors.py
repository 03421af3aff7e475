"""What the library refuses, as one tree. Free of torch; `app` and `worker` may import it.

    SanitizerError
    ├── CheckpointRejected   the uploaded bytes are not a CLIP that we accept
    ├── DatasetRejected      the data cannot be used as they are
    ├── OptionsRejected      options that do not fit the checkpoint or the data (target class, chunk size, …)
    ├── ReportRejected       a report.json that cannot be read, or contradicts itself
    ├── TrainingDiverged     the loss is not finite, or grew past its bound, or a weight outgrew its dtype
    └── Interrupted          a stop was asked for; the training state has been saved

Every error says what is wrong and where (`message`), what to do (`remedy`), and carries a stable
`code` that reaches the API unchanged. None of them carries bytes of the input beyond a
short, printable excerpt.
"""

import signal
from typing import Any


class SanitizerError(Exception):
    """Base class. `code` is snake_case and stable; `message` and `remedy` are sentences for a person."""

    def __init__(self, code: str, message: str, remedy: str, *, where: str | None = None) -> None:
        super().__init__(f"{message} {remedy}")
        self.code = code
        self.message = message
        self.remedy = remedy
        self.where = where


class CheckpointRejected(SanitizerError):
    """The bytes are hostile, damaged, or no CLIP."""

    scanners: tuple[Any, ...] = ()
    """ScannerEvidence: what other scanners reported of the refused file, where they were run."""


class DatasetRejected(SanitizerError):
    """The dataset is empty, damaged beyond the stated share, or of the wrong kind."""


class OptionsRejected(SanitizerError):
    """The options are well-formed but do not fit this checkpoint or these data."""


class ReportRejected(SanitizerError):
    """The file is not a report of ours, or its figures and verdict do not fit each other."""


class TrainingDiverged(SanitizerError):
    """The loss became non-finite or diverged, or a trained weight does not fit its dtype.

    Of the loss the message names the step of the last good state, which stays in the state folder for whoever
    wants to know what happened: nothing of it is published, and a run resumes from the newest state.
    """


class RankLost(Exception):
    """One of the processes that train a model together crashed or was killed: no word to a user, a crash.

    `status` is its exit status, negative for a signal.
    """

    def __init__(self, rank: int, num_ranks: int, status: int) -> None:
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        super().__init__(f"Process {rank + 1} of the {num_ranks} training processes ended {how}.")
        self.status = status


class Interrupted(SanitizerError):
    """A stop was asked for between two steps; a later run resumes from the saved state."""
