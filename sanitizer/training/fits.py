"""Whether a recipe fits a checkpoint and its data; asked before anything is computed."""

from cleanclip.vocabulary.cautions import check_batch, check_loss, check_split, check_words
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.recipe import Recipe
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.training.inserted_words import triggers_of
from sanitizer.training.towers import has_batch_norm


def check_fits(recipe: Recipe, checkpoint: LoadedCheckpoint, num_pairs: int, world_size: int = 1) -> None:
    """Refuse what cannot be trained, before anything is read. Raises OptionsRejected."""
    for refusal in check_loss(recipe, is_sigmoid=checkpoint.architecture.logit_bias):
        raise refusal
    for refusal in check_words(recipe, has_other_tokenizer=checkpoint.architecture.is_siglip):
        raise refusal
    triggers_of(recipe, checkpoint.tokenize)
    check_batch(recipe, num_pairs)
    if recipe.batch_size % world_size:
        raise OptionsRejected(
            "batch_not_shared_out",
            f"A batch of {recipe.batch_size} cannot be divided evenly among {world_size} processes.",
            "Set batch_size to a multiple of that number, or use fewer processes.",
            where="recipe.batch_size",
        )
    check_split(recipe, has_batch_norm=has_batch_norm(checkpoint.model), num_processes=world_size)
