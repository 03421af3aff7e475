"""Settles what no tensor tells before anything is paid for: heads and activation, by the audit's own images.

    known by tensors, owner or configuration   kept; refused where another value fits the images better
    assumed                                    the value that fits better than every other one; else that of
                                               published models of exactly this shape; else the job is refused

More images are looked at until that is decided: see `looks`. Nothing is judged of a model that names no image
better than guessing does under any setting. Of fewer than `MIN_IMAGES` images nothing is measured, which a
warning says. What was settled goes into the configuration of the weights that are handed out, and a resumed
job is handed what its first attempt settled.

Which combination of settings is left when others are beaten, and the refusals where that is not one.

The winner beats every other combination that agrees with what is given, by the corrected interval of `Fit`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected, Interrupted
from cleanclip.vocabulary.progress import SETTLED, Noted
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.settled import (
    COMPARED,
    Setting,
    SettingFigures,
    Settled,
    SettledArchitecture,
    warnings,
)
from sanitizer.audits.settings_fit import Fit, draw_sample, measure
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.model import LoadedCheckpoint, with_settings
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.settings import (
    Settings,
    compared,
    known_by,
    measurable,
    not_compared,
    not_measurable,
    published_of,
)
from sanitizer.data.labelled import templates_of
from sanitizer.pipeline.opening import ForAudit
from sanitizer.run import Run

_GIVEN = ("declared", "configuration")


class Race:
    """Drops combinations that another one beats; `remaining` are those that `chosen` does not beat."""

    def __init__(
        self, architecture: Architecture, known: Mapping[str, Settled], values: Mapping[str, Sequence[Any]]
    ) -> None:
        present = Settings.of(architecture)
        self.known, self.values = known, values
        self.published = published_of(architecture)
        self.fixed = {option: getattr(present, option) for option in COMPARED if known[option] in _GIVEN}
        self.chosen, self.remaining = present, list[Settings]()
        self._running: Sequence[Settings] = ()

    def undecided(self, fit: Fit) -> Sequence[Settings]:
        """What more images are needed for, none where one combination is left. Raises CheckpointRejected."""
        running = self._running or fit.combinations
        best = fit.best(running)
        if not fit.is_above_chance(best):
            raise _at_chance(fit, best)
        self._running = [one for one in running if not fit.tells(best, one)]
        if not any(map(self._agrees, self._running)):
            raise self._does_not_fit(fit, best)
        self._choose(fit)
        return self._running if self.remaining else ()

    def decided(self, fit: Fit) -> Settings:
        """What is left; of several values that of the published model. Raises CheckpointRejected."""
        for option, usual in (self.published.values if self.published else {}).items():
            left = {shown(value): value for value in self._left(option)}
            if option in self.open and usual in left:
                self.fixed[option] = left[usual]
                self._choose(fit)
        if self.remaining:
            raise _undecided(fit, self)
        return self.chosen

    @property
    def open(self) -> dict[str, list[Any]]:
        """Each option of which several values are left, and these."""
        left = {
            option: sorted({getattr(one, option) for one in (self.chosen, *self.remaining)})
            for option in COMPARED
        }
        return {option: values for option, values in left.items() if len(values) > 1}

    def others(self, option: str, fit: Fit) -> list[Settings]:
        """What another value of `option` comes to, the rest being as it is known."""
        return [
            one
            for one in fit.combinations
            if getattr(one, option) != getattr(self.chosen, option) and self._agrees(one, but=option)
        ]

    def _choose(self, fit: Fit) -> None:
        self.chosen = fit.best(filter(self._agrees, self._running))
        self.remaining = [
            one
            for one in filter(self._agrees, fit.combinations)
            if one != self.chosen and not fit.tells(self.chosen, one)
        ]

    def _does_not_fit(self, fit: Fit, best: Settings) -> CheckpointRejected:
        """Blames the option that is wrong by itself, if there is one."""
        given = min(filter(self._agrees, fit.combinations), key=lambda one: fit.margin(best, one).low)
        option = next(name for name in self.fixed if getattr(best, name) != getattr(given, name))
        for name in self.fixed:
            if freed := [one for one in self._running if self._agrees(one, but=name)]:
                option, best = name, fit.best(freed)
                break
        return refusal(
            "declared_setting_does_not_fit",
            f"{option} was declared as {shown(getattr(given, option))}, and {shown(getattr(best, option))} "
            f"fits the images better: {_comparison(fit, best, given)}.",
            f"Upload the file again with the right {option}, or without it: then it is measured.",
            where=option,
        )

    def _left(self, option: str) -> Iterator[Any]:
        return (getattr(one, option) for one in filter(self._agrees, self._running))

    def _agrees(self, settings: Settings, but: str = "") -> bool:
        return all(
            getattr(settings, option) == value for option, value in self.fixed.items() if option != but
        )


def _at_chance(fit: Fit, best: Settings) -> CheckpointRejected:
    ca = fit.ca(best)
    return refusal(
        "settings_at_chance",
        f"The model is not a working classifier of these images: under the best of {len(fit.combinations)} "
        f"plausible settings CA is {100 * ca.value:.1f} % (95 % interval {100 * ca.low:.1f} to "
        f"{100 * ca.high:.1f} %, n = {ca.n}) among {fit.num_classes} classes, and guessing gives "
        f"{100 * fit.chance(best):.1f} %. No verdict about it is possible.",
        "Check the weights, the class names and the templates; declare num_heads_vision, num_heads_text and "
        "quick_gelu if they are unusual, and image_size where no tensor says it (ConvNeXt, FastViT, "
        "ViTamin-XL).",
    )


def _undecided(fit: Fit, race: Race) -> CheckpointRejected:
    runner_up = min(race.remaining, key=lambda one: fit.margin(race.chosen, one).low)
    left = {option: list(map(shown, values)) for option, values in race.open.items()}
    which = " and ".join(f"{name} ({', '.join(values)})" for name, values in left.items())
    flags = (" or ".join(f"--declared {name}={value}" for value in values) for name, values in left.items())
    files = (" or ".join(f'{{"{name}": {value}}}' for value in values) for name, values in left.items())
    return refusal(
        "settings_undecided",
        f"{fit.n(race.chosen)} labelled images leave several values of {which}: "
        f"{_comparison(fit, race.chosen, runner_up)}. Every figure would rest on a guess.",
        "Upload the file again and declare what the model was trained with: `cleanclip upload FILE` with "
        f"{'; '.join(flags)}. Of `python -m sanitizer`: `--declare FILE`, where that file holds "
        f"{'; '.join(files)}. More labelled images may decide it, too.",
        where=next(iter(left)),
    )


def _comparison(fit: Fit, better: Settings, other: Settings) -> str:
    margin = fit.margin(better, other)
    ca, other_ca = fit.ca(better, margin.n), fit.ca(other, margin.n)
    return (
        f"CA {100 * ca.value:.1f} % against {100 * other_ca.value:.1f} %, mean log-likelihood "
        f"{fit.mean(better, margin.n):.3f} against {fit.mean(other, margin.n):.3f} "
        f"(margin {margin.mean:.3f}, interval {margin.low:.3f} to {margin.high:.3f}, n = {margin.n})"
    )


@dataclass(frozen=True, kw_only=True)
class SettledInputs:
    """`given` with its checkpoint under the settings of `figures`; `warnings` are sentences."""

    given: ForAudit
    figures: SettledArchitecture
    warnings: tuple[str, ...]


def settle(
    given: ForAudit, options: AuditOptions, run: Run, *, seed: int, kept: SettledArchitecture | None = None
) -> SettledInputs:
    """Measure the settings of the checkpoint, or take those `kept` by an earlier attempt of the same job.

    Raises CheckpointRejected `settings_at_chance`, `settings_undecided`, `declared_setting_does_not_fit`,
    `embeddings_not_finite`; OptionsRejected `bad_template`; Interrupted if `run.stop()`.
    """
    checkpoint, templates = given.checkpoint, templates_of(options, given.labelled)

    def check() -> None:
        if run.stop():
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
                checkpoint, sample, values, device=run.device, undecided=race.undecided, before_pass=check
            )
            figures = _measured(checkpoint, race, fit, seed, num_templates=len(sample.templates))
            run.progress(Noted(level="info", message=_what_was_done(figures)))
    settings = Settings.read(figures.values())
    return SettledInputs(
        given=replace(given, checkpoint=_under(checkpoint, settings, figures)),
        figures=figures,
        warnings=tuple(warnings(figures)),
    )


def _what_was_done(figures: SettledArchitecture) -> str:
    return SETTLED(
        n=figures.n, num=figures.num_compared, images=figures.num_image_passes, texts=figures.num_text_passes
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
        for option, unmeasured in zip(
            measurable(checkpoint.architecture), _as_read(checkpoint, race.known), strict=True
        )
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
        settings=(*settings, *not_measurable(checkpoint.architecture, checkpoint.provenance)),
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
        settings=(
            *_as_read(checkpoint, known),
            *not_measurable(checkpoint.architecture, checkpoint.provenance),
        ),
    )


def _as_read(checkpoint: LoadedCheckpoint, known: Mapping[str, Settled]) -> list[Setting]:
    present = Settings.of(checkpoint.architecture)
    return [
        not_compared(option, shown(getattr(present, option)), known[option], checkpoint.provenance)
        for option in measurable(checkpoint.architecture)
    ]
