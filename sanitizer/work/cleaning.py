"""A sanitize job: inputs/ and perhaps state/ → cleaned weights and report.json."""

from __future__ import annotations

from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import SanitizeSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.pipeline import operations as pipeline


def do(spec: SanitizeSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises every SanitizerError."""
    pipeline.sanitize(
        folder / jobspec.CHECKPOINT_PATH,
        folder / (jobspec.PAIRS_PATH if spec.recipe.training_data == "pairs" else jobspec.TRAINING_PATH),
        folder / jobspec.LABELLED_PATH,
        recipe=spec.recipe,
        recipe_given=spec.recipe_given,
        options=spec.audit,
        out_dir=folder / jobspec.OUTPUTS_PATH,
        state_folder=folder / jobspec.STATE_PATH,
        retrieval_path=folder / jobspec.RETRIEVAL_PATH if spec.has_retrieval else None,
        exclude=[folder / jobspec.exclude_path(role) for role in spec.exclude],
        labelled_part=spec.labelled_part,
        policy=spec.policy,
        policy_source=spec.policy_source,
        scan_section=spec.scan_section,
        seed=spec.seed,
        save_every_s=spec.save_every_s,
        max_ranks=spec.max_ranks,
        searches=spec.searches,
        upload_sha256=spec.upload_sha256,
        progress=progress,
        stop=stop,
    )
