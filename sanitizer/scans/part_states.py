"""Finished parts of a scan as states that a supervisor takes away, and brings back on another machine.

    state/scan-….safetensors               a part (`parts`), where the scan works
    state/step-00000003/scan-….safetensors copies of all three parts that are finished

A copy each time: what is taken away is taken by hard links, and a file with two names is nobody's to take.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.jobspec import MAX_SCAN_STATE_BYTES
from cleanclip.vocabulary.progress import Progress, StateSaved

PARTS = "scan-*.safetensors"
_STATES = "step-*"
_NUM_KEPT = 2
"""States: the newest may be on its way while the next is written."""


class PartStates:
    """Of one scan. Parts larger in all than `MAX_SCAN_STATE_BYTES` stay where they are."""

    def __init__(self, folder: Path, progress: Progress, *, save_every_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._progress, self._save_every_s = folder, progress, save_every_s
        self._saved_at, self._num_saved = time.monotonic(), 0
        for state in self._states()[-1:]:  # brought back from another machine, or of an earlier attempt
            for part in state.glob(PARTS):
                if not (folder / part.name).exists():
                    shutil.copyfile(part, folder / part.name)
            self._num_saved = len([*state.glob(PARTS)])

    @contextmanager
    def saving_at_a_stop(self) -> Iterator[None]:
        """What is finished when a stop is asked for is saved first."""
        try:
            yield
        except Interrupted:
            self.save()
            raise

    def part_done(self) -> None:
        """A part was kept: it is saved with the others where the last time is long enough ago."""
        if time.monotonic() - self._saved_at >= self._save_every_s:
            self.save()

    def save(self) -> None:
        """All finished parts, where there are more than the last time."""
        parts = self._parts()
        too_large = sum(part.stat().st_size for part in parts) > MAX_SCAN_STATE_BYTES
        if len(parts) <= self._num_saved or too_large:
            return
        state = self._folder / f"step-{len(parts):08d}"
        unfinished = self._folder / f".unfinished-{state.name}"
        for left in (unfinished, state):
            shutil.rmtree(left, ignore_errors=True)
        unfinished.mkdir()
        for part in parts:
            shutil.copyfile(part, unfinished / part.name)
        unfinished.rename(state)
        for older in self._states()[:-_NUM_KEPT]:
            shutil.rmtree(older, ignore_errors=True)
        self._saved_at, self._num_saved = time.monotonic(), len(parts)
        self._progress(StateSaved(path=f"{self._folder.name}/{state.name}", step=len(parts)))

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob(PARTS))

    def _states(self) -> list[Path]:
        return sorted(self._folder.glob(_STATES))
