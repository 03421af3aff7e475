"""How far a scan is, counted in passes of the image tower, and whether it is to stop.

A pass is forward and backward of one image; forward alone counts a third, which is about what it takes.
"""

from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.progress import (
    Advanced,
    Phase,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Stop,
    ignore,
    never_stop,
)
from sanitizer.training.pace import Pace


class Meter:
    """Counts in thirds of a pass."""

    def __init__(
        self,
        total_thirds: int = 0,
        progress: Progress = ignore,
        stop: Stop = never_stop,
        *,
        phase: Phase = "scan",
    ) -> None:
        """`total_thirds` is planned for the whole scan; `phase` is the one that it is a part of."""
        self._phase: Phase = phase
        self._total, self._progress, self._stop = total_thirds, progress, stop
        self._thirds, self._skipped, self._pace = 0, 0, Pace()
        self._what = ""

    @property
    def num_passes(self) -> int:
        """Whole ones; those of parts that an earlier attempt made count as well."""
        return (self._thirds + self._skipped) // 3

    def plan(self, total_thirds: int) -> None:
        """So much is planned, as it turns out."""
        self._total = total_thirds

    def start(self) -> None:
        """The phase begins."""
        self._progress(PhaseStarted(phase=self._phase, total=-(-self._total // 3), unit="passes"))
        self._pace.mark(0)

    def begin(self, what: str) -> None:
        """A part of the scan begins, named for whoever watches."""
        self._what = what
        self._tell()

    def skip(self, thirds: int) -> None:
        """A part that an earlier attempt made."""
        self._skipped += thirds
        self._pace.restart(self._skipped + self._thirds)
        self._tell()

    def forward(self, num_images: int) -> None:
        """So many went through the tower without gradients. Raises Interrupted where a stop was asked for."""
        self._made(num_images)

    def both_ways(self, num_images: int) -> None:
        """So many went forward and backward. Raises as `forward`."""
        self._made(3 * num_images)

    def end(self) -> None:
        """The phase is over, whatever of the plan was not needed."""
        self._skipped = max(self._skipped, self._total - self._thirds)
        self._tell()
        self._progress(PhaseFinished(phase=self._phase))

    def _made(self, thirds: int) -> None:
        self._thirds += thirds
        self._pace.mark(self._skipped + self._thirds)
        self._tell()
        if self._stop():
            raise Interrupted(
                "stopped",
                "The search was stopped on request.",
                "Run it again with the same folder; finished parts are not made again.",
            )

    def _tell(self) -> None:
        done = min(self._skipped + self._thirds, self._total)
        rate, eta_s = self._pace.rate, self._pace.eta_s(self._total - done)
        self._progress(
            Advanced(
                phase=self._phase,
                done=done // 3 if done < self._total else -(-self._total // 3),
                total=-(-self._total // 3),
                rate=None if rate is None else rate / 3,
                rate_unit="passes",
                eta_s=eta_s,
                message=self._what or None,
            )
        )
