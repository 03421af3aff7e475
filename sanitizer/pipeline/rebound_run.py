"""How far a rebound audit is, and what of it is finished. Knows no model and no figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cleanclip.spec.progress import Advanced, PhaseStarted, Progress
from sanitizer.training.pace import Pace

FILE_NAME = "rebound.json"

T = TypeVar("T")


class Ahead:
    """Progress of all trainings, each of as many images, those that are measured included."""

    def __init__(self, progress: Progress, num_runs: int, images_a_run: int) -> None:
        """Reports the start of the phase."""
        self._progress, self._images_a_run = progress, images_a_run
        self._total, self._num_ended, self._pace = num_runs * images_a_run, 0, Pace()
        progress(PhaseStarted(phase="rebound", total=self._total, unit="images"))
        self._pace.mark(0)

    def tell(self, done_of_run: int) -> None:
        """So many images of the training in hand are done."""
        done = self._num_ended * self._images_a_run + min(done_of_run, self._images_a_run)
        self._pace.mark(done)
        self._progress(
            Advanced(
                phase="rebound",
                done=done,
                total=self._total,
                rate=self._pace.rate,
                rate_unit="images",
                eta_s=self._pace.eta_s(self._total - done),
            )
        )

    def end_run(self) -> None:
        """The training in hand is over."""
        self._num_ended += 1
        self.tell(0)


class Kept:
    """Finished trainings by name, as JSON beside the training states; those of another `key` are dropped."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / FILE_NAME, key
        self._finished: dict[str, Any] = {}
        try:
            found = json.loads(self._path.read_bytes())
            self._finished = dict(found["finished"]) if found["key"] == key else {}
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def once(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """What `make` made under this name in an earlier attempt, else makes now."""
        adapter = TypeAdapter(kind)
        try:
            return adapter.validate_python(self._finished[name])
        except (KeyError, ValidationError):
            made = make()
        self._finished[name] = adapter.dump_python(made, mode="json")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"key": self._key, "finished": self._finished}), encoding="utf-8")
        partial.replace(self._path)
        return made
