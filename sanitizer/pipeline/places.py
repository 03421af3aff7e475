"""Where the work of each kind of job finds what it reads, and leaves what it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.jobspec import JudgedSpec, RecheckSpec, SearchSpec
from cleanclip.vocabulary.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Places:
    """`retrieval` holds pairs to measure retrieval on, `exclude` lists of samples to leave out, as
    `pipeline.vetting.vet` writes them, each of one of these datasets."""

    checkpoint: Path
    """Canonical weights."""
    data: Path
    """Labelled images that an audit measures on or a scan searches with; the samples that are vetted."""
    out: Path = Path()
    retrieval: Path | None = None
    exclude: Sequence[Path] = ()
    training: Path | None = None
    """Clean pairs, or labelled images where the recipe's method wants them."""
    anchor: Path | None = None
    """Canonical weights of a trusted model, of any architecture."""
    trusted: Path | None = None
    """Trusted samples, of the kind of those that are vetted."""
    state: Path | None = None
    """What work that is called again resumes from."""

    @classmethod
    def of_job(cls, folder: Path, spec: JudgedSpec | SearchSpec | RecheckSpec) -> Places:
        """Below a job's folder."""

        def given(path: str, where: str) -> Path | None:
            return folder / path if getattr(spec, where, False) else None

        recipe: Recipe | None = getattr(spec, "recipe", None)
        pairs = recipe is not None and recipe.training_data == "pairs"
        return cls(
            checkpoint=folder / jobspec.CHECKPOINT_PATH,
            data=folder / jobspec.path_of_role(getattr(spec, "data_kind", "labelled")),
            out=folder / jobspec.OUTPUTS_PATH,
            retrieval=given(jobspec.RETRIEVAL_PATH, "has_retrieval"),
            exclude=[folder / jobspec.exclude_path(role) for role in getattr(spec, "exclude", ())],
            training=given(jobspec.PAIRS_PATH if pairs else jobspec.TRAINING_PATH, "recipe"),
            anchor=given(jobspec.ANCHOR_PATH, "has_anchor"),
            trusted=given(jobspec.TRUSTED_PATH, "has_trusted"),
            state=folder / jobspec.STATE_PATH,
        )
