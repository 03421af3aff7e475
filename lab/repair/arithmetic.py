"""A rival after TBAR (arXiv 2510.14845): weight arithmetic with patterns that are found on the model itself.

    w' = w − alpha · (w⁺ − w)        w⁺: the image tower after it learned the found patterns further

Fine-tuning on triggered images and subtracting what that adds is the paper's idea. The code, the search and
the loss are ours: no trigger, target or caption is given. Of the patterns that UAR inverts those count under
which embeddings collapse nearly as much as under the best. v is where these send images, f0 the input model:

    L = mean(1 − cos(f(x ⊕ p), v)) + w · mean(1 − cos(f(x), f0(x)))        x: half of the batch each

Legend: M images, N of a batch, D embedding width.
"""

from pathlib import Path

import torch
from torch.nn.functional import normalize

from lab.repair.plan import Arithmetic
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.pairs import open_pairs
from sanitizer.methods.losses import mean_cosine_distance
from sanitizer.perturbations.ascent import to_unit
from sanitizer.perturbations.collapse import CollapseOptions, collapse, invert
from sanitizer.perturbations.patterns import apply_patterns
from sanitizer.seeding import generator
from sanitizer.training import towers
from sanitizer.training.feeding import to_input
from sanitizer.training.inverting import embedder, images_to_invert_on
from sanitizer.training.pattern_pool import PatternPool


def subtract(source: Path, pairs: Path, options: Arithmetic, folder: Path, *, seed: int) -> None:
    """What `options` make of the model in `source`: `folder`."""
    checkpoint = load_canonical(source)
    before = towers.frozen_image_tower(checkpoint.model)
    size = checkpoint.architecture.image_size
    _learn_further(checkpoint, images_to_invert_on(open_pairs(pairs), size, seed), options, seed)
    towers.keep_change(checkpoint.model, before, -options.alpha)
    state = checkpoint.model.state_dict()
    write_canonical(folder, state, checkpoint.architecture, checkpoint.provenance)


def _learn_further(
    checkpoint: LoadedCheckpoint, image_MCHW: torch.Tensor, options: Arithmetic, seed: int
) -> None:
    """Train the image tower, in place, to send images with the found patterns where they go already."""
    model = checkpoint.model
    embed = embedder(model, to_input(checkpoint), torch.float32)
    size, half = checkpoint.architecture.image_size, options.batch_size // 2
    pool = PatternPool(options.searched, image_size=size, seed=seed, device=torch.device("cpu"))
    search = CollapseOptions(num_steps=options.searched.inversion_steps)
    inverted = invert(embed, image_MCHW, pool.families_to_invert(), search, seed=seed, stream="tbar")
    collapses = collapse(embed, image_MCHW, inverted, seed=seed)
    found = [one for one, far in zip(inverted, collapses, strict=True) if far >= 0.8 * max(collapses)]

    def triggered(image_NCHW: torch.Tensor, step: int) -> torch.Tensor:
        draws, num = generator(seed, "tbar_places", step), len(image_NCHW)
        which_N = draws.integers(len(found), size=num).tolist()
        place_N2 = torch.from_numpy(draws.random((num, 2)))
        return embed(apply_patterns(to_unit(image_NCHW), found, which_N, place_N2))

    with torch.no_grad():
        before_MD = embed(to_unit(image_MCHW))
        place_1D = normalize(triggered(image_MCHW, options.num_steps).mean(dim=0, keepdim=True), dim=-1)
    optimizer = torch.optim.AdamW(model.visual.parameters(), options.learning_rate, weight_decay=0)
    for step in range(options.num_steps):
        row_N = generator(seed, "tbar_batch", step).choice(len(image_MCHW), 2 * half)
        distance = mean_cosine_distance(triggered(image_MCHW[row_N[:half]], step), place_1D)
        kept = mean_cosine_distance(embed(to_unit(image_MCHW[row_N[half:]])), before_MD[row_N[half:]])
        optimizer.zero_grad()
        torch.autograd.backward(distance + options.kept_weight * kept)
        optimizer.step()
