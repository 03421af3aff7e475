"""How many of some poisons of our own would have been set aside. Makes poisons of trusted samples only.

The poisons are trusted images with the caption of another trusted image: a wrong caption, and no trigger.
All that they need has been embedded already. What is found holds for such poisons in this set, and for no
other kind.

Shapes: n trusted samples that calibrate, S scores.
"""

import numpy as np
from numpy.typing import NDArray

from cleanclip.vocabulary.measures import Estimate
from sanitizer.audits.statistics import wilson
from sanitizer.seeding import generator
from sanitizer.vetting import conformal
from sanitizer.vetting.disagreement import share_below
from sanitizer.vetting.mismatch import cosine, mismatch
from sanitizer.vetting.scoring import Pool, Scored, cosines_of

_OTHER = 1e-4
"""Two texts whose embeddings are farther apart than this are different captions."""


def shuffled_captions(pool: Pool, scored: Scored, seed: int) -> Estimate | None:
    """The share that would have been set aside. None without trusted samples, or where no score reads
    captions."""
    num = len(pool.calibration_rows)
    if num == 0 or not {"disagreement", "mismatch"} & set(scored.names):
        return None
    first = pool.num_vetted
    place_n = np.arange(first, first + num, dtype=np.int64)
    other_n = generator(seed, "vet_planted").permutation(place_n)
    cosines: dict[str, NDArray[np.float64]] = {}
    is_other_n = np.ones(num, dtype=bool)
    for name in dict.fromkeys(("suspect", pool.judge)):
        own, given = pool.read(f"{name}_text", place_n), pool.read(f"{name}_text", other_n)
        is_other_n &= np.linalg.norm(own - given, axis=1) > _OTHER
        cosines[name] = cosine(pool.read(f"{name}_image", place_n), given)
    value_nS = scored.value_MS[first:].copy()
    for column, score in enumerate(scored.names):
        if score == "mismatch":
            value_nS[:, column] = mismatch(cosines[pool.judge])
        elif score == "disagreement":
            among = cosines_of(pool)
            ranks = (share_below(cosines[name], among[name]) for name in ("suspect", "anchor"))
            value_nS[:, column] = next(ranks) - next(ranks)
    p_nS = np.stack(
        [
            conformal.p_values(value_nS[:, column], scored.value_MS[first:, column])
            for column in range(len(scored.names))
        ],
        axis=1,
    )
    limit = scored.combined_N[scored.worst[-1]]
    is_set_aside_n = conformal.combined(p_nS) < limit  # a tie with the last one set aside does not count
    return wilson(int((is_set_aside_n & is_other_n).sum()), int(is_other_n.sum()))
