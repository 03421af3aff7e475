"""Examples against the plain reference: pixels, class and probability, each computed a second time."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    SIGOptions,
    WaNetOptions,
)
from cleanclip.vocabulary.examples import ShownImage
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe
from cleanclip.vocabulary.report import Report
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.writing import write_canonical
from tests.fixtures import pipeline
from tests.fixtures.audited import (
    ARCHITECTURE,
    CLASS_NAMES,
    TEMPLATES,
    labels,
    pictures,
    write_labelled,
    write_model,
)
from tests.fixtures.shards import make_pairs
from tests.numerics import reference

ATTACKS: tuple[AttackOptions, ...] = (
    BadNetOptions(pattern="gaussian_fixed", size=5 / 32),
    BlendedOptions(alpha=0.6),
    WaNetOptions(strength=5, target="tree"),
    SIGOptions(),
)
OPTIONS = AuditOptions(target="cloud", attacks=ATTACKS, batch_size=16, examples=5)
SEED = 9


@pytest.fixture(scope="module", params=[1.0, 40.0], ids=["scale 1", "scale 40"])
def cleaned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Report]:
    """A model of that logit scale, its cleaned file, and the report."""
    folder = tmp_path_factory.mktemp("cleaned")
    state = load_canonical(write_model(folder / "first")).model.state_dict()
    state["logit_scale"] = torch.tensor(request.param).log()
    write_canonical(folder / "before", state, ARCHITECTURE, {"layout": "open_clip"})
    write_labelled(folder / "labelled")
    make_pairs(folder / "pairs", 24)
    report = pipeline.sanitize(
        folder / "before",
        folder / "pairs",
        folder / "labelled",
        recipe=CleanCLIPRecipe(epochs=2, batch_size=8, learning_rate=3e-3, warmup_steps=1),
        options=OPTIONS,
        out_dir=folder / "after",
        state_folder=folder / "state",
        seed=SEED,
    )
    return folder / "before", folder / "after", report


def test_class_and_probability_of_every_example_are_the_references(
    cleaned: tuple[Path, Path, Report],
) -> None:
    *folders, report = cleaned
    assert report.examples is not None
    assert len(report.examples.examples) == 5
    of_labels = labels()
    num_changed = 0
    for kind, attack in enumerate((None, *report.before.attacks)):
        before, after = (
            reference.probabilities(
                folder,
                pictures(),
                class_names=CLASS_NAMES,
                templates=TEMPLATES,
                batch_size=16,
                attack=attack and attack.options,
                seed=SEED,
            )
            for folder in folders
        )
        for example in report.examples.examples:
            shown: ShownImage = (example.clean, *example.triggered)[kind]
            assert example.true_class == CLASS_NAMES[of_labels[example.index]]
            assert shown.after is not None
            for said, rows in ((shown.before, before), (shown.after, after)):
                row = rows[example.index]
                assert said.class_name == CLASS_NAMES[reference.classify(row)]
                assert said.probability == pytest.approx(max(row), abs=1e-5)
            num_changed += shown.before != shown.after
    assert num_changed > 5


def test_pixels_of_every_example_are_the_references_under_the_reports_own_seed(
    cleaned: tuple[Path, Path, Report],
) -> None:
    report = cleaned[2]
    assert report.examples is not None
    for number, attack in enumerate(report.before.attacks):
        for pair in report.examples.of_attack(number):
            clean = np.asarray(pictures()[pair.index], dtype=np.float64).transpose(2, 0, 1) / 255
            triggered = reference.trigger(clean, pair.index, attack.options, report.examples.seed)
            for shown, expected in ((pair.clean, clean), (pair.triggered, triggered)):
                pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.image))))
                assert np.abs(pixels - 255 * expected.transpose(1, 2, 0)).max() <= 0.5 + 1e-4


def test_a_logit_scale_beyond_all_numbers_gives_certainty_and_no_error(tmp_path: Path) -> None:
    state = load_canonical(write_model(tmp_path / "first")).model.state_dict()
    state["logit_scale"] = torch.tensor(1e30)
    write_canonical(tmp_path / "before", state, ARCHITECTURE, {"layout": "open_clip"})
    write_labelled(tmp_path / "labelled")
    report = pipeline.audit(tmp_path / "before", tmp_path / "labelled", OPTIONS, tmp_path / "out", seed=SEED)
    assert report.examples is not None
    assert {one.clean.before.probability for one in report.examples.examples} == {1.0}
