"""Settles what no tensor tells before anything is paid for: heads and activation, by the audit's own images.

    known by tensors, owner or configuration   kept; refused where another value fits the images better
    assumed                                    the value that fits better than every other one; else that of
                                               published models of exactly this shape; else the job is refused

More images are looked at until that is decided: see `looks`. Nothing is judged of a model that names no image
better than guessing does under any setting. Of fewer than `MIN_IMAGES` images nothing is measured, which a
warning says. What was settled goes into the configuration of the weights that are handed out, and a resumed
job is handed what its first attempt settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from cleanclip.spec.errors import Interrupted
from cleanclip.spec.progress import SETTLED, Noted, Progress, Stop
from cleanclip.spec.recipe import AuditOptions
from cleanclip.spec.settled import COMPARED, Setting, SettingFigures, Settled, SettledArchitecture, warnings
from sanitizer.audits.settings_fit import Fit, draw_sample, measure
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.model import LoadedCheckpoint, with_settings
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.settings import (
    Settings,
    compared,
    known_by,
    not_compared,
    not_measurable,
)
from sanitizer.data.labelled import templates_of
from sanitizer.pipeline.opening import ForAudit
from sanitizer.pipeline.settings_race import Race


@dataclass(frozen=True, kw_only=True)
class SettledInputs:
    """`given` with its checkpoint under the settings of `figures`; `warnings` are sentences."""

    given: ForAudit
    figures: SettledArchitecture
    warnings: tuple[str, ...]


def settle(
    given: ForAudit,
    options: AuditOptions,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    stop: Stop,
    kept: SettledArchitecture | None = None,
) -> SettledInputs:
    """Measure the settings of the checkpoint, or take those `kept` by an earlier attempt of the same job.

    Raises CheckpointRejected `settings_at_chance`, `settings_undecided`, `declared_setting_does_not_fit`,
    `embeddings_not_finite`; OptionsRejected `bad_template`; Interrupted if `stop()`.
    """
    checkpoint, templates = given.checkpoint, templates_of(options, given.labelled)

    def check() -> None:
        if stop():
            raise Interrupted(
                "stopped", "Measuring the checkpoint's settings was stopped on request.", "Run it again."
            )

    figures = kept
    if figures is None:
        image_size = checkpoint.architecture.image_size
        sample = draw_sample(given.labelled, templates, image_size=image_size, seed=seed, before_read=check)
        known = known_by(checkpoint.architecture, checkpoint.provenance)
        if sample is None:
            figures = _unmeasured(checkpoint, known, seed)
        else:
            values = plausible_values(checkpoint.architecture, known)
            race = Race(checkpoint.architecture, known, values)
            fit = measure(
                checkpoint, sample, values, device=device, undecided=race.undecided, before_pass=check
            )
            figures = _measured(checkpoint, race, fit, seed, num_templates=len(sample.templates))
            progress(Noted(level="info", message=_what_was_done(figures)))
    settings = Settings.read(figures.values())
    return SettledInputs(
        given=replace(given, checkpoint=_under(checkpoint, settings, figures)),
        figures=figures,
        warnings=tuple(warnings(figures)),
    )


def _what_was_done(figures: SettledArchitecture) -> str:
    return SETTLED(
        n=figures.n,
        num=figures.num_compared,
        images=figures.num_image_passes,
        texts=figures.num_text_passes,
    )


def _under(
    checkpoint: LoadedCheckpoint, settings: Settings, figures: SettledArchitecture
) -> LoadedCheckpoint:
    assumed = (checkpoint.provenance.get("assumed") or {}) | figures.as_assumed()
    provenance = checkpoint.provenance | {"assumed": assumed}
    if settings != Settings.of(checkpoint.architecture):
        checkpoint = with_settings(checkpoint, settings)
    return replace(checkpoint, provenance=provenance)


def _measured(
    checkpoint: LoadedCheckpoint, race: Race, fit: Fit, seed: int, *, num_templates: int
) -> SettledArchitecture:
    chosen = race.decided(fit)
    settings = [
        _setting(option, fit, race, unmeasured)
        for option, unmeasured in zip(COMPARED, _as_read(checkpoint, race.known), strict=True)
    ]
    return SettledArchitecture(
        n=fit.n(chosen),
        seed=seed,
        num_classes=fit.num_classes,
        num_templates=num_templates,
        num_compared=len(fit.combinations),
        num_image_passes=fit.num_image_passes,
        num_text_passes=fit.num_text_passes,
        ca=fit.ca(chosen),
        chance=fit.chance(chosen),
        settings=(*settings, *not_measurable(checkpoint.provenance)),
    )


def _setting(option: str, fit: Fit, race: Race, unmeasured: Setting) -> Setting:
    values = race.values[option]
    if len(values) == 1:
        return unmeasured
    chosen = race.chosen
    runner_up = min(race.others(option, fit), key=lambda one: fit.margin(chosen, one).low)
    margin = fit.margin(chosen, runner_up)
    of_chosen, of_runner_up = (
        SettingFigures(
            value=shown(getattr(one, option)),
            log_likelihood=fit.mean(one, margin.n),
            ca=fit.ca(one, margin.n),
        )
        for one in (chosen, runner_up)
    )
    return compared(
        unmeasured, values, race.published, chosen=of_chosen, runner_up=of_runner_up, margin=margin
    )


def _unmeasured(checkpoint: LoadedCheckpoint, known: Mapping[str, Settled], seed: int) -> SettledArchitecture:
    return SettledArchitecture(
        n=0,
        seed=seed,
        num_classes=0,
        num_templates=0,
        num_compared=0,
        num_image_passes=0,
        num_text_passes=0,
        ca=None,
        chance=None,
        settings=(*_as_read(checkpoint, known), *not_measurable(checkpoint.provenance)),
    )


def _as_read(checkpoint: LoadedCheckpoint, known: Mapping[str, Settled]) -> list[Setting]:
    present = Settings.of(checkpoint.architecture)
    return [
        not_compared(option, shown(getattr(present, option)), known[option], checkpoint.provenance)
        for option in COMPARED
    ]
