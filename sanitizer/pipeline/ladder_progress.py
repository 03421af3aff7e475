"""How far a ladder is: the updates of all rungs as one phase. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cleanclip.spec.cautions import num_updates
from cleanclip.spec.ladder import Rung
from cleanclip.spec.phrases import Phrase
from cleanclip.spec.progress import (
    MEASURING_INPUT,
    Advanced,
    PhaseFinished,
    PhaseStarted,
    Progress,
    ProgressEvent,
)


class LadderProgress:
    """A rung that is not begun, or ends early, is a jump forward."""

    def __init__(self, progress: Progress, rungs: Sequence[Rung], num_samples: int) -> None:
        """Reports the start of the phase."""
        self._progress = progress
        updates = [num_updates(rung.recipe, num_samples) for rung in rungs]
        self._starts = [sum(updates[:number]) for number in range(len(rungs))]
        self._total, self._done = sum(updates), 0
        self._what, self._slots = MEASURING_INPUT, dict[str, object]()
        progress(PhaseStarted(phase="finetune", total=self._total, unit="steps"))

    def of_rung(self, number: int) -> Progress:
        """For the training of a rung: its updates come after those of all rungs before."""

        def hear(event: ProgressEvent) -> None:
            match event:
                case PhaseStarted() | PhaseFinished():
                    return
                case Advanced():
                    self._done = self._starts[number] + event.done
                    self._progress(replace(event, done=self._done, total=self._total))
                case _:
                    self._progress(event)

        return hear

    def looks_at(self, what: Phrase, **slots: object) -> None:
        """A model is measured now."""
        self._what, self._slots = what, slots
        self.share(0.0)

    def share(self, done: float) -> None:
        """So much of a pass over the validation images, 0 to 1."""
        message = self._what(**self._slots, percent=f"{100 * min(1.0, done):.0f}")
        self._progress(Advanced(phase="finetune", done=self._done, total=self._total, message=message))
