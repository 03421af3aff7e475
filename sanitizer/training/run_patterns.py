"""Universal patterns in the course of a run: when they are inverted, assigned and optimised."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from open_clip.model import CLIP
from torch import Tensor

from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.training_data import TrainingData
from sanitizer.training import towers
from sanitizer.training.distributed import World
from sanitizer.training.inverting import embedder, images_to_invert_on, invert_into
from sanitizer.training.pattern_pool import PatternPool
from sanitizer.training.schedule import stage_of
from sanitizer.training.step import Perturb, StepOptions

OnStep = Callable[[int, int], None]


@dataclass(kw_only=True)
class Patterns:
    """Of one run of UAR. `on_step(done, total)` is called after each step of an inversion and may raise."""

    recipe: UARRecipe
    pool: PatternPool
    model: CLIP
    data: TrainingData
    image_size: int
    seed: int
    options: StepOptions
    world: World
    on_step: OnStep
    _took_s: float = 0.0
    _steps_taken: int = 0

    @classmethod
    def of_run(
        cls,
        checkpoint: LoadedCheckpoint,
        data: TrainingData,
        recipe: Recipe,
        *,
        seed: int,
        options: StepOptions,
        world: World,
        on_step: OnStep,
    ) -> Patterns | None:
        """None for a method without patterns."""
        if not isinstance(recipe, UARRecipe):
            return None
        size = checkpoint.architecture.image_size
        device = checkpoint.model.logit_scale.device
        return cls(
            recipe=recipe,
            pool=PatternPool(recipe, image_size=size, seed=seed, device=device),
            model=checkpoint.model,
            data=data,
            image_size=size,
            seed=seed,
            options=options,
            world=world,
            on_step=on_step,
        )

    def invert(self, step: int, steps_per_epoch: int) -> bool:
        """If update `step` is the first of a stage whose inversion is not done: do it. Whether it was done.

        BatchNorm uses its running statistics meanwhile, whatever the recipe says of training.
        """
        stages = self.recipe.stages()
        number, step_of_stage, _ = stage_of(stages, step, steps_per_epoch=steps_per_epoch)
        num_steps = stages[number].inversion_steps
        if step_of_stage != 0 or self.pool.num_inversions > number:
            return False
        if num_steps == 0 or not self.pool.families_to_invert():
            self.pool.add_inverted(())
            return False
        started = time.monotonic()
        device = self.model.logit_scale.device
        image_MCHW = images_to_invert_on(self.data, self.image_size, self.seed).to(device)
        self.model.eval()
        try:
            invert_into(
                self.pool,
                embedder(self.model, self.options.to_input, self.options.towers_dtype),
                image_MCHW,
                num_steps=num_steps,
                images_at_once=self.recipe.chunk_size or self.recipe.batch_size,
                seed=self.seed,
                world=self.world,
                on_step=lambda done: self.on_step(done, num_steps),
            )
        finally:
            frozen = self.recipe.freeze_batch_norm_statistics
            towers.prepare(self.model, freeze_batch_norm_statistics=frozen)
        self._took_s += time.monotonic() - started
        self._steps_taken += num_steps
        return True

    def assign(self, step: int, steps_per_epoch: int) -> Perturb:
        """What changes this rank's images of update `step`."""
        stages = self.recipe.stages()
        number, _, _ = stage_of(stages, step, steps_per_epoch=steps_per_epoch)
        return self.pool.assign(step, stages[number], self.recipe.batch_size, self.world).perturb

    def ascend(self, step: int) -> None:
        """After update `step`: the live patterns take theirs, by the gradient of the same backward pass."""
        self.pool.ascend(step, self.world)

    def seconds_left(self) -> float:
        """Of inversions to come, by what those of this process took. 0 where none was made yet."""
        if self._steps_taken == 0:
            return 0.0
        coming = sum(stage.inversion_steps for stage in self.recipe.stages()[self.pool.num_inversions :])
        return coming * self._took_s / self._steps_taken

    def export(self) -> dict[str, Tensor]:
        """For a training state."""
        return {name: tensor.to(torch.device("cpu")) for name, tensor in self.pool.export().items()}

    def restore(self, known: Mapping[str, Tensor]) -> None:
        """From a training state."""
        self.pool.restore(known)
