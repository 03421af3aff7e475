"""A SigLIP through the library's jobs: audited, scanned, cleaned by UAR, read again by its library."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cleanclip.evidence.report import check
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.cautions import has_sigmoid_loss
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.jobspec import TOKENIZERS_VARIABLE
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily, ScanOptions
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import load_canonical
from sanitizer.training.fits import check_fits
from tests.fixtures.audited import CLASS_NAMES, pictures, write_answered
from tests.fixtures.pipeline import audit, sanitize, scan
from tests.fixtures.shards import make_pairs
from tests.fixtures.siglips import (
    assert_same_features,
    declared,
    features,
    put_on_shelf,
    tokenizer_content,
    write_siglip,
)
from tests.suites import mostly_full

pytestmark = pytest.mark.usefixtures("short_searches")
OPTIONS = AuditOptions(target="dog", attacks=(BadNetOptions(),))
UAR = UARRecipe(
    trained_on="images_of_pairs", epochs=2, strong_epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=2,
    inversion_steps=2, reinversion_steps=2,
)  # fmt: skip
SCAN = ScanOptions(
    detectors=("collapse",),
    collapse=CollapseDetectorOptions(
        families=(PatternFamily(family="patch", budget=0.25),), restarts=2, steps=(1, 2), images_per_step=4
    ),
    num_images=64,
    num_held_out=64,
    num_examples=1,
)


LAYOUTS = mostly_full(["huggingface", "open_clip"], daily=["huggingface"])


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def model(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """Its canonical files lie in `tmp_path`/model; the images beside it have the classes that it gives."""
    monkeypatch.setenv(TOKENIZERS_VARIABLE, str(tmp_path / "shelf"))
    digest = put_on_shelf(tmp_path / "shelf", tokenizer_content())
    upload = tmp_path / "upload.safetensors"
    siglip = write_siglip(upload, layout)
    inspect_upload(upload, tmp_path / "model", declared=declared(digest), filename=upload.name)
    write_answered(tmp_path / "labelled", tmp_path / "model", pictures(140), CLASS_NAMES)
    return siglip


def cleaned_below(folder: Path, recipe: Recipe = UAR) -> Report:
    """Of `folder`/model, with pairs and labelled images beside it, into `folder`/cleaned."""
    report = sanitize(
        folder / "model",
        folder / "pairs",
        folder / "labelled",
        options=OPTIONS,
        out_dir=folder / "cleaned",
        recipe=recipe,
        output_layout="as_uploaded",
        seed=1,
    )
    assert list(check(report)) == []
    return report


@pytest.mark.parametrize("layout", LAYOUTS, indirect=True)
def test_uar_cleans_a_siglip_and_its_library_reads_what_comes_back(
    model: torch.nn.Module, tmp_path: Path
) -> None:
    make_pairs(tmp_path / "pairs", 24)
    report = cleaned_below(tmp_path)
    assert report.before.ca.value == 1.0, "the classes are those that it gives"
    back = safetensors.torch.load_file(tmp_path / "cleaned" / "as_uploaded.safetensors")
    uploaded = model.state_dict()
    moved = {name for name, tensor in uploaded.items() if not torch.equal(back[name], tensor)}
    assert moved
    assert all(name.startswith(("vision_model.", "visual.")) for name in moved)
    cleaned = load_canonical(tmp_path / "cleaned")
    image, tokens = torch.rand(2, 3, 32, 32) * 2 - 1, cleaned.tokenize(["a dog", "the ship"])
    before = features(model, image, tokens)[0]
    model.load_state_dict(back)
    assert_same_features(cleaned.model, model, image, tokens)
    assert not torch.allclose(before, features(model, image, tokens)[0], atol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS, indirect=True)
def test_a_siglip_is_audited_and_scanned(model: torch.nn.Module, tmp_path: Path) -> None:
    found = audit(tmp_path / "model", tmp_path / "labelled", OPTIONS, tmp_path / "audit")
    assert list(check(found)) == []
    assert found.before.ca.value == 1.0
    settled = {one.option: one for one in found.architecture.settings}
    assert (settled["quick_gelu"].value, settled["quick_gelu"].settled) == ("false", "tensors")
    scanned = scan(tmp_path / "model", tmp_path / "labelled", SCAN, tmp_path / "scan")
    assert scanned.control is not None


@pytest.mark.parametrize(
    "recipe",
    [CleanCLIPRecipe(), PARRecipe(), SupervisedRecipe(), UARRecipe()],
    ids=["cleanclip", "par", "supervised", "uar_with_captions"],
)
@pytest.mark.parametrize("layout", ["huggingface"], indirect=True)
def test_what_trains_with_clips_loss_is_refused(
    recipe: Recipe, model: torch.nn.Module, tmp_path: Path
) -> None:
    checkpoint = load_canonical(tmp_path / "model")
    assert has_sigmoid_loss(checkpoint.architecture.to_config())
    recipe = replace(recipe, batch_size=8)
    with pytest.raises(OptionsRejected) as refused:
        check_fits(recipe, checkpoint, 24)
    assert refused.value.code == "sigmoid_model"
    assert "images_of_pairs" in refused.value.remedy
    check_fits(UAR, checkpoint, 24)
