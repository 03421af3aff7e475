"""Batches by two processes, as training gets them; writes how many: `python loader_child.py FOLDER`.

The loader still lives when the program ends, as it does after an error that nobody caught.
"""

import sys
from pathlib import Path

import torch

from sanitizer.data.batches import PairBatches
from sanitizer.data.pairs import open_pairs


def tokenize(captions: object) -> torch.Tensor:
    return torch.zeros(len(list(captions)), 8, dtype=torch.int64)  # type: ignore[call-overload]


if __name__ == "__main__":
    batches = PairBatches(
        open_pairs(Path(sys.argv[1])),
        tokenize=tokenize,
        image_size=16,
        batch_size=4,
        seed=1,
        eda_alpha=0.1,
        max_skipped_share=0.0,
        num_workers=2,
    )
    layer = torch.nn.Conv2d(3, 4, 3)
    loss = sum(layer(batch.image_NCHW.float()).square().mean() for batch in batches.epoch(0))
    loss.backward()  # type: ignore[union-attr]
    sys.stdout.write(str(batches.steps_per_epoch))
