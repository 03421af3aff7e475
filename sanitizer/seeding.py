"""Randomness by name: one seed, one stream name, any integers → an independent NumPy generator.

Everything random in the library is drawn from here, so that the same seed gives the same trigger on the
same image, the same order of pairs and the same augmented views, whatever the batch size, the number of
workers or the step at which a run was resumed.
"""

import zlib

import numpy as np


def generator(seed: int, stream: str, *indices: int) -> np.random.Generator:
    """PCG64 seeded with the sequence [seed, crc32(stream), *indices]; stable across NumPy versions ≥ 1.17."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), *indices])
