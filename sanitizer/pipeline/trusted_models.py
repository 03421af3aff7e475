"""Opens the models that are trusted beside a suspect: an anchor, and the base that it was fine-tuned from.

Raises OptionsRejected with the codes of `cleanclip.spec.trusted_models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cleanclip.spec.scan_options import ScanOptions
from cleanclip.spec.trusted_models import (
    Model,
    base_does_not_fit,
    base_is_the_suspect,
    of_anchor,
    of_options,
)
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical


@dataclass(frozen=True, kw_only=True)
class TrustedModels:
    """Canonical checkpoint folders. `anchor` may be of any architecture; `base` has the suspect's."""

    anchor: Path | None = None
    base: Path | None = None


NO_TRUSTED_MODELS = TrustedModels()


def check_needed(options: ScanOptions, trusted: TrustedModels) -> None:
    """A detector has what it needs, and what is given is used."""
    has = {"has_anchor": trusted.anchor is not None, "has_base": trusted.base is not None}
    for refusal in of_options(options, **has):
        raise refusal


def open_anchor(folder: Path, suspect: LoadedCheckpoint) -> LoadedCheckpoint:
    """A model of any architecture, with the suspect's vocabulary."""
    anchor = load_canonical(folder)
    for refusal in of_anchor(_model(suspect), _model(anchor)):
        raise refusal
    return anchor


def open_base(folder: Path, suspect: LoadedCheckpoint) -> LoadedCheckpoint:
    """A model with the suspect's tensors, by name and shape, and other weights."""
    base = load_canonical(folder)
    theirs, ours = base.model.state_dict(), suspect.model.state_dict()
    for name in sorted(theirs.keys() | ours.keys()):
        shapes = [list(one[name].shape) if name in one else None for one in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise base_does_not_fit(f"the tensor '{name}'", *map(_shape, shapes))
    if all(bool((theirs[name] == ours[name]).all()) for name in ours):
        raise base_is_the_suspect()
    return base


def _model(checkpoint: LoadedCheckpoint) -> Model:
    return Model(weights_sha256=checkpoint.weights_sha256, config=checkpoint.architecture.to_config())


def _shape(shape: list[int] | None) -> str:
    return "it is missing" if shape is None else f"shape {shape}"
