"""The fixed two-dimensional table of positions that open_clip builds for `pos_embed_type: sin_cos_2d`.

The same numbers as `open_clip.pos_embed.get_2d_sincos_pos_embed`, bit for bit (a test compares them), without
importing open_clip. Source: He et al., "Masked autoencoders are scalable vision learners", 2022, its code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LONGEST_PERIOD = 10_000


def sin_cos_2d(width: int, side: int) -> NDArray[np.float64]:
    """[1 + side * side, width]: a row of zeros for the class token, then the cells row by row."""
    cells = np.arange(side, dtype=np.float32)
    column_SS, row_SS = np.meshgrid(cells, cells)
    table = np.concatenate([_sin_cos(width // 2, column_SS), _sin_cos(width // 2, row_SS)], axis=1)
    return np.concatenate([np.zeros([1, width]), table], axis=0)


def _sin_cos(width: int, position: NDArray[np.float32]) -> NDArray[np.float64]:
    frequency = np.arange(width // 2, dtype=float)
    frequency /= width / 2.0
    frequency = 1.0 / _LONGEST_PERIOD**frequency
    angle = np.einsum("m,d->md", position.reshape(-1), frequency)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
