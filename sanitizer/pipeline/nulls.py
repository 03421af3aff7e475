"""Builds a null set from reference models: the same measurements of each, in one file. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cleanclip.spec.errors import Interrupted, OptionsRejected
from cleanclip.spec.jobspec import ScanSpec
from cleanclip.spec.null_set import NullModel, NullSet, names_sha256, sealed
from cleanclip.spec.progress import Announced
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.scan import MeasuredModel, measure_model
from sanitizer.run import Run
from sanitizer.software import software


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A canonical checkpoint folder that was never poisoned as far as its owner knows."""

    source: str
    """Where it came from: a path, an open_clip tag."""
    folder: Path
    base: str | None = None
    """Models that name the same base count once."""


def build_null(
    references: Sequence[Reference],
    places: Places,
    spec: ScanSpec,
    run: Run,
    *,
    name: str,
    about: str = "",
    fine_tunes_of: str | None = None,
) -> NullSet:
    """Measure each reference model as a scan does, with all of `places` but its checkpoint.

    Raises what `scan` raises, where Interrupted names the null set, and OptionsRejected `null_mixed` where
    two models have different architectures and `null_repeated` where two are the same.
    """
    models: list[NullModel] = []
    architecture: dict[str, object] | None = None
    class_names: tuple[str, ...] = ()
    for reference in references:
        done = f"reference model {len(models) + 1} of {len(references)}: {reference.source}"
        run.progress(Announced(level="info", message=done))
        state = places.state and places.state / f"model-{len(models)}"
        try:
            measured = measure_model(replace(places, checkpoint=reference.folder, state=state), spec, run)
        except Interrupted as error:
            raise Interrupted(
                "stopped",
                f"Building the null set was stopped on request, at model {len(models) + 1} of "
                f"{len(references)}.",
                "Run it again."
                if state is None
                else "Run the same command again; finished parts are not measured again.",
            ) from error
        _check(reference, measured, architecture, models)
        architecture, class_names = measured.architecture, measured.class_names
        models.append(
            NullModel(
                source=reference.source,
                base=reference.base,
                statistics=measured.statistics,
                patterns=measured.patterns,
            )
        )
    if architecture is None:
        raise OptionsRejected("null_empty", "No reference model was given.", "Name at least one.")
    return sealed(
        NullSet(
            name=name,
            about=about,
            created_at=datetime.now(UTC),
            code_version=software()["code_version"],
            architecture=architecture,
            class_names_sha256=names_sha256(class_names),
            num_classes=len(class_names),
            images_sha256=models[0].statistics.images_sha256,
            options=spec.scan,
            seed=spec.seed,
            models=tuple(models),
            anchor_sha256=models[0].statistics.anchor_sha256,
            fine_tunes_of=fine_tunes_of,
        )
    )


def _check(
    reference: Reference,
    measured: MeasuredModel,
    architecture: dict[str, object] | None,
    models: Sequence[NullModel],
) -> None:
    if architecture not in (None, measured.architecture):
        raise OptionsRejected(
            "null_mixed",
            f"'{reference.source}' has another architecture than the models before it.",
            "Build one null set for each architecture.",
        )
    for other in models:
        if other.statistics.weights_sha256 == measured.statistics.weights_sha256:
            raise OptionsRejected(
                "null_repeated",
                f"'{reference.source}' has the same weights as '{other.source}'.",
                "Name each model once: a model that counts twice makes the null look larger than it is.",
            )
