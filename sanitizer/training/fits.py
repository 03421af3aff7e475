"""Whether a recipe fits a checkpoint and its data; asked before anything is computed. Knows no loop."""

from __future__ import annotations

from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.errors import OptionsRejected
from sanitizer.recipe import Recipe
from sanitizer.training.towers import has_batch_norm


def check_fits(recipe: Recipe, checkpoint: LoadedCheckpoint, num_pairs: int, world_size: int = 1) -> None:
    """Refuse what cannot be trained, before anything is read. Raises OptionsRejected."""
    if num_pairs < recipe.batch_size:
        raise OptionsRejected(
            "batch_larger_than_data",
            f"{num_pairs} pairs do not fill one batch of {recipe.batch_size}.",
            f"Set batch_size to at most {num_pairs}, or give more pairs.",
            where="recipe.batch_size",
        )
    if recipe.batch_size % world_size:
        raise OptionsRejected(
            "batch_not_shared_out",
            f"A batch of {recipe.batch_size} cannot be shared out evenly among {world_size} processes.",
            "Set batch_size to a multiple of their number, or train in fewer.",
            where="recipe.batch_size",
        )
    is_split = world_size > 1 or (recipe.chunk_size or recipe.batch_size) < recipe.batch_size
    if is_split and not recipe.freeze_batch_norm_statistics and has_batch_norm(checkpoint.model):
        raise OptionsRejected(
            "batch_norm_needs_whole_batch",
            "BatchNorm statistics that are not frozen depend on the whole batch, which is split here.",
            "Freeze them, or leave chunk_size out and train in one process.",
            where="recipe.freeze_batch_norm_statistics",
        )
