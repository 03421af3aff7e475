"""Opens an anchor: a model that is trusted beside a suspect.

Raises OptionsRejected with the codes of `cleanclip.vocabulary.anchors`.
"""

from pathlib import Path

from cleanclip.vocabulary.anchors import Model, of_anchor
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical


def open_anchor(folder: Path, suspect: LoadedCheckpoint) -> LoadedCheckpoint:
    """A model of any architecture, with the suspect's vocabulary."""
    anchor = load_canonical(folder)
    for refusal in of_anchor(_model(suspect), _model(anchor)):
        raise refusal
    return anchor


def _model(checkpoint: LoadedCheckpoint) -> Model:
    return Model(weights_sha256=checkpoint.weights_sha256, config=checkpoint.architecture.to_config())
