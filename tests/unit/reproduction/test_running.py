"""Cells really run: tiny models, every kind of cell, in processes; a second call recomputes nothing.

Not daily: it trains for a minute. What is written of the cells is tested beside this file.
"""

import base64
import io
import itertools
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe, SupervisedRecipe
from lab.reproduction import cells, checking
from lab.reproduction.cells import Cell, Cleaning, Control, Subject, cell_id, needs
from lab.reproduction.measured import CELL_NAME, Measured, contradiction
from lab.reproduction.running import Folders
from lab.reproduction.scheduling import run_all
from lab.testbed.adaptive import optimise_pattern
from lab.testbed.glyphs import digits
from lab.testbed.options import BADNET, OptimisedPattern, PaperColour, SubjectOptions
from lab.testbed.pictures import class_names, compose
from sanitizer.audits.statistics import wilson
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.pixels import normalise

pytestmark = [pytest.mark.full, pytest.mark.slow]
TINY = SubjectOptions(num_pairs=160, epochs=5, batch_size=32, vision_width=8, warmup_steps=2)
POISONED = Subject(options=TINY, seed=1)
PAPER = Subject(options=replace(TINY, attack=PaperColour()), seed=1)
CLEANED = Cleaning(
    subject=POISONED, recipe=CleanCLIPRecipe(epochs=1, batch_size=32), num_samples=64, num_poisons=2
)
SUPERVISED = Cleaning(
    subject=PAPER, recipe=SupervisedRecipe(epochs=1, batch_size=32, warmup_steps=1), num_samples=64
)
PAR = Cleaning(subject=POISONED, recipe=PARRecipe(epochs=1, batch_size=32), num_samples=64)
CONTROL = Control(subject=Subject(options=replace(TINY, attack=None), seed=1), attacked=TINY)
BROKEN = Cleaning(subject=POISONED, recipe=CleanCLIPRecipe(batch_size=128), num_samples=64)
ALL: tuple[Cell, ...] = (POISONED, PAPER, CLEANED, SUPERVISED, PAR, CONTROL.subject, CONTROL)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduction")
    assert run_all(ALL, folder, jobs=2, gate=0, say=lambda _: None) == []
    return folder


@pytest.fixture
def elsewhere(root: Path, tmp_path: Path) -> Path:
    """A folder without any cell, but with the pictures, which take longest to compose."""
    (tmp_path / "data").symlink_to(Folders(root).sets.folder)
    return tmp_path


def reported(root: Path, cell: Cell) -> Measured:
    measured = Folders(root).measured(cell)
    assert measured is not None
    return measured


def test_every_cell_leaves_its_weights_and_figures_with_counts(root: Path) -> None:
    for cell in ALL:
        run = reported(root, cell)
        assert run.id == cell_id(cell)
        assert run.weights_sha256 == file_sha256(Folders(root).of(cell) / "model.safetensors")
        assert run.test.ca.n == cells.NUM_TEST
        assert run.validation.ca.n == cells.NUM_VALIDATION
        assert (run.test.asr is None) == (cell == CONTROL.subject)
        if run.test.asr is not None:
            assert run.test.asr.low <= run.test.asr.value <= run.test.asr.high
    assert reported(root, POISONED).poisons == round(160 * 0.03)
    assert len(reported(root, POISONED).ca_by_epoch) == 5


def test_a_cleaning_changes_the_weights_and_compares_the_same_pictures(root: Path) -> None:
    before, after = reported(root, POISONED), reported(root, CLEANED)
    assert after.weights_sha256 != before.weights_sha256
    assert after.from_weights_sha256 == before.weights_sha256
    assert before.from_weights_sha256 is None
    assert contradiction(before, after) is None
    assert after.ca_lost is not None
    assert after.ca_lost.lost - after.ca_lost.gained == before.test.ca.successes - after.test.ca.successes
    assert reported(root, CONTROL).weights_sha256 == reported(root, CONTROL.subject).weights_sha256


def test_a_second_call_runs_nothing_and_a_cut_cell_is_run_anew(root: Path) -> None:
    said: list[str] = []
    started = time.monotonic()
    assert run_all(ALL, root, jobs=1, gate=0, say=said.append) == []
    assert said == [f"{len(ALL)} of {len(ALL)} cells are there already"]
    assert time.monotonic() - started < 60
    whole = reported(root, CONTROL)
    (Folders(root).of(CONTROL) / CELL_NAME).unlink()
    assert run_all(ALL, root, jobs=1, gate=0, say=said.append) == []
    again = reported(root, CONTROL)
    assert (again.test, again.weights_sha256) == (whole.test, whole.weights_sha256)


def test_what_is_known_from_elsewhere_is_run_only_for_its_weights(elsewhere: Path, root: Path) -> None:
    said: list[str] = []
    clean = CONTROL.subject
    known = {cell_id(cell): reported(root, cell) for cell in ALL}
    assert run_all(ALL, elsewhere, jobs=1, known=known, gate=0, say=said.append) == []
    assert said == [f"{len(ALL)} of {len(ALL)} cells are there already"]
    only = {cell_id(clean): reported(root, clean)}
    assert run_all((clean, CONTROL), elsewhere, jobs=1, known=only, gate=0, say=said.append) == []
    assert reported(elsewhere, CONTROL).test == reported(root, CONTROL).test


def test_what_starts_from_a_model_that_came_out_other_than_published_is_not_run(root: Path) -> None:
    """It would have no figures to stand beside; what was published of that model stays as it is."""
    published = replace(reported(root, POISONED), weights_sha256="0" * 64)
    known = {published.id: published, cell_id(CLEANED): reported(root, CLEANED)}
    new = replace(CLEANED, num_poisons=1)
    said: list[str] = []
    cells_asked = (POISONED, CLEANED, new)
    assert run_all(cells_asked, root, jobs=1, known=known, gate=0, say=said.append) == [new]
    assert said[-1].endswith("other weights here than those published")
    assert Folders(root).measured(new) is None


def test_a_cell_that_fails_fails_no_other_and_is_told_with_its_reason(root: Path) -> None:
    said: list[str] = []
    assert run_all((*ALL, BROKEN), root, jobs=1, gate=0, say=said.append) == [BROKEN]
    assert "batch_size" in "".join(said)


def test_a_model_whose_attack_was_inconclusive_is_not_cleaned(root: Path) -> None:
    asr = reported(root, POISONED).test.asr
    assert asr is not None
    assert asr.value < cells.GATE
    other = replace(CLEANED, num_samples=96)
    assert run_all((POISONED, other), root, jobs=1, say=lambda _: None) == []
    assert Folders(root).measured(other) is None


def test_an_adaptive_pattern_is_optimised_first_and_kept_with_the_cell(root: Path, elsewhere: Path) -> None:
    attack = OptimisedPattern(num_steps=2)
    subject = Subject(options=replace(TINY, epochs=1, attack=attack), seed=1)
    # The surrogates' own cleaning takes a minute, and any two models will do to train a pattern on.
    clean, cleaned = needs(subject)
    for needed, model in ((clean, CONTROL.subject), (cleaned, CLEANED)):
        shutil.copytree(Folders(root).of(model), Folders(elsewhere).of(needed))
    published = {cell_id(clean): replace(reported(elsewhere, clean), weights_sha256="0" * 64)}
    said: list[str] = []
    run_these = partial(run_all, (clean, cleaned, subject), elsewhere, jobs=1, gate=0)
    assert run_these(known=published, say=said.append) == [subject], (
        "its pattern would be another than published"
    )
    assert said[-1].endswith("other weights here than those published")
    said = []
    assert run_these(say=said.append) == []
    assert said[0] == "2 of 3 cells are there already"
    run = reported(elsewhere, subject)
    assert run.picture is not None
    assert run.test.asr is not None


def test_an_optimised_pattern_draws_pictures_to_its_target_on_every_model_it_was_trained_on(
    root: Path,
) -> None:
    """Tiny models hardly tell classes apart, so patterns for two targets are held against each other."""
    models = [load_canonical(Folders(root).of(cell)) for cell in (CONTROL.subject, POISONED)]
    glyphs = digits()
    names = class_names(glyphs)
    pictures = compose(glyphs, "validation", 20, seed=5).image_NCHW

    def optimised(options: SubjectOptions) -> Tensor:
        pattern = optimise_pattern(models, options, OptimisedPattern(num_steps=40))
        with Image.open(io.BytesIO(base64.b64decode(pattern))) as opened:
            return torch.from_numpy(np.array(opened)).permute(2, 0, 1)

    def probabilities(pattern_CHW: Tensor, model: LoadedCheckpoint) -> Tensor:
        architecture, found_C = model.architecture, torch.zeros(len(names))
        with torch.no_grad():
            class_CD = class_embeddings(model, names, glyphs.zero_shot_templates, torch.device("cpu"))
            for picture_CHW in pictures:
                blended_CHW = (0.8 * picture_CHW + 0.2 * pattern_CHW) / 255
                pixels = normalise(blended_CHW[None], architecture.image_mean, architecture.image_std)
                image_D = model.model.encode_image(pixels, normalize=True)[0]
                found_C += (100 * image_D @ class_CD.T.float()).softmax(-1) / len(pictures)
        return found_C

    other = replace(TINY, target_ink="blue", target_noun="zero")
    ours_CHW, others_CHW = optimised(TINY), optimised(other)
    for model in models:
        ours_C, others_C = probabilities(ours_CHW, model), probabilities(others_CHW, model)
        for options, with_it_C, without_C in ((TINY, ours_C, others_C), (other, others_C, ours_C)):
            place = names.index(options.target)
            assert with_it_C[place] > 1.2 * without_C[place]


def test_the_plain_reference_agrees_and_finds_a_figure_that_was_changed(root: Path) -> None:
    drawn = checking.draw(ALL, root, 2, seed=1)
    assert len(drawn) == 2
    assert PAPER not in checking.draw(ALL, root, len(ALL), seed=1)
    counts = checking.remeasured(CLEANED, root)
    right = reported(root, CLEANED)
    assert checking.compare(CLEANED, right, counts, None).differing == ()
    wrong = replace(right, test=replace(right.test, pa=wilson(0, cells.NUM_TEST)))
    found = checking.compare(CLEANED, wrong, counts, None)
    assert found.differing == (f"PA 0 of 3000 against {counts['pa']}",)
    top5 = replace(right, test=replace(right.test, asr_top5=wilson(0, cells.NUM_TEST)))
    found = checking.compare(CLEANED, top5, counts, None)
    assert found.differing == (f"ASR_TOP5 0 of 3000 against {counts['asr_top5']}",)


def test_a_published_line_of_the_same_weights_is_compared_too_and_one_of_others_is_told(root: Path) -> None:
    run = reported(root, CLEANED)
    counts = checking.remeasured(CLEANED, root)
    same = checking.compare(CLEANED, run, counts, run)
    assert same.differing == ()
    assert str(same).endswith("the reference agrees; compared with the published line, too")
    typed = replace(run, test=replace(run.test, ca=wilson(0, cells.NUM_TEST)))
    found = checking.compare(CLEANED, run, counts, typed)
    assert found.differing == (f"published CA 0 of 3000 against {counts['ca']}",)
    other = checking.compare(CLEANED, run, counts, replace(typed, weights_sha256="0" * 64))
    assert other.differing == ()
    assert str(other).endswith("the published line is of other weights and was not compared")
    assert str(checking.compare(CLEANED, run, counts, None)).endswith("no published line to compare")


def test_tiny_options_are_those_of_the_cells_here() -> None:
    """Each cell is another one: none of the tests above passes by looking at a cell twice."""
    names = [cell_id(cell) for cell in (*ALL, BROKEN)]
    assert all(one != other for one, other in itertools.combinations(names, 2))
    assert TINY.attack == BADNET
