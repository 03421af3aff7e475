"""Settles what no tensor tells before anything is paid for: heads and activation, by the audit's own images.

    known by tensors, owner or configuration   kept; refused where another value fits the images better
    assumed                                    the value that fits best, where the images tell it from others

Nothing is judged of a model that names no image better than guessing does under any setting. Of fewer than
`MIN_IMAGES` images nothing is measured, which a warning says. What was settled goes into the configuration of
the weights that are handed out, and a resumed job is handed what its first attempt settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from cleanclip.spec.errors import CheckpointRejected, Interrupted
from cleanclip.spec.progress import SETTLED, Noted, Progress, Stop
from cleanclip.spec.recipe import AuditOptions
from cleanclip.spec.settled import COMPARED, Setting, SettingFigures, Settled, SettledArchitecture, warnings
from sanitizer.audits.settings_fit import Fit, draw_sample, measure
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.model import LoadedCheckpoint, with_settings
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.settings import Settings, compared, known_by, not_compared, not_measurable
from sanitizer.data.labelled import templates_of
from sanitizer.pipeline.opening import ForAudit

_GIVEN = ("declared", "configuration")


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

    Raises CheckpointRejected `settings_at_chance`, `declared_setting_does_not_fit`,
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
            fit = measure(checkpoint, sample, values, device=device, before_pass=check)
            figures = _measured(checkpoint, known, values, fit, seed, num_templates=len(sample.templates))
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
    checkpoint: LoadedCheckpoint,
    known: Mapping[str, Settled],
    values: Mapping[str, Sequence[Any]],
    fit: Fit,
    seed: int,
    *,
    num_templates: int,
) -> SettledArchitecture:
    chosen = _choose(fit, Settings.of(checkpoint.architecture), known)
    settings = [
        _setting(option, fit, chosen, unmeasured, values[option])
        for option, unmeasured in zip(COMPARED, _as_read(checkpoint, known), strict=True)
    ]
    return SettledArchitecture(
        n=len(fit.label_N),
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


def _choose(fit: Fit, present: Settings, known: Mapping[str, Settled]) -> Settings:
    """The best that agrees with what is given, each assumed value back at its default where no worse."""
    given = [option for option in COMPARED if known[option] in _GIVEN]

    def agrees(settings: Settings) -> bool:
        return all(getattr(settings, option) == getattr(present, option) for option in given)

    best_of_all, best = fit.best(), fit.best(agrees)
    if not fit.is_above_chance(best_of_all):
        raise _at_chance(fit, best_of_all)
    if not agrees(best_of_all) and fit.tells(best_of_all, best):
        option = next(name for name in given if getattr(best_of_all, name) != getattr(present, name))
        raise _does_not_fit(fit, option, best_of_all, best)
    chosen = best
    for option in COMPARED:
        default = replace(chosen, **{option: getattr(present, option)})
        if default != chosen and not fit.tells(best, default):
            chosen = default
    return chosen


def _at_chance(fit: Fit, best: Settings) -> CheckpointRejected:
    ca = fit.ca(best)
    return refusal(
        "settings_at_chance",
        f"The model is not a working classifier of these images: under the best of {len(fit.combinations)} "
        f"plausible settings CA is {100 * ca.value:.1f} % (95 % interval {100 * ca.low:.1f} to "
        f"{100 * ca.high:.1f} %, n = {ca.n}) among {fit.num_classes} classes, and guessing gives "
        f"{100 * fit.chance(best):.1f} %. No verdict about it is possible.",
        "Check the weights, the class names and the templates; declare num_heads_vision, num_heads_text and "
        "quick_gelu if they are unusual.",
    )


def _does_not_fit(fit: Fit, option: str, best: Settings, given: Settings) -> CheckpointRejected:
    margin = fit.margin(best, given)
    return refusal(
        "declared_setting_does_not_fit",
        f"{option} was declared as {shown(getattr(given, option))}, and {shown(getattr(best, option))} fits "
        f"the images better: CA {100 * fit.ca(best).value:.1f} % against {100 * fit.ca(given).value:.1f} %, "
        f"mean log-likelihood {fit.mean(best):.3f} against {fit.mean(given):.3f} (margin {margin.mean:.3f}, "
        f"interval {margin.low:.3f} to {margin.high:.3f}, n = {margin.n}).",
        f"Upload the file again with the right {option}, or without it: then it is measured.",
        where=option,
    )


def _setting(option: str, fit: Fit, chosen: Settings, unmeasured: Setting, values: Sequence[Any]) -> Setting:
    if len(values) == 1:
        return unmeasured
    others = [replace(chosen, **{option: other}) for other in values if other != getattr(chosen, option)]
    runner_up = max(others, key=fit.mean)
    return compared(
        unmeasured,
        values,
        chosen=_figures(option, fit, chosen),
        runner_up=_figures(option, fit, runner_up),
        margin=fit.margin(chosen, runner_up),
    )


def _figures(option: str, fit: Fit, settings: Settings) -> SettingFigures:
    return SettingFigures(
        value=shown(getattr(settings, option)), log_likelihood=fit.mean(settings), ca=fit.ca(settings)
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
