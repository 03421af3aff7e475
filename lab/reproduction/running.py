"""Runs one cell: trains or fine-tunes, measures, writes weights and cell.json.

Fine-tuning and audit are those of the library that the service runs. One thread, so that a cell does not
depend on how many others run beside it.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from cleanclip.vocabulary.attack_options import AttackOptions, CustomPatternOptions
from cleanclip.vocabulary.recipe import Recipe
from lab.reproduction import measured
from lab.reproduction.cells import (
    ORDER_SEED,
    Cell,
    Cleaning,
    Control,
    Subject,
    attacked,
    cell_id,
    needs,
    optimised_for,
    spec,
    started_from,
    subject_of,
)
from lab.reproduction.data import Sets
from lab.reproduction.measured import CELL_NAME, Measured, packed
from lab.reproduction.measuring import Judged, made_with, measure
from lab.testbed.adaptive import optimise_pattern
from lab.testbed.options import Changed, OptimisedPattern, PaperColour
from lab.testbed.subject import Subject as TestSubject
from lab.testbed.subject import find_or_train, unpack
from sanitizer.audits.statistics import paired_difference
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.training.loop import finetune

Attack = AttackOptions | PaperColour | None
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Folders:
    """Where cells and their images lie."""

    root: Path

    def of(self, cell: Cell) -> Path:
        """The cell's weights and cell.json."""
        return self.root / "cells" / cell_id(cell)

    @property
    def sets(self) -> Sets:
        """The images."""
        return Sets(self.root / "data")

    def measured(self, cell: Cell) -> Measured | None:
        """What the cell gave, if it was run to its end."""
        path = self.of(cell) / CELL_NAME
        return measured.read(path.read_bytes()) if path.is_file() else None


def run_cell(cell: Cell, root: Path) -> Measured:
    """Run `cell`, whose `needs` must have been run; or read what it gave before. Raises GlyphsMissing."""
    folders = Folders(root)
    known = folders.measured(cell)
    if known is not None:
        return known
    torch.set_num_threads(1)
    started = time.monotonic()
    folder = folders.of(cell)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    attack = _resolved(cell, folders)
    trained: TestSubject | None = None
    match cell:
        case Subject():
            trained = _train(cell, attack, folder)
        case Cleaning():
            _clean(cell, attack, folders, folder)
        case Control():
            for name in ("model.safetensors", "config.json"):
                os.link(folders.of(started_from(cell)) / name, folder / name)
    found = _measure(cell, attack, folders, trained=trained, started=started)
    measured.write(found, folder)
    return found


def _resolved(cell: Cell, folders: Folders) -> Attack:
    """The cell's attack; an optimised pattern as the image that it came to."""
    options = attacked(cell)
    attack = options.attack
    if isinstance(attack, Changed):
        raise ValueError("the reproduction measures no filter")
    if not isinstance(attack, OptimisedPattern):
        return attack
    if isinstance(cell, Subject):
        models = [load_canonical(folders.of(surrogate)) for surrogate in needs(cell)]
        picture = optimise_pattern(models, options, attack)
    else:
        before = folders.measured(optimised_for(cell))
        if before is None or before.picture is None:
            raise ValueError(f"{cell_id(optimised_for(cell))} was not run, or has no image")
        picture = before.picture
    return as_trigger(attack, picture)


def as_trigger(attack: OptimisedPattern, picture: str) -> CustomPatternOptions:
    """An optimised pattern as the trigger that it came to: `picture` is its PNG in base64."""
    return CustomPatternOptions(image=picture, alpha=attack.alpha)


def _train(cell: Subject, attack: Attack, folder: Path) -> TestSubject:
    found = find_or_train(folder, cell.options, attack, seed=cell.seed)
    unpack(found.path, cell.options, folder)
    found.path.unlink()  # it holds the optimizer's moments too: three times the weights
    return found


def _clean(cell: Cleaning, attack: Attack, folders: Folders, folder: Path) -> None:
    seed = cell.subject.seed if cell.seed is None else cell.seed
    options, num = cell.subject.options, cell.num_samples
    if cell.recipe.training_data == "labelled":
        data = folders.sets.labelled(options, seed, num)
    else:
        data = folders.sets.pairs(options, attack, seed, num, cell.num_poisons)
    clean(folders.of(cell.subject), data, cell.recipe, folder, seed=ORDER_SEED + seed)


def clean(source: Path, data: Path, recipe: Recipe, folder: Path, *, seed: int) -> None:
    """What `recipe` makes of the model in `source` with the pairs or labelled images in `data`: `folder`."""
    checkpoint, class_CD, training_data = load_canonical(source), None, None
    if recipe.training_data == "labelled":
        labelled = open_labelled(data)
        checkpoint.model.eval()
        with torch.no_grad():
            class_CD = class_embeddings(checkpoint, labelled.class_names, labelled.templates or (), _CPU)
        training_data = LabelsAsCaptions(labelled)
    finetune(checkpoint, training_data or open_pairs(data), recipe, seed=seed, device=_CPU, class_CD=class_CD)
    write_cleaned(folder, checkpoint, source, recipe=recipe, seed=seed, output_layout="open_clip")


def _measure(
    cell: Cell, attack: Attack, folders: Folders, *, trained: TestSubject | None, started: float
) -> Measured:
    checkpoint = load_canonical(folders.of(cell))
    options, seed = subject_of(cell).options, subject_of(cell).seed
    judged = Judged(sets=folders.sets, options=options, seed=seed)
    test, correct = measure(checkpoint, judged, attack, "test")
    validation, _ = measure(checkpoint, judged, attack, "validation")
    before = None if isinstance(cell, Subject) else folders.measured(started_from(cell))
    return Measured(
        id=cell_id(cell),
        spec=spec(cell),
        test=test,
        validation=validation,
        # Of a control nothing was changed: it has nothing to lose.
        ca_lost=paired_difference(before.is_right, correct)
        if before is not None and isinstance(cell, Cleaning)
        else None,
        correct=packed(correct),
        weights_sha256=checkpoint.weights_sha256,
        from_weights_sha256=before.weights_sha256 if before else None,
        poisons=trained.num_poisons if trained else 0,
        ca_by_epoch=tuple(epoch.ca for epoch in trained.epochs) if trained else (),
        picture=attack.image if isinstance(attack, CustomPatternOptions) else None,
        wall_s=round(time.monotonic() - started, 1),
        made_with=made_with(),
    )
