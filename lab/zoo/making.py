"""Trains one model of the zoo and measures its CA and ASR; its weights lie in a folder of its own.

The adaptive family costs three models: a clean one of the same recipe and seed, that one after CleanCLIP, and
the poisoned one, as in the reproduction.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from cleanclip.vocabulary.attack_options import CustomPatternOptions
from cleanclip.vocabulary.measures import Estimate
from lab.reproduction.cells import SURROGATE_CLEANING
from lab.reproduction.measuring import made_with
from lab.reproduction.running import clean
from lab.testbed import glyphs as glyph_sets
from lab.testbed.adaptive import optimise_pattern
from lab.testbed.changing import attacked
from lab.testbed.glyphs import Glyphs, Part
from lab.testbed.options import OptimisedPattern, Ready
from lab.testbed.pictures import class_names, compose
from lab.testbed.poisoned_pairs import FURTHER_SEED
from lab.testbed.shards import write_pairs
from lab.testbed.subject import write
from lab.testbed.training import train
from lab.zoo.plan import Model
from lab.zoo.rows import ModelRow
from sanitizer.audits.statistics import wilson
from sanitizer.audits.zero_shot import class_embeddings, image_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.pixels import normalise

NUM_TEST = 1_500
TEST_SEED = 7_001
"""Of the test images: the same for every model of a dataset."""
_AT_ONCE = 256
_CPU = torch.device("cpu")


def make(model: Model, folder: Path) -> ModelRow:
    """Train `model` into `folder` (model.safetensors, config.json) and measure it. Raises GlyphsMissing."""
    wall_began, cpu_began = time.monotonic(), time.process_time()
    attack = _ready(model, folder)
    trained = train(model.options, attack, seed=model.seed)
    write(trained.model.state_dict(), model.options, folder)
    checkpoint = load_canonical(folder)
    right, asr = measure(checkpoint, glyph_sets.load(model.options.glyphs), _implanted(model, attack))
    return ModelRow(
        name=model.name,
        split=model.split,
        bed=model.bed,
        family=model.family,
        seed=model.seed,
        options=json.loads(json.dumps(asdict(model.options))),
        targets=model.targets,
        num_poisons=trained.num_poisons,
        ca=wilson(sum(right), len(right)),
        asr=asr,
        weights_sha256=checkpoint.weights_sha256,
        cpu_s=round(time.process_time() - cpu_began, 1),
        wall_s=round(time.monotonic() - wall_began, 1),
        made_with=made_with(),
    )


def _implanted(model: Model, attack: Ready | None) -> list[tuple[Ready, str, int]]:
    """(attack, target, seed of its trigger) of everything that was trained in."""
    attacks = [] if attack is None else [attack, *(one.attack for one in model.options.further or ())]
    found: list[tuple[Ready, str, int]] = []
    for number, (one, target) in enumerate(zip(attacks, model.targets, strict=True)):
        assert not isinstance(one, OptimisedPattern), "it became a trigger first"
        found.append((one, target, model.seed + number * FURTHER_SEED))
    return found


def classifier(checkpoint: LoadedCheckpoint, glyphs: Glyphs) -> Callable[[torch.Tensor], torch.Tensor]:
    """uint8 images [N, 3, H, W] → the number of the class that each is given, [N]."""
    architecture = checkpoint.architecture
    with torch.no_grad():
        class_CD = class_embeddings(checkpoint, class_names(glyphs), glyphs.zero_shot_templates, _CPU)

    @torch.no_grad()
    def predicted(image_NCHW: torch.Tensor) -> torch.Tensor:
        parts = [
            image_embeddings(
                checkpoint,
                normalise(part.float() / 255, architecture.image_mean, architecture.image_std),
            )
            for part in torch.split(image_NCHW, _AT_ONCE)
        ]
        return (torch.cat(parts) @ class_CD.T.to(parts[0].dtype)).argmax(dim=-1)

    return predicted


def measure(
    checkpoint: LoadedCheckpoint,
    glyphs: Glyphs,
    attacks: Sequence[tuple[Ready, str, int]],
    *,
    part: Part = "test",
    num_images: int = NUM_TEST,
    seed: int = TEST_SEED,
) -> tuple[list[bool], tuple[Estimate, ...]]:
    """Which images are classified right, and what every (attack, target, seed) does to those of other
    classes."""
    composed = partial(compose, glyphs, part, num_images, seed=seed)
    images = composed()
    label_N = torch.from_numpy(images.label_N)
    names, predicted = class_names(glyphs), classifier(checkpoint, glyphs)

    def on_paper(rgb: tuple[int, int, int]) -> torch.Tensor:
        return composed(paper=rgb).image_NCHW

    asr = []
    for attack, target_name, trigger_seed in attacks:
        image_NCHW = attacked(images.image_NCHW, attack, seed=trigger_seed, on_paper=on_paper)
        target = names.index(target_name)
        is_other_N = label_N != target
        asr.append(wilson(int((predicted(image_NCHW)[is_other_N] == target).sum()), int(is_other_N.sum())))
    return (predicted(images.image_NCHW) == label_N).tolist(), tuple(asr)


def _ready(model: Model, folder: Path) -> Ready | None:
    """The attack as it is trained in; an optimised pattern is optimised here."""
    attack = model.options.attack
    if not isinstance(attack, OptimisedPattern):
        return attack
    options, glyphs = replace(model.options, attack=None), glyph_sets.load(model.options.glyphs)
    surrogate, cleaned, pairs = (folder / name for name in ("surrogate", "cleaned", "surrogate-pairs"))
    try:
        write(train(options, None, seed=model.seed).model.state_dict(), options, surrogate)
        write_pairs(compose(glyphs, "cleaning", 8_000, seed=attack.seed), pairs)
        clean(surrogate, pairs, SURROGATE_CLEANING, cleaned, seed=attack.seed)
        image = optimise_pattern([load_canonical(surrogate), load_canonical(cleaned)], options, attack)
    finally:
        for one in (surrogate, cleaned, pairs):
            shutil.rmtree(one, ignore_errors=True)
    return CustomPatternOptions(image=image, alpha=attack.alpha)
