"""`python -m lab.zoo.one_place [MINUTES]`: which search finds a patch at one fixed place on a ResNet?

It makes the development models of `MODELS` in order, with a row for each search of each in `ROWS`. Where the
choice `IS_FROZEN`, it makes and scans the held-out models.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch

from lab.testbed import glyphs as glyph_sets
from lab.zoo.judging import DEFAULT_DETECTORS
from lab.zoo.making import make
from lab.zoo.plan import model
from lab.zoo.rows import append_line, whole_lines
from lab.zoo.running import Folders, alone, finish, line_of
from lab.zoo.scanning import SCAN, SCAN_SEED, subject_of
from sanitizer.checkpoints.model import load_canonical
from sanitizer.perturbations.ascent import Ascent, AscentOptions
from sanitizer.perturbations.collapse import objective
from sanitizer.perturbations.families import Patch
from sanitizer.perturbations.patterns import drawn
from sanitizer.scans.families import build
from sanitizer.scans.subject import Subject, squared_mean

ROOT = Path(__file__).resolve().parents[2]
ROWS, PAGE = (ROOT / "docs" / "scanning" / name for name in ("one-place.jsonl", "how.md"))
FOLDER = ROOT / "docs" / "scanning" / "one-place"
BEGIN, END = "<!-- begin: one place -->", "<!-- end: one place -->"
BED = "fashion-resnet"
MODELS = {
    "development": [
        *(model("development", BED, 0), model("one_place", BED, 0), model("one_place", BED, 2)),
        *(model("calibration", BED, number) for number in (9, 1, 2, 3)),
        *(model("one_place", BED, 1), model("one_place", BED, 3)),
        *(model("calibration", BED, number) for number in (4, 5, 6, 7, 8, 10)),
    ],
    "held out": [
        model(split, BED, first + number)
        for number in range(6)
        for split, first in (("one_place", 10), ("test_clean", 20))
    ],
}
"""The first three are those that the scan missed; calibration 9 is the clean model that looked worst there."""
SEARCHES = {
    "scan": (32, 1),
    "long": (128, 1),
    "spread": (64, 1),
    "grid of 3": (32, 4),
    "grid of 4": (32, 3),
    "saliency": (32, 9),
}
"""Steps, and starts at each place."""
IS_FROZEN = True
"""Held-out models get the scan as it is (`FOLDER`) and are judged by `tools.reference.one_place.RULES`: on the three
models that were missed the scan's own search has a start that leads 97 % of the images or more, and clean models of
the published null have one that leads 93 %. So what misses them is how far the starts agree, not the search."""
_FAMILY = next(one for one in SCAN.collapse.families if one.placement == "fixed")
_IMAGES_PER_STEP, _STEP, _APART = 8, 4, 6


def places(search: str, subject: Subject) -> list[tuple[float, float]]:
    """Of the patch, as shares in [0, 1) of the free rows and columns."""
    if search == "saliency":
        return salient(subject, 4)
    if search.startswith("grid"):
        side = int(search[-1])
        return [
            (row / (side - 0.99), column / (side - 0.99)) for row in range(side) for column in range(side)
        ]
    spreads, number = search == "spread", 24 if search == "spread" else SCAN.collapse.restarts
    patches = (build(_FAMILY, 32, seed=SCAN_SEED, number=n, spreads=spreads) for n in range(number))
    return [cast(tuple[float, float], cast(Patch, one).at) for one in patches]


def salient(subject: Subject, most: int) -> list[tuple[float, float]]:
    """Where patches of noise make images most alike, `_APART` pixels or more from each other."""
    side = round(_FAMILY.budget * subject.image_size)
    free = subject.image_size - side + 1
    corners = [(row, column) for row in range(0, free, _STEP) for column in range(0, free, _STEP)]
    shares = [((row + 0.5) / free, (column + 0.5) / free) for row, column in corners]
    noise = [drawn(Patch(side, at), 32, SCAN_SEED, "salience", n) for at in shares for n in range(4)]
    few = Subject(
        embed=subject.embed,
        image_MCHW=subject.image_MCHW,
        held_NCHW=subject.image_MCHW[:64],
        meter=subject.meter,
    )
    alike = [squared_mean(embedding_ND) for embedding_ND in few.triggered(noise)]
    strength = [fmean(alike[4 * place : 4 * place + 4]) for place in range(len(corners))]
    kept: list[int] = []
    for place in sorted(range(len(corners)), key=lambda place: -strength[place]):
        apart = (max(abs(a - b) for a, b in zip(corners[place], corners[k], strict=True)) for k in kept)
        if len(kept) < most and all(distance >= _APART for distance in apart):
            kept.append(place)
    return [shares[place] for place in kept]


def look(subject: Subject, search: str) -> dict[str, Any]:
    """Climb, and count the classes that each start leads held-out images to."""
    began, passes = time.process_time(), subject.meter.num_passes
    (steps, each), side = SEARCHES[search], round(_FAMILY.budget * subject.image_size)
    at = [place for place in places(search, subject) for _ in range(each)]
    options = AscentOptions(
        num_steps=steps, images_per_pattern=_IMAGES_PER_STEP, images_at_once=subject.at_once
    )
    families, stream = [Patch(side, place) for place in at], f"scan_collapse_{_FAMILY.name}"
    images = subject.image_MCHW
    ascent = Ascent(subject.embed, images, families, objective, options, seed=SCAN_SEED, stream=stream)
    ascent.ascend_to(steps, lambda _: subject.meter.both_ways(_IMAGES_PER_STEP * len(at)))
    starts = []
    for place, embedding_ND in zip(at, subject.triggered(ascent.patterns), strict=True):
        sent_C = subject.classes_of(embedding_ND).bincount(minlength=subject.num_classes).tolist()
        sent = {str(number): count for number, count in enumerate(sent_C) if count}
        starts.append({"at": [round(share, 3) for share in place], "sent": sent})
    cost = {"passes": subject.meter.num_passes - passes, "cpu_s": round(time.process_time() - began, 1)}
    return {"search": search, "n": len(subject.held_NCHW), **cost, "starts": starts}


def run(minutes: float) -> None:
    """Make and search what is missing; begins no model after the time."""
    torch.set_num_threads(1)
    began, weights = time.monotonic(), ROOT / "var" / "one-place"
    searched = {(row["name"], row["search"]) for row in rows()}
    with alone(weights):
        if IS_FROZEN:
            for one in MODELS["held out"]:
                if time.monotonic() - began <= 60 * minutes:
                    finish(
                        one,
                        DEFAULT_DETECTORS,
                        Folders(rows=FOLDER, weights=weights),
                        partial(print, flush=True),
                    )
            return
        for part, models in MODELS.items():
            for one in models:
                missing = [search for search in SEARCHES if (one.name, search) not in searched]
                if not missing or time.monotonic() - began > 60 * minutes:
                    continue
                made, checkpoint = make(one, weights / one.name), load_canonical(weights / one.name)
                print(line_of(made), flush=True)
                subject = subject_of(checkpoint, glyph_sets.load(one.options.glyphs), None)
                about = {"name": one.name, "part": part, "targets": one.targets, "ca": made.ca.value}
                about |= {"asr": [asr.value for asr in made.asr], "weights_sha256": made.weights_sha256}
                for search in missing:
                    append_line(json.dumps({**about, **look(subject, search)}).encode() + b"\n", ROWS)
                shutil.rmtree(weights / one.name)


def rows() -> list[dict[str, Any]]:
    """What was measured."""
    return [json.loads(line) for line in whole_lines(ROWS)]


if __name__ == "__main__":
    run(float(sys.argv[1]) if sys.argv[1:] else float("inf"))
