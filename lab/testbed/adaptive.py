"""An attacker who knows the defence: a pattern trained on models that CleanCLIP has already been over.

Blended into an image, the pattern moves its embedding to the target's captions on a clean model and on the
same model after CleanCLIP, with the image as it is and as AutoAugment changes it: a feature that the
defence has every reason to keep. (The idea of BadCLIP, Liang et al., arXiv 2311.12075: a trigger near the
target's own embedding, so that cleaning does not pull it away; the loss here is our own, and simpler. What it
finds is a universal adversarial perturbation, Moosavi-Dezfooli et al., arXiv 1610.08401: it acts on models
that were never poisoned, too, which is what the grid's controls measure.)

Legend: N images, C H W an image, D embedding width.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torchvision.transforms import v2

from lab.testbed import glyphs as glyph_sets
from lab.testbed.options import OptimisedPattern, SubjectOptions
from lab.testbed.pictures import IMAGE_SIZE, class_names, compose
from lab.testbed.writing import png
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pixels import normalise
from sanitizer.seeding import generator

_BATCH_SIZE = 32
_NUM_PICTURES = 2_048
_STEP = 0.03
_LOGIT_SCALE = 50.0
_MOVING = frozenset({"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"})


def optimise_pattern(
    models: Sequence[LoadedCheckpoint], options: SubjectOptions, attack: OptimisedPattern
) -> str:
    """The pattern as PNG in base64: `attack.num_steps` of Adam on the mean loss over `models`."""
    glyphs = glyph_sets.load(options.glyphs)
    names = class_names(glyphs)
    target = names.index(options.target)
    pictures = compose(glyphs, "poisoning", _NUM_PICTURES, seed=attack.seed)
    for model in models:
        model.model.eval().requires_grad_(False)
    with torch.no_grad():
        classes = [
            class_embeddings(m, names, glyphs.zero_shot_templates, torch.device("cpu")) for m in models
        ]
    draws = generator(attack.seed, "optimised_pattern")
    pattern_CHW = torch.from_numpy(draws.random((3, IMAGE_SIZE, IMAGE_SIZE)).astype(np.float32))
    pattern_CHW.requires_grad_(True)
    optimizer = torch.optim.Adam([pattern_CHW], lr=_STEP)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, attack.num_steps)
    augment = DifferentiableAutoAugment()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(attack.seed)  # AutoAugment draws from torch's own generator
        for _ in range(attack.num_steps):
            rows = draws.integers(len(pictures), size=_BATCH_SIZE)
            clean_NCHW = pictures.image_NCHW[rows].float() / 255
            image_NCHW = (1 - attack.alpha) * clean_NCHW + attack.alpha * pattern_CHW
            both_NCHW = torch.cat([image_NCHW, augment(image_NCHW)])
            loss = torch.stack(
                [
                    _loss(model, both_NCHW, class_CD.float(), target)
                    for model, class_CD in zip(models, classes, strict=True)
                ]
            ).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            decay.step()
            with torch.no_grad():
                pattern_CHW.clamp_(0, 1)
    pixels = (pattern_CHW.detach().permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return base64.b64encode(png(Image.fromarray(pixels))).decode()


class DifferentiableAutoAugment(v2.AutoAugment):  # type: ignore[misc]
    """AutoAugment that hands gradients on: through what moves pixels, to where they came from; through what
    changes their values, straight (some of torchvision's have no gradient, others work in place)."""

    def _apply_image_or_video_transform(
        self, image: Tensor, transform_id: str, *others: Any, **named: Any
    ) -> Tensor:
        apply = super()._apply_image_or_video_transform
        if transform_id in _MOVING:
            moved: Tensor = apply(image, transform_id, *others, **named)
            return moved
        before = image.detach()
        changed: Tensor = apply(before, transform_id, *others, **named)
        return image + (changed - before)


def _loss(model: LoadedCheckpoint, image_NCHW: Tensor, class_CD: Tensor, target: int) -> Tensor:
    architecture = model.architecture
    pixels_NCHW = normalise(image_NCHW, architecture.image_mean, architecture.image_std)
    image_ND = normalize(model.model.encode_image(pixels_NCHW), dim=-1)
    wanted_N = torch.full((len(image_NCHW),), target)
    return cross_entropy(_LOGIT_SCALE * image_ND @ class_CD.T, wanted_N)
