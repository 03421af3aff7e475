"""Looks of a ladder: a model measured on the validation images, with patterns inverted on that very model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cleanclip.spec.attack_options import names_of, surrogates_of
from cleanclip.spec.auto_figures import UniversalShare, Validated
from cleanclip.spec.choosing import works_unknown
from cleanclip.spec.errors import Interrupted
from cleanclip.spec.ladder import NUM_PATTERNS, PATTERN_SIZE, PATTERN_STEPS
from cleanclip.spec.recipe import AttackOptions, AuditOptions, to_json
from sanitizer.audits.rebound import Sample
from sanitizer.audits.validation import Measured, measure_patterns, measure_validation
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.training_data import TrainingData
from sanitizer.perturbations.collapse import CollapseOptions, invert
from sanitizer.perturbations.patch import Patch
from sanitizer.perturbations.patterns import Pattern
from sanitizer.training.batching import to_input
from sanitizer.training.device import towers_dtype
from sanitizer.training.inverting import embedder, images_to_invert_on

PATTERNS_STREAM = "auto_patterns"
"""Its own, so that fresh patterns are not those that a rung was trained against."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How models are looked at; `share` hears how much of a pass over the validation images is done."""

    sample: Sample
    """All validation images."""
    training: TrainingData
    options: AuditOptions
    share: Callable[[float], None]

    def at_input(self, model: LoadedCheckpoint) -> Measured:
        """The input model, with all surrogates and with patterns. Raises what an audit raises."""
        measured = self._measured(model, surrogates_of(self.options.attacks))
        return replace(measured, figures=replace(measured.figures, patterns=self.patterns(model)))

    def at_rung(self, model: LoadedCheckpoint, before: Validated) -> Measured:
        """A rung's model, with the surrogates that worked on the input model and without patterns."""
        names = {one.name for one in before.surrogates if works_unknown(one)}
        every = surrogates_of(self.options.attacks)
        all_names = names_of(to_json(one) for one in every)
        chosen = {name: one for name, one in zip(all_names, every, strict=True) if name in names}
        measured = self._measured(model, tuple(chosen.values()), before)
        # Fewer of a kind have shorter names: they keep those that all of them have.
        renamed = tuple(
            replace(share, name=name) for share, name in zip(measured.figures.surrogates, chosen, strict=True)
        )
        return replace(measured, figures=replace(measured.figures, surrogates=renamed))

    def patterns(self, model: LoadedCheckpoint) -> tuple[UniversalShare, ...]:
        """Fresh patches, inverted on training images, and how far they send the validation images."""
        return measure_patterns(model, self.options, self.sample, self._inverted(model), self.share)

    def _measured(
        self, model: LoadedCheckpoint, surrogates: Sequence[AttackOptions], before: Validated | None = None
    ) -> Measured:
        return measure_validation(model, self.options, self.sample, surrogates, self.share, before=before)

    def _inverted(self, model: LoadedCheckpoint) -> tuple[Pattern, ...]:
        """Patches under which the model sees all images alike."""
        size, sample = model.architecture.image_size, self.sample
        model.model.to(sample.device).eval()

        def check(_done: int) -> None:
            if sample.stop():
                raise Interrupted("stopped", "The look was stopped on request.", "Run it again.")

        return invert(
            embedder(model.model, to_input(model), towers_dtype("auto", sample.device, model.model)),
            images_to_invert_on(self.training, size, sample.seed).to(sample.device),
            [Patch(max(1, round(PATTERN_SIZE * size)))] * NUM_PATTERNS,
            CollapseOptions(num_steps=PATTERN_STEPS),
            seed=sample.seed,
            stream=PATTERNS_STREAM,
            on_step=check,
        )
