"""`python -m lab.zoo.lineages`: models that were fine-tuned from a clean base, which detectors see as well.

The zoo's models are trained from nothing, so a detector that compares with a base says nothing of them. Here
the base is a bed's first calibration model; the null is copies of it that were fine-tuned on clean pairs, the
suspects are copies that were fine-tuned on poisoned ones; rates differ up to four times. All families are
open ones: nothing was chosen on these models, and nothing is held out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import get_args

import torch

from cleanclip.spec.recipe import CleanCLIPRecipe
from lab.testbed import glyphs as glyph_sets
from lab.testbed.options import OptimisedPattern
from lab.testbed.poisoned_pairs import poisoned_set
from lab.testbed.shards import write_pairs
from lab.zoo.baselines import lineage
from lab.zoo.intervals import clopper_pearson, delong
from lab.zoo.judging import WORKS, judge_all
from lab.zoo.making import measure, row_of
from lab.zoo.markdown import bounds, cells, percent, table, value_range
from lab.zoo.plan import DEVELOPMENT_FAMILIES, HELD_OUT_FAMILIES, BedName, Model, anchor_of
from lab.zoo.rows import ModelRow, ScanRow, append, read_models, read_scans
from lab.zoo.running import line_of, opened_or_made
from lab.zoo.scanning import Look, scan
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.pairs import open_pairs
from sanitizer.scans.subject import Subject
from sanitizer.seeding import generator
from sanitizer.training.loop import finetune

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "lineages"
"""Of the rows, below the zoo's."""
DETECTORS = ("lineage", "residual")
"""The base is the anchor of `residual`, too."""
LINEAGE = lineage.LineageOptions()
_OPEN = DEVELOPMENT_FAMILIES | HELD_OUT_FAMILIES
FAMILIES = ("badnet", "blended", "stripes", "triangles", "text", "sig", "semantic", "filter")
NUM_CLEAN, NUM_POISONED = 10, 8
NUM_PAIRS = 8_000
RECIPE = CleanCLIPRecipe(lambda1=1.0, lambda2=0.0, epochs=4, batch_size=64, warmup_steps=20)
"""CLIP's own loss on both towers; the rate is drawn."""
_LOG_RATES, _SHARES = (-3.3, -2.7), (0.03, 0.06)
_FIRST_CLEAN, _FIRST_POISONED = 810_000, 820_000
_CPU = torch.device("cpu")


def models(bed: BedName) -> list[Model]:
    """The null and the suspects, in turn."""
    clean = [_model(bed, number, None) for number in range(NUM_CLEAN)]
    poisoned = [_model(bed, number, FAMILIES[number % len(FAMILIES)]) for number in range(NUM_POISONED)]
    longest = max(NUM_CLEAN, NUM_POISONED)
    return [one for number in range(longest) for one in (*clean[number:][:1], *poisoned[number:][:1])]


def _model(bed: BedName, number: int, family: str | None) -> Model:
    first = _FIRST_CLEAN if family is None else _FIRST_POISONED
    seed = first + 1_000 * get_args(BedName).index(bed) + number
    draws = generator(seed, "zoo_recipe")
    options = replace(
        anchor_of(bed).options,
        attack=None if family is None else _OPEN[family](draws, seed),
        num_pairs=NUM_PAIRS,
        epochs=RECIPE.epochs,
        learning_rate=round(float(10 ** draws.uniform(*_LOG_RATES)), 6),
        poison_share=round(float(draws.uniform(*_SHARES)), 4),
    )
    kind = "clean" if family is None else "poisoned"
    return Model(
        name=f"tuned-{kind}-{bed}-{number:03}",
        split="calibration" if family is None else "development",
        bed=bed,
        family=family or "clean",
        seed=seed,
        options=options,
    )


def run(bed: BedName, rows: Path, weights: Path, *, minutes: float | None, say: Callable[[str], None]) -> int:
    """Make and scan what is missing; how many models are not finished. Begins none after the time."""
    torch.set_num_threads(1)
    started, folder = time.monotonic(), rows / FOLDER
    base_folder = weights / anchor_of(bed).name
    opened_or_made(anchor_of(bed), base_folder, rows, say)
    planned = models(bed)
    for model in planned:
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            break
        if _missing(model, folder):
            _finish(model, base_folder, folder, say)
    return sum(bool(_missing(model, folder)) for model in planned)


def _missing(model: Model, folder: Path) -> list[str]:
    seen = {detector for name, detector, _ in read_scans(folder) if name == model.name}
    return [one for one in DETECTORS if one not in seen]


def _finish(model: Model, base_folder: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Tune and scan it; all looks see the same weights."""
    with tempfile.TemporaryDirectory(prefix="lineage-") as scratch:
        row = _tuned(model, base_folder, Path(scratch))
        checkpoint = load_canonical(Path(scratch) / "tuned")
        base = load_canonical(base_folder)
        looks = [_look(checkpoint, model, one, base) for one in DETECTORS]
    append(row, folder)
    for look in looks:
        append(look, folder)
    say(line_of(row))


def _look(checkpoint: LoadedCheckpoint, model: Model, detector: str, base: LoadedCheckpoint) -> ScanRow:
    if detector == "lineage":
        return scan(checkpoint, model, detector, look_at=partial(_lineage, checkpoint, base))
    return scan(checkpoint, model, detector, base)


def _lineage(checkpoint: LoadedCheckpoint, base: LoadedCheckpoint, subject: Subject) -> Look:
    """It suspects no class."""
    line = lineage.Line(checkpoint.model.visual, dict(base.model.visual.named_parameters()))
    factors = lineage.extrapolate(subject, line, LINEAGE)
    return Look(
        statistics=lineage.rises(factors, len(subject.held_NCHW)),
        suspects=(),
        options=asdict(LINEAGE),
        details={"base_sha256": base.weights_sha256, "factors": [asdict(one) for one in factors]},
    )


def _tuned(model: Model, base_folder: Path, scratch: Path) -> ModelRow:
    """The base, fine-tuned into `scratch`/tuned and measured."""
    started, cpu_started = time.monotonic(), time.process_time()
    options, glyphs = model.options, glyph_sets.load(model.options.glyphs)
    attack = options.attack
    assert not isinstance(attack, OptimisedPattern), "no family is optimised"
    poisoned = poisoned_set(
        glyphs,
        "poisoning",
        NUM_PAIRS,
        attack=attack,
        target=options.target,
        num_poisons=round(NUM_PAIRS * options.poison_share),
        seed=model.seed,
    )
    write_pairs(poisoned.pictures, scratch / "pairs")
    tuned = load_canonical(base_folder)
    recipe = replace(RECIPE, learning_rate=options.learning_rate)
    finetune(tuned, open_pairs(scratch / "pairs"), recipe, seed=model.seed, device=_CPU)
    checkpoint = _written(tuned, scratch / "tuned")
    measured = measure(checkpoint, glyphs, [] if attack is None else [(attack, options.target, model.seed)])
    return row_of(
        model,
        checkpoint,
        measured,
        num_poisons=len(poisoned.rows),
        cpu_s=time.process_time() - cpu_started,
        wall_s=time.monotonic() - started,
    )


def _written(checkpoint: LoadedCheckpoint, folder: Path) -> LoadedCheckpoint:
    write_canonical(folder, checkpoint.model.state_dict(), checkpoint.architecture, {"layout": "open_clip"})
    return load_canonical(folder)


def section(rows: Path) -> str:
    """The table of every detector."""
    known, scans = read_models(rows / FOLDER), list(read_scans(rows / FOLDER).values())
    about = _about(known)
    lines = []
    for detector in DETECTORS:
        judged = judge_all(known, scans, detector)
        for bed in sorted({one.bed for one in judged}):
            mine = [one for one in judged if one.bed == bed]
            clean = [one.score for one in mine if one.asr is None]
            working = [one for one in mine if one.asr is not None and one.asr >= WORKS]
            if not working:
                continue
            area = delong(clean, [one.score for one in working])
            smallest = sum(one.p == one.smallest_p for one in working)
            first = sum(one.place == 1 for one in working)
            lines.append(
                cells(
                    f"**{detector}**",
                    bed,
                    len(clean),
                    len(working),
                    f"{area.value:.3f}",
                    bounds(area),
                    percent(clopper_pearson(smallest, len(working))),
                    "" if detector == "lineage" else percent(clopper_pearson(first, len(working))),
                )
            )
    head = ("detector", "bed", "clean", "poisoned", "AUROC", "DeLong", "smallest p", "target first")
    return about + "\n\n" + table(head, lines)


def _about(known: Mapping[str, ModelRow]) -> str:
    return "\n".join(_ranges(known)) or "No model was fine-tuned yet."


def _ranges(known: Mapping[str, ModelRow]) -> Iterator[str]:
    for bed in sorted({row.bed for row in known.values()}):
        mine = [row for row in known.values() if row.bed == bed]
        asr = [row.asr[0].value for row in mine if row.asr]
        yield (
            f"{bed}: CA {value_range(row.ca.value for row in mine)} %, ASR of the {len(asr)} poisoned "
            f"{value_range(asr)} %."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; 0 if nothing is left."""
    parser = argparse.ArgumentParser(prog="python -m lab.zoo.lineages", description=__doc__)
    parser.add_argument("--bed", choices=get_args(BedName), required=True)
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "scanning", help="where rows are kept")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "zoo", help="where the base lies")
    parser.add_argument("--minutes", type=float, help="begin no model after so many minutes")
    given = parser.parse_args(arguments)
    left = 1
    with suppress(KeyboardInterrupt):
        left = run(given.bed, given.rows, given.weights, minutes=given.minutes, say=print)
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
