"""Captions as row numbers of a small token table. Knows no model.

Legend: N captions, L places for tokens, V rows of the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor


class Texts:
    """Tokenises captions into row numbers of a table that holds only the words of `captions`.

    The numbers keep CLIP's order, so that the end-of-text token is still the highest of its row; columns
    that are padding in every caption are cut off.
    """

    def __init__(self, captions: Sequence[str], context_length: int) -> None:
        self._tokenizer = SimpleTokenizer()
        self._context_length = context_length
        token_NL = self._tokenize(captions)
        self.row_V = torch.from_numpy(np.unique(token_NL.numpy()))
        self._num_places = int(token_NL.argmax(dim=-1).max()) + 1

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """int64 [N, places]."""
        return torch.searchsorted(self.row_V, self._tokenize(captions)[:, : self._num_places].contiguous())

    def _tokenize(self, captions: Sequence[str]) -> Tensor:
        distinct = sorted(set(captions))
        number = {caption: row for row, caption in enumerate(distinct)}
        token_NL: Tensor = self._tokenizer(distinct, context_length=self._context_length)
        return token_NL[[number[caption] for caption in captions]]
