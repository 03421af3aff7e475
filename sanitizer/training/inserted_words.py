"""Captions with the words of a trigger inserted, on which `uar` trains the text tower.

What is drawn depends on the seed and the number of the update alone, so a resumed run and one of several
processes insert the same.

Legend: N captions of this rank's batch, B those of all ranks, L = the model's context length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.uar_recipe import INSERTED_SHARE, UARRecipe
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.seeding import generator
from sanitizer.training.distributed import World

Trigger = tuple[tuple[int, ...], ...]
"""The tokens of each of its words."""
Tokenize = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, kw_only=True)
class InsertedWords:
    """Of one run. `batch_size`: of all ranks together."""

    triggers: tuple[Trigger, ...]
    batch_size: int
    seed: int
    world: World

    @classmethod
    def of_run(
        cls, checkpoint: LoadedCheckpoint, recipe: Recipe, *, seed: int, world: World
    ) -> "InsertedWords | None":
        """None where the recipe names no words. Raises OptionsRejected as `triggers_of` does."""
        triggers = triggers_of(recipe, checkpoint.tokenize)
        if not triggers:
            return None
        return cls(triggers=triggers, batch_size=recipe.batch_size, seed=seed, world=world)

    def inserted(self, tokens_NL: Tensor, step: int) -> Tensor:
        """The captions of update `step`, about half of them with a trigger; int64 [N, L]."""
        draws = generator(self.seed, "uar_words", step)
        is_chosen_B = draws.random(self.batch_size) < INSERTED_SHARE
        trigger_B = draws.integers(len(self.triggers), size=self.batch_size)
        place_BW = draws.random((self.batch_size, max(map(len, self.triggers))))
        own = slice(self.world.rank, None, self.world.size)  # as the pairs of a batch are shared out
        rows = zip(tokens_NL.tolist(), is_chosen_B[own], trigger_B[own], place_BW[own].tolist(), strict=True)
        return torch.tensor(
            [
                with_words(row, self.triggers[trigger], places) if is_chosen else row
                for row, is_chosen, trigger, places in rows
            ]
        )


def with_words(tokens_L: Sequence[int], trigger: Trigger, places: Sequence[float]) -> list[int]:
    """A caption with each word of `trigger` between two of its tokens; of the same length L.

    `places` in [0, 1) say between which, one for each word. A caption that gets too long loses its last
    tokens, and neither a word nor the end token, which is the highest of all.
    """
    end = max(range(len(tokens_L)), key=tokens_L.__getitem__)
    caption = tokens_L[1:end][: len(tokens_L) - 2 - sum(map(len, trigger))]
    text: list[int] = []
    for place in range(len(caption) + 1):
        for word, where in zip(trigger, places, strict=False):
            if int(where * (len(caption) + 1)) == place:
                text += word
        text += caption[place : place + 1]
    padding = [0] * (len(tokens_L) - 2 - len(text))
    return [tokens_L[0], *text, tokens_L[end], *padding]


def triggers_of(recipe: Recipe, tokenize: Tokenize) -> tuple[Trigger, ...]:
    """Those of the recipe, in tokens. Raises OptionsRejected `trigger_words_not_insertable` for words that
    leave no room for a caption's own tokens, or that have a start or end token, or no token."""
    if not isinstance(recipe, UARRecipe):
        return ()
    triggers = []
    for number, words in enumerate(recipe.words()):
        rows = [row.tolist() for row in tokenize(words)]
        trigger = tuple(tuple(row[1 : row.index(max(row))]) for row in rows)
        is_plain = all(row.count(row[0]) == row.count(max(row)) == 1 for row in rows) and all(trigger)
        if not is_plain or sum(map(len, trigger)) > len(rows[0]) - 3:
            raise OptionsRejected(
                "trigger_words_not_insertable",
                f"Trigger {number + 1} of trigger_words cannot be inserted into a caption: its words have no "
                "token, a start or end token, or more tokens than a caption has room for.",
                "Name other words, or fewer.",
                where=f"recipe.trigger_words.{number}",
            )
        triggers.append(trigger)
    return tuple(triggers)
