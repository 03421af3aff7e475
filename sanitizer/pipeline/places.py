"""Where an audit and a cleaning find what they read, and leave what they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import JudgedSpec


@dataclass(frozen=True, kw_only=True)
class Places:
    """`training` and `state` are for a cleaning. `retrieval` holds pairs to measure retrieval on, `exclude`
    lists of samples to leave out, as `pipeline.vetting.vet` writes them, each of one of these datasets."""

    checkpoint: Path
    """Canonical weights."""
    labelled: Path
    out: Path
    retrieval: Path | None = None
    exclude: Sequence[Path] = ()
    training: Path | None = None
    """Clean pairs, or labelled images where the recipe's method wants them."""
    state: Path | None = None
    """What a cleaning that is called again goes on from."""

    @classmethod
    def of_job(cls, folder: Path, spec: JudgedSpec) -> Places:
        """Below a job's folder."""
        training = None
        if spec.recipe is not None:
            pairs = spec.recipe.training_data == "pairs"
            training = folder / (jobspec.PAIRS_PATH if pairs else jobspec.TRAINING_PATH)
        return cls(
            checkpoint=folder / jobspec.CHECKPOINT_PATH,
            labelled=folder / jobspec.LABELLED_PATH,
            out=folder / jobspec.OUTPUTS_PATH,
            retrieval=folder / jobspec.RETRIEVAL_PATH if spec.has_retrieval else None,
            exclude=[folder / jobspec.exclude_path(role) for role in spec.exclude],
            training=training,
            state=folder / jobspec.STATE_PATH,
        )
