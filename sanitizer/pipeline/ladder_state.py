"""What of a ladder is finished, on disk: figures of its rungs, and the best weights so far. Trains nothing.

    state/auto/ladder.json            a `Finished`
    state/auto/best.safetensors       the weights of the look that would be chosen now

Both are copied into every training state, so that a job which goes on elsewhere has them: of a state folder
without `auto` the newest state's copies are taken.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from open_clip.model import CLIP
from pydantic import Base64Bytes, TypeAdapter, ValidationError
from safetensors.torch import load_file

from cleanclip.spec.auto_figures import Look, RungFigures, Validated
from sanitizer.checkpoints.safetensors_file import write_safetensors
from sanitizer.training import state
from sanitizer.training.loop import Finetuned

FOLDER, RECORD_NAME, BEST_NAME = "auto", "ladder.json", "best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Before:
    """The input model on the validation images; `correct` is a bit an image, packed."""

    figures: Validated
    correct: Base64Bytes
    num_images: int
    num_skipped: int
    skipped_examples: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Best:
    """How the kept weights were trained, and their file's digest."""

    finetuned: Finetuned
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """`key` is over all that decides the figures. `looks` are those of the rung under way."""

    key: str
    before: Before | None = None
    rungs: tuple[RungFigures, ...] = ()
    looks: tuple[Look, ...] = ()
    best: Best | None = None


_FINISHED = TypeAdapter(Finished)


class LadderState:
    """Of one job; what another job or another release left is not used."""

    def __init__(self, state_folder: Path, key: str) -> None:
        self.folder = state_folder / FOLDER
        if not (self.folder / RECORD_NAME).is_file():
            self._bring_back(state_folder)
        self.finished = self._read() or Finished(key=key)
        if self.finished.key != key:
            self.finished = Finished(key=key)

    def keep(self, **changes: object) -> None:
        """Write the record with these of its fields changed."""
        self.finished = replace(self.finished, **changes)  # type: ignore[arg-type]
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder.parent / f".{RECORD_NAME}.partial"  # what is in the folder goes into states
        partial.write_bytes(_FINISHED.dump_json(self.finished))
        partial.replace(self.folder / RECORD_NAME)

    @property
    def rungs(self) -> tuple[RungFigures, ...]:
        """Those that ended."""
        return self.finished.rungs

    def write_best(self, model: CLIP, finetuned: Finetuned) -> Best:
        """Write the model's weights; the record is the caller's to keep."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sha256 = write_safetensors(self.folder / BEST_NAME, model.state_dict(), {})
        return Best(finetuned=finetuned, sha256=sha256)

    def load_best(self, model: CLIP) -> Finetuned:
        """The best weights into `model`, in place, and how they were trained."""
        assert self.finished.best is not None, "no look was made"
        model.load_state_dict(load_file(self.folder / BEST_NAME))
        return self.finished.best.finetuned

    def _bring_back(self, state_folder: Path) -> None:
        newest = state.find_newest(state_folder)
        for name in (RECORD_NAME, BEST_NAME):
            if newest is not None and (newest / name).is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(newest / name, self.folder / name)

    def _read(self) -> Finished | None:
        try:
            found = _FINISHED.validate_json((self.folder / RECORD_NAME).read_bytes())
            if found.best is not None:
                with (self.folder / BEST_NAME).open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != found.best.sha256:
                        return None
        except (OSError, ValidationError):
            return None
        return found
