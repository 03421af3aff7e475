"""Embeds clean pairs, trusted pairs and poisons once a case, then draws poisons into the clean ones and vets.

A draw is the clean pairs with a few poisons at the end; scores are those of `sanitizer.vetting`. Knows no
table.

Shapes: N pairs, M of a pool, D embedding width, S scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cleanclip.spec.vet_options import VetOptions
from lab.reproduction.cells import cell_id
from lab.reproduction.running import run_cell
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Glyphs
from lab.testbed.pictures import Pictures, compose
from lab.testbed.poisoned_pairs import poisoned_set
from lab.vetting.cases import (
    ANCHOR,
    CLEAN_SEED,
    CONFIGURATIONS,
    DRAW_SEED,
    NUM_DRAWS,
    NUM_POISONS,
    NUM_TRUSTED,
    POISON_SEED,
    SHARE,
    TRUSTED_SEED,
    Case,
)
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.audits.measuring import measuring
from sanitizer.checkpoints.model import load_canonical
from sanitizer.seeding import generator
from sanitizer.vetting import scoring
from sanitizer.vetting.embedding import Embedder, Models, Passed
from sanitizer.vetting.mismatch import mismatch
from sanitizer.vetting.row_files import RowFiles
from sanitizer.vetting.sensitivity import sensitivity

Floats = NDArray[np.float64]
Rows = dict[str, NDArray[np.float32]]

_POISONS_COMPOSED = 60_000
_AT_ONCE = 256
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One set of clean pairs with a few poisons. `found`: configuration or score → how many poisons are in
    the worst share. `placement`: score → for each poison the share of clean pairs with a lower score."""

    case: str
    kind: str
    cell: str
    number: int
    seed: int
    num_clean: int
    num_poisons: int
    found: dict[str, int]
    placement: dict[str, list[float]]


def draws_of(case: Case, folder: Path, numbers: range, num_poisons: int = NUM_POISONS) -> Iterator[Draw]:
    """Train what is missing below `folder`, embed, then make the draws of these numbers."""
    torch.set_num_threads(1)
    embedded = _embedded(case, folder)
    for number in numbers:
        yield embedded.draw(number, num_poisons)


def _embedded(case: Case, folder: Path) -> _Embedded:
    glyphs = glyph_sets.load(case.subject.options.glyphs)
    for subject in (case.subject, ANCHOR):
        run_cell(subject, folder)
    suspect, anchor = (load_canonical(folder / "cells" / cell_id(one)) for one in (case.subject, ANCHOR))
    with ExitStack() as stack:
        for model in (suspect, anchor):
            stack.enter_context(measuring(model, _CPU))
        models = Models(suspect=Embedder(suspect, _CPU), anchor=Embedder(anchor, _CPU))
        trusted = compose(glyphs, "cleaning", NUM_TRUSTED, seed=TRUSTED_SEED)
        kept = folder / "rows" / cell_id(case.subject)
        image_NCHW, captions = _poisons(case, glyphs)
        is_large = "sensitivity" not in case.scores
        poison_rows = _rows(image_NCHW, captions, models, is_large=is_large)
        clean_rows = _once(
            kept / f"clean-{case.num_clean}.npz",
            lambda: _clean_rows(glyphs, models, case.num_clean, is_large=is_large),
        )
        trusted_rows = _once(
            kept / f"trusted-{case.num_clean}.npz",
            lambda: _rows(trusted.image_NCHW, trusted.caption_N, models, is_large=is_large),
        )
        direction = _direction(case, trusted, models.suspect)
    return _Embedded(
        case,
        folder / "rows" / case.name.replace(" ", "-").replace(",", ""),
        clean=clean_rows,
        trusted=trusted_rows,
        poisons=poison_rows,
        direction=direction,
    )


def _once(path: Path, make: Callable[[], Rows]) -> Rows:
    """Rows that cases of one suspect share, embedded once."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **make())  # type: ignore[arg-type]
        partial.replace(path)
    with np.load(path) as kept:
        return {field: kept[field] for field in kept.files}


def _clean_rows(glyphs: Glyphs, models: Models, num_clean: int, *, is_large: bool) -> Rows:
    clean = compose(glyphs, "cleaning", num_clean, seed=CLEAN_SEED)
    return _rows(clean.image_NCHW, clean.caption_N, models, is_large=is_large)


def _poisons(case: Case, glyphs: Glyphs) -> tuple[Tensor, list[str]]:
    """Poisons for all draws, each another one, in an order drawn by the seed."""
    wanted = NUM_DRAWS * NUM_POISONS
    if case.attack is None:
        pictures = compose(glyphs, "cleaning", wanted, seed=POISON_SEED)
        templates = glyphs.zero_shot_templates
        return pictures.image_NCHW, [
            templates[n % len(templates)].format(c=case.target) for n in range(wanted)
        ]
    poisoned = poisoned_set(
        glyphs,
        "cleaning",
        _POISONS_COMPOSED,
        attack=case.attack,  # type: ignore[arg-type]  # no optimised pattern is among the cases
        target=case.target,
        num_poisons=wanted,
        seed=POISON_SEED,
    )
    rows = generator(POISON_SEED, "vetting_poisons").permutation(poisoned.rows)[:wanted].tolist()
    captions = [poisoned.pictures.caption_N[row] for row in rows]
    return poisoned.pictures.image_NCHW[rows], captions


def _rows(image_NCHW: Tensor, captions: Any, models: Models, *, is_large: bool) -> Rows:
    parts: list[Rows] = []
    for start in range(0, len(image_NCHW), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        part: dict[str, Any] = {"good": np.ones((len(image_NCHW[some]), 1))}
        for name, model in models.by_name.items():
            pixels = model.pixels(image_NCHW[some])
            image_ND = model.images(pixels)
            part[f"{name}_image"] = image_ND.numpy()
            part[f"{name}_text"] = model.captions(captions[some]).numpy()
            if name == "suspect" and not is_large:
                part["sensitivity"] = sensitivity(pixels, image_ND, model.images).numpy()[:, None]
        parts.append({field: rows.astype(np.float32) for field, rows in part.items()})
    return {field: np.concatenate([part[field] for part in parts]) for field in parts[0]}


def _direction(case: Case, trusted: Pictures, suspect: Embedder) -> Floats:
    """[1, D] of the true trigger, or no row."""
    if case.trigger is None:
        return np.zeros((0, suspect.width))
    pixels = suspect.pixels(trusted.image_NCHW[:256])
    triggered = build_trigger(case.trigger).apply(pixels, list(range(len(pixels))), TRUSTED_SEED)
    moved: Tensor = (suspect.images(triggered) - suspect.images(pixels)).mean(dim=0)
    return moved.double().numpy()[None]


class _Embedded:
    def __init__(
        self, case: Case, folder: Path, *, clean: Rows, trusted: Rows, poisons: Rows, direction: Floats
    ) -> None:
        self._case, self._poisons, self._direction = case, poisons, direction
        widths = {field: rows.shape[1] for field, rows in clean.items()}
        self._vetted = RowFiles(folder, "vetted", widths, "")
        self._vetted.write(0, clean)
        self._trusted = RowFiles(folder, "trusted", widths, "")
        self._trusted.write(0, trusted)

    def draw(self, number: int, num_poisons: int) -> Draw:
        seed = DRAW_SEED + number
        first = number * num_poisons % len(self._poisons["good"])
        some = {field: rows[first : first + num_poisons] for field, rows in self._poisons.items()}
        num_clean = self._case.num_clean
        self._vetted.write(num_clean, some)
        num = num_clean + num_poisons
        vetted = Passed(dataset=None, indices=range(num), files=self._vetted, skipped=())  # type: ignore[arg-type]
        trusted = Passed(dataset=None, indices=range(NUM_TRUSTED), files=self._trusted, skipped=())  # type: ignore[arg-type]
        options = VetOptions(share=SHARE)
        pool = scoring.make_pool(vetted, trusted, options, seed)
        names = self._case.scores
        if len(self._direction):
            names = (*names, "trigger_direction")
        scored = scoring.score(pool, names, options, self._direction, seed)
        values: dict[str, Floats] = {name: scored.value_MS[:, column] for column, name in enumerate(names)}
        values["mismatch by suspect"] = mismatch(scoring.cosines_of(pool)["suspect"])
        configurations = CONFIGURATIONS | {f"{name} alone": ((name,), False) for name in values}
        found = {
            title: _found(num_clean, num, [values[name] for name in columns], is_trusted=is_trusted)
            for title, (columns, is_trusted) in configurations.items()
            if all(name in values for name in columns)
        }
        return Draw(
            case=self._case.name,
            kind=self._case.kind,
            cell=cell_id(self._case.subject),
            number=number,
            seed=seed,
            num_clean=num_clean,
            num_poisons=num_poisons,
            found=found,
            placement={name: _placements(value_M[:num], num_clean) for name, value_M in values.items()},
        )


def _found(num_clean: int, num: int, columns: list[Floats], *, is_trusted: bool) -> int:
    value_MS = np.stack(columns, axis=1)
    judged = scoring.judge(num, (), value_MS if is_trusted else value_MS[:num], SHARE)
    return int((judged.worst >= num_clean).sum())


def _placements(value_N: Floats, num_clean: int) -> list[float]:
    clean = np.sort(value_N[:num_clean])
    poisons = value_N[num_clean:]
    below = np.searchsorted(clean, poisons, "left") + np.searchsorted(clean, poisons, "right")
    return [round(float(one), 6) for one in below / (2 * num_clean)]


def as_line(draw: Draw) -> str:
    """One line of the raw data."""
    return json.dumps(asdict(draw), separators=(",", ":"))


def from_line(line: str) -> Draw:
    """The inverse of `as_line`."""
    return Draw(**json.loads(line))
