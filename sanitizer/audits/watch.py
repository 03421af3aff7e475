"""How far an audit is, and whether it is to stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.progress import EMBEDDED, FITTED, Advanced, Phase, Progress


@dataclass
class Watch:
    """Tells how far the audit is, and stops it between two batches."""

    progress: Progress
    phase: Phase
    total: int
    """Of all passes."""
    num_images: int
    """Of one pass over the labelled set."""
    stop: Callable[[], bool]
    started: float = 0.0
    num_before: int = 0
    """Images of a pass before this one."""

    def check(self) -> None:
        if self.stop():
            raise Interrupted(
                "stopped",
                "The audit was stopped on request.",
                "Run it again; an audit starts from the beginning.",
            )

    def classes_done(self, num_classes: int) -> None:
        self.check()
        message = EMBEDDED(num=num_classes)
        self.progress(Advanced(phase=self.phase, done=0, total=self.total, message=message))

    def fold_done(self, num_folds: int) -> None:
        self.check()
        message = FITTED(fold=num_folds)
        self.progress(Advanced(phase=self.phase, done=self.num_before, total=self.total, message=message))

    def start_images(self) -> None:
        self.started = time.monotonic()

    def end_pass(self) -> None:
        """The images so far were those of one pass; another one follows."""
        self.num_before += self.num_images

    def images_done(self, done_now: int) -> None:
        rate = done_now / max(time.monotonic() - self.started, 1e-9)
        done = self.num_before + done_now
        self.progress(
            Advanced(
                phase=self.phase,
                done=done,
                total=self.total,
                rate=rate,
                rate_unit="images",
                eta_s=max(0, self.total - done) / rate,
            )
        )
