"""Canonical weights that the supervisor has checked → the layout in which they were uploaded."""

from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.jobspec import GiveBackSpec
from cleanclip.vocabulary.progress import Noted, Progress, Stop
from sanitizer.pipeline.cleaned import give_back


def do(_spec: GiveBackSpec, folder: Path, progress: Progress, _stop: Stop) -> None:
    """Notes what could not be as it was. Raises CheckpointRejected."""
    for finding in give_back(folder / jobspec.CHECKPOINT_PATH, folder / jobspec.OUTPUTS_PATH):
        progress(Noted(level="warning", message=finding))
