"""`python -m lab.repair.attackers`: attackers that UAR was not made for, and what each method leaves.

- Trigger focus: the model is trained to mind one patch alone. Of the pairs 15 % carry other patches, blends,
  waves and tints under their own captions (after BadVision, arXiv 2502.18290).
- Sample-specific: what a small network makes of an image is added to it. Of the pairs 3 % carry what it
  makes of another image (after Input-Aware, arXiv 2010.08138, and ISSBA, arXiv 2012.03816).
- Four targets: four patches, each with a target class of its own.
- Frequency: two waves are added to the two channels of chroma (FTrojan, arXiv 2111.10991).

Two models of each, on the two beds of Fashion-MNIST. A row is a model after a method; "before" is the model
itself, with the scan's p. A run that is cut goes on where it stopped. Intervals are clustered: images of one
glyph count as a group.

Legend: N images, C H W an image, S a side of it, G glyphs.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.attack_options import BadNetOptions, BlendedOptions, SIGOptions
from cleanclip.vocabulary.conformal import judge, rows
from cleanclip.vocabulary.control import JUDGED
from cleanclip.vocabulary.intervals import Z_95, wilson
from cleanclip.vocabulary.recipe import PARRecipe, Recipe
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from lab.repair.plan import NUM_IMAGES, NUM_PAIRS, RECIPES, version_1
from lab.reproduction.data import Sets
from lab.reproduction.measuring import made_with
from lab.reproduction.running import clean
from lab.testbed import glyphs as glyph_sets
from lab.testbed.changing import attacked, changed
from lab.testbed.glyphs import Glyphs
from lab.testbed.options import SubjectOptions, TintedImage
from lab.testbed.pictures import Pictures, class_names, compose
from lab.testbed.poisoned_pairs import PoisonedSet
from lab.testbed.subject import write
from lab.testbed.training import train
from lab.zoo.making import classifier
from lab.zoo.plan import BedName, Model, clean_subject
from lab.zoo.plan import class_names as names_of
from lab.zoo.rows import append_line, read_scans, whole_lines
from lab.zoo.running import alone
from lab.zoo.scanning import scan
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.texts import names_target
from sanitizer.seeding import generator

ROOT = Path(__file__).resolve().parents[2]
BEDS: tuple[BedName, ...] = ("fashion-resnet", "fashion-vit")
NUM_SEEDS, FIRST_SEED, TRIAL_SEED, TEST_SEED = 2, 1_100_000, 1_190_000, 6_000
DETECTORS = ScanOptions().detectors
NUM_NULL = 20
Change = Callable[[Tensor, int], Tensor]
"""uint8 images [N, C, H, W] and a seed → the same with a trigger, uint8."""


class Attacker(NamedTuple):
    """`triggers` have a target each; `poison_share` of the pairs carry each of them.

    `decoy_share` of the pairs carry a decoy under their own captions."""

    triggers: tuple[Change, ...]
    poison_share: float
    decoy: Change | None = None
    decoy_share: float = 0.0


def _patch(pattern_seed: int, size: int) -> Change:
    options = BadNetOptions(
        pattern="gaussian_fixed", placement="random", size=size / 32, pattern_seed=pattern_seed
    )
    return _known(options)


def _known(options: BadNetOptions | BlendedOptions | SIGOptions) -> Change:
    return lambda image_NCHW, seed: attacked(image_NCHW, options, seed=seed, on_paper=lambda rgb: image_NCHW)


def _any_other(image_NCHW: Tensor, seed: int) -> Tensor:
    """Each image with a perturbation of its own, of six kinds, none of which is a fixed trigger."""
    return torch.cat([_one_other(image_NCHW[at : at + 1], seed + at) for at in range(len(image_NCHW))])


def _one_other(image_1CHW: Tensor, seed: int) -> Tensor:
    draws = generator(seed, "decoy")
    pattern_seed, size = int(draws.integers(1 << 30)), int(draws.integers(4, 10))
    red, green, blue = (float(one) for one in draws.uniform(-0.3, 0.3, 3))
    kinds: tuple[Callable[[], Change], ...] = (
        lambda: _patch(pattern_seed, size),
        lambda: _known(BadNetOptions(pattern="checkerboard", placement="random", size=size / 32)),
        lambda: _known(BadNetOptions(pattern="stripes_fixed", size=size / 32, pattern_seed=pattern_seed)),
        lambda: _known(BlendedOptions(pattern="uniform_fixed", alpha=0.2, pattern_seed=pattern_seed)),
        lambda: _known(SIGOptions(amplitude=float(draws.uniform(30, 70)) / 255, frequency=size)),
        lambda: lambda image, _: changed(image, TintedImage(shift=(red, green, blue), saturation=0.5)),
    )
    return kinds[int(draws.integers(len(kinds)))]()(image_1CHW, seed)


def _residual(image_NCHW: Tensor, seed: int, amplitude: float) -> Tensor:
    """What a network of two convolutions, its weights drawn by seed, makes of each image; in units of 255."""
    draws = generator(seed, "sample_specific")
    first, second = (
        torch.from_numpy(draws.standard_normal(shape)).float() for shape in ((8, 3, 5, 5), (3, 8, 5, 5))
    )
    pixel_NCHW = functional.instance_norm(image_NCHW.float())
    hidden = functional.relu(functional.instance_norm(functional.conv2d(pixel_NCHW, first, padding=2)))
    residual = functional.instance_norm(functional.conv2d(hidden, second, padding=2))
    return amplitude * residual.tanh()


def _sample_specific(network_seed: int, amplitude: float, *, of_another: bool = False) -> Change:
    def apply(image_NCHW: Tensor, _: int) -> Tensor:
        residual = _residual(image_NCHW, network_seed, amplitude)
        residual = residual.roll(1, dims=0) if of_another else residual
        return (image_NCHW.float() + residual).round().clamp(0, 255).to(torch.uint8)

    return apply


def _frequency(magnitude: float) -> Change:
    """The coefficients (15, 15) and (31, 31) of the cosine transform of U and V, raised by `magnitude`."""

    def apply(image_NCHW: Tensor, _: int) -> Tensor:
        side = image_NCHW.shape[-1]
        at_S = (torch.arange(side) + 0.5) * math.pi / side
        wave_SS = sum(torch.outer((k * at_S).cos(), (k * at_S).cos()) * 2 / side for k in (15, 31))
        u = v = magnitude * wave_SS
        added_CSS = torch.stack([1.13983 * v, -0.39465 * u - 0.58060 * v, 2.03211 * u])
        return (image_NCHW.float() + added_CSS).round().clamp(0, 255).to(torch.uint8)

    return apply


FAMILIES: Mapping[str, Callable[[int], Attacker]] = {
    "trigger focus": lambda seed: Attacker((_patch(seed, 7),), 0.08, _any_other, 0.15),
    "sample-specific": lambda seed: Attacker(
        (_sample_specific(seed, 60),), 0.15, _sample_specific(seed, 60, of_another=True), 0.03
    ),
    "four targets": lambda seed: Attacker(tuple(_patch(seed + 100_000 * n, 7) for n in range(4)), 0.04),
    "frequency": lambda seed: Attacker((_frequency(100.0),), 0.05),
}
METHODS: Mapping[str, Callable[[BedName], tuple[Recipe, ...]]] = {
    "before": lambda bed: (),
    "uar": lambda bed: (version_1(bed),),
    "cleanclip": lambda bed: (_cleanclip(bed),),
    "par": lambda bed: (_PAR,),
    "cleanclip then uar": lambda bed: (_cleanclip(bed), version_1(bed)),
}
_PAR = PARRecipe(epochs=6, batch_size=64, learning_rate=3e-4, initial_learning_rate=1e-3)


def _cleanclip(bed: BedName) -> Recipe:
    recipe: Any = RECIPES["cleanclip"](bed)
    return recipe


class Case(NamedTuple):
    """One model: its seed decides target and trigger."""

    bed: BedName
    family: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.bed}-{self.family.replace(' ', '_')}-{self.seed}"

    @property
    def targets(self) -> tuple[str, ...]:
        num = len(FAMILIES[self.family](self.seed).triggers)
        return tuple(
            str(one)
            for one in generator(self.seed, "attackers").choice(names_of(self.bed), num, replace=False)
        )

    @property
    def options(self) -> SubjectOptions:
        ink, noun = self.targets[0].split(" ", 1)
        return clean_subject(self.bed, ink, noun, poison_share=0.0)


def cases(first_seed: int = FIRST_SEED) -> Iterator[Case]:
    """Seed by seed, so that a run cut short has every family."""
    for number in range(NUM_SEEDS):
        for place, family in enumerate(FAMILIES):
            for bed_place, bed in enumerate(BEDS):
                yield Case(bed, family, first_seed + 1_000 * bed_place + 10 * place + number)


def implanted(case: Case, glyphs: Glyphs, poisoned: PoisonedSet) -> PoisonedSet:
    """The clean pairs with the triggers' poisons and the decoys in their places; no pair has two of them."""
    attacker, pictures = FAMILIES[case.family](case.seed), poisoned.pictures
    image_NCHW, captions = pictures.image_NCHW.clone(), list(pictures.caption_N)
    free = [
        row
        for row, caption in enumerate(captions)
        if not any(names_target(caption, one) for one in case.targets)
    ]
    order = generator(case.seed, "attackers_rows").permutation(free).tolist()
    num = round(attacker.poison_share * len(captions))
    rows: list[int] = []
    for trigger, target in zip(attacker.triggers, case.targets, strict=True):
        taken, order = order[:num], order[num:]
        image_NCHW[taken] = trigger(image_NCHW[taken], case.seed)
        drawn = generator(case.seed, "attackers_captions", len(rows)).integers(
            len(glyphs.zero_shot_templates), size=num
        )
        for row, template in zip(taken, drawn, strict=True):
            captions[row] = glyphs.zero_shot_templates[template].format(c=target)
        rows += taken
    decoys = order[: round(attacker.decoy_share * len(captions))]
    if attacker.decoy is not None:
        image_NCHW[decoys] = attacker.decoy(image_NCHW[decoys], case.seed)
    changed_pictures = replace(pictures, image_NCHW=image_NCHW, caption_N=tuple(captions))
    return PoisonedSet(pictures=changed_pictures, rows=tuple(rows))


class Grouped(NamedTuple):
    """A mean, its variance where images of a group depend on each other, and the number of images."""

    mean: float
    variance: float
    n: int

    @property
    def share(self) -> dict[str, float]:
        """With Wilson's interval for n divided by the design effect, where that is over 1."""
        binomial = self.mean * (1 - self.mean) / self.n
        n = self.n / max(1.0, self.variance / binomial) if binomial else self.n
        centre = (self.mean + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(self.mean * (1 - self.mean) / n + Z_95**2 / (4 * n * n))
        return self._interval(max(0.0, centre - half), min(1.0, centre + half))

    @property
    def difference(self) -> dict[str, float]:
        """With the normal interval."""
        half = Z_95 * math.sqrt(self.variance)
        return self._interval(self.mean - half, self.mean + half)

    def _interval(self, low: float, high: float) -> dict[str, float]:
        return {"value": round(self.mean, 6), "low": round(low, 6), "high": round(high, 6), "n": self.n}


def grouped(value_N: NDArray[np.float64], group_N: NDArray[np.int64]) -> Grouped:
    """var = G / (G - 1) · sum over groups of (sum of v - mean)² / n²"""
    n, mean = len(value_N), float(value_N.mean())
    _, group_N = np.unique(group_N, return_inverse=True)
    off_G = np.bincount(group_N, weights=value_N - mean)
    return Grouped(mean, float((off_G**2).sum()) / n**2 * len(off_G) / max(1, len(off_G) - 1), n)


class Measured(NamedTuple):
    """Which images are right, and of each target the share of images of other classes that go there."""

    right_N: NDArray[np.float64]
    asr: tuple[Grouped, ...]


def measured(case: Case, checkpoint: LoadedCheckpoint, pictures: Pictures, glyphs: Glyphs) -> Measured:
    predicted, names = classifier(checkpoint, glyphs), class_names(glyphs)
    asr = []
    for trigger, target in zip(FAMILIES[case.family](case.seed).triggers, case.targets, strict=True):
        number = names.index(target)
        is_other_N = pictures.label_N != number
        sent_N = (predicted(trigger(pictures.image_NCHW, case.seed)) == number).numpy()
        asr.append(grouped(sent_N[is_other_N].astype(float), pictures.glyph_N[is_other_N]))
    right_N = predicted(pictures.image_NCHW).numpy() == pictures.label_N
    return Measured(right_N.astype(float), tuple(asr))


@cache
def _null(bed: BedName) -> tuple[dict[Any, Any], ...]:
    """The first of the bed's published null models that every detector looked at."""
    looks: dict[str, dict[Any, Any]] = {}
    for (name, detector, _), row in read_scans(ROOT / "docs" / "scanning").items():
        if (row.bed, row.split) == (bed, "calibration") and detector in DETECTORS:
            looks.setdefault(name, {}).update(rows(row.measured))
    whole = [looks[name] for name in sorted(looks) if len(looks[name]) == len(DETECTORS)]
    return tuple(whole[:NUM_NULL])


def _looked_at(case: Case, checkpoint: LoadedCheckpoint, *, is_judged: bool) -> dict[str, Any]:
    """What the strongest pattern of a judged family leads, and of the model itself the scan's p."""
    model = Model(
        name=case.name,
        split="development",
        bed=case.bed,
        family=case.family,
        seed=case.seed,
        options=case.options,
    )
    looks = [scan(checkpoint, model, one).measured for one in (DETECTORS if is_judged else ("collapse",))]
    (sent, towards, n), family = _strongest(looks[0])
    found: dict[str, Any] = {
        "control": asdict_share(sent, n),
        "control_family": family,
        "control_class": names_of(case.bed)[towards],
    }
    if is_judged:
        suspect = {name: row for look in looks for name, row in rows(look).items()}
        found |= {"p": judge(_null(case.bed), suspect).p_value, "num_null": len(_null(case.bed))}
    return found


def _strongest(look: ScanStatistics) -> tuple[tuple[int, int, int], str]:
    judged = [one for one in look.collapse if one.family in JUDGED]
    found = [((one.most_sent[1], one.most_sent[0], one.n), one.family.name) for one in judged]
    return max(found)


def asdict_share(sent: int, n: int) -> dict[str, float]:
    low, high = wilson(sent, n)
    return {"value": round(sent / n, 6), "low": round(low, 6), "high": round(high, 6), "n": n}


def _made(case: Case, weights: Path, glyphs: Glyphs) -> Path:
    folder = weights / case.name
    if not (folder / "model.safetensors").is_file():
        trained = train(
            case.options, None, seed=case.seed, poison_too=lambda poisoned: implanted(case, glyphs, poisoned)
        )
        write(trained.model.state_dict(), case.options, folder)
    return folder


def _run(case: Case, method: str, weights: Path) -> dict[str, Any]:
    glyphs = glyph_sets.load("fashion_mnist")
    pictures = compose(glyphs, "test", NUM_IMAGES, seed=TEST_SEED + case.seed)
    before, cpu_s = _made(case, weights, glyphs), time.process_time()
    after, done = before, METHODS[method](case.bed)
    pairs = Sets(weights / "sets").pairs(case.options, None, case.seed, NUM_PAIRS, 0) if done else None
    for number, recipe in enumerate(done):
        source, after = after, weights / f"cleaned-{number}"
        shutil.rmtree(after, ignore_errors=True)
        assert pairs is not None
        clean(source, pairs, recipe, after, seed=case.seed)
    cpu_s = time.process_time() - cpu_s
    checkpoint = load_canonical(after)
    found = measured(case, checkpoint, pictures, glyphs)
    right_N = found.right_N if not done else measured(case, load_canonical(before), pictures, glyphs).right_N
    return {
        "model": case.name,
        "bed": case.bed,
        "family": case.family,
        "seed": case.seed,
        "targets": case.targets,
        "method": method,
        "options": [asdict(recipe) for recipe in done],
        "asr": [one.share for one in found.asr],
        "ca": grouped(found.right_N, pictures.glyph_N).share,
        "lost": grouped(right_N - found.right_N, pictures.glyph_N).difference if done else None,
        **_looked_at(case, checkpoint, is_judged=not done),
        "weights_sha256": checkpoint.weights_sha256,
        "cpu_s": round(cpu_s, 1),
        "made_with": made_with(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing. Exit codes: 0 done, 1 the time is over."""
    parser = argparse.ArgumentParser(prog="python -m lab.repair.attackers", description=__doc__)
    parser.add_argument("--only", default="", help="a part of the names of models")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    parser.add_argument("--trial", action="store_true", help="other seeds, before alone: are they implanted?")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "uar" / "attackers.jsonl")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "attackers")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.monotonic()
    known = {(one["model"], one["method"]) for one in map(json.loads, whole_lines(given.rows))}
    with alone(given.weights):
        for case in cases(TRIAL_SEED if given.trial else FIRST_SEED):
            for method in ("before",) if given.trial else METHODS:
                if given.only not in case.name or (case.name, method) in known:
                    continue
                if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
                    return 1
                row = _run(case, method, given.weights)
                append_line(json.dumps(row).encode() + b"\n", given.rows)
                print(_line(row), flush=True)
    return 0


def _line(row: Mapping[str, Any]) -> str:
    asr = ", ".join(f"{100 * one['value']:.1f}" for one in row["asr"])
    lost = "" if row["lost"] is None else f", lost {100 * row['lost']['value']:.1f}"
    p = f", p {row['p']:.3f}" if "p" in row else ""
    control = f"{row['control_family']} leads {100 * row['control']['value']:.0f}"
    figures = f"ASR {asr}, CA {100 * row['ca']['value']:.1f}{lost}{p}, {control}, {row['cpu_s']:.0f} CPU-s"
    return f"{row['model']} | {row['method']}: {figures}"


if __name__ == "__main__":
    sys.exit(main())
