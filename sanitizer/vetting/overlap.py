"""Whether two datasets have samples in common: the bytes of their images are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cleanclip.kinds.vet import overlap
from sanitizer.data.skipping import BadSample
from sanitizer.vetting.reading import Dataset


def refuse_overlap(
    vetted: Dataset, trusted: Dataset, trusted_indices: Sequence[int], check: Callable[[], None]
) -> None:
    """Raises DatasetRejected `trusted_overlaps`: p-values of a sample against itself say nothing.

    Reads the bytes of each image and decodes none. An image that was saved again is another one to this. What
    `check()` raises before each sample passes through.
    """
    if vetted.files_sha256 == trusted.files_sha256:
        raise overlap("The trusted set is the set that is vetted")
    known = {_digest(trusted, index) for index in trusted_indices} - {None}
    for index in range(len(vetted)):
        check()
        if _digest(vetted, index) in known:  # None, of a bad sample, is not
            raise overlap(
                f"The trusted set holds an image of the set that is vetted, {vetted.key(index)}",
                where=vetted.key(index),
            )


def _digest(dataset: Dataset, index: int) -> bytes | None:
    try:
        return hashlib.sha256(dataset.raw_image(index)).digest()
    except BadSample:
        return None
