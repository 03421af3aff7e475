"""What no tensor tells is measured before it is believed: heads and activation of a model that has learnt."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.errors import CheckpointRejected, Interrupted
from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.progress import Advanced, Announced, PhaseStarted, ignore, never_stop
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.settled import MIN_IMAGES
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.settings import Settings
from sanitizer.pipeline import baseline
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.scan_opening import open_for_scan
from sanitizer.run import Run
from sanitizer.work import rechecking
from tests.fixtures import audited, learned, pipeline
from tests.fixtures.shards import make_pairs

pytestmark = pytest.mark.usefixtures("short_searches")
OPTIONS = AuditOptions(target="east", attacks=(BadNetOptions(),), batch_size=60, examples=0)
RECIPE = CleanCLIPRecipe(epochs=1, batch_size=8, learning_rate=1e-6, warmup_steps=1)
TRUE = Settings.of(learned.true_architecture())
TEXT = {"num_heads_text": learned.HEADS_TEXT}
"""240 images do not tell 2 text heads from 4."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    learned.write_model(folder / "checkpoint", **TEXT)
    learned.write_labelled(folder / "labelled")
    make_pairs(folder / "pairs", 16)
    return folder


@pytest.fixture(scope="module")
def report(inputs, tmp_path_factory):
    return audit(inputs, tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def cleaned(inputs, tmp_path_factory):
    """Report and folder."""
    out = tmp_path_factory.mktemp("cleaned")
    return sanitize(inputs, out), out


def audit(inputs, out, checkpoint=None, **changes):
    return pipeline.audit(
        checkpoint or inputs / "checkpoint",
        inputs / "labelled",
        OPTIONS,
        out,
        **({"seed": 3} | changes),
    )


def sanitize(inputs, out, **changes):
    options = {"recipe": RECIPE, "options": OPTIONS, "out_dir": out, "state_folder": out / "state", "seed": 3}
    return pipeline.sanitize(
        inputs / "checkpoint", inputs / "pairs", inputs / "labelled", **(options | changes)
    )


def setting_of(architecture, option):
    return next(setting for setting in architecture.settings if setting.option == option)


def test_an_audit_is_made_under_the_heads_and_activation_that_the_model_was_trained_with(inputs, report):
    assumed = load_canonical(inputs / "checkpoint").architecture
    assert Settings.of(assumed) == Settings(**(learned.ASSUMED | TEXT)) != TRUE
    assert Settings.of(Architecture.from_config(report.checkpoint.architecture)) == TRUE
    assert report.before.ca.value > 0.7


def test_the_report_says_how_each_setting_was_settled_and_both_figures(report):
    heads = setting_of(report.architecture, "num_heads_vision")
    assert (heads.value, heads.settled, heads.runner_up.value) == ("4", "measured", "2")
    assert heads.chosen.ca.value > heads.runner_up.ca.value + 0.1
    assert heads.margin.low > 0
    assert heads.margin.n == report.architecture.n == 240
    assert setting_of(report.architecture, "text_pool").settled == "assumed"
    assert f"% against {100 * heads.runner_up.ca.value:.1f} %" in heads.known_by
    assert report.architecture.num_image_passes == 6  # 3 numbers of heads, 2 activations
    assert any("num_heads_vision is 4 by measurement on 240 images" in one for one in report.warnings)


def test_the_warning_of_a_scan_has_the_figures_itself_because_its_report_has_no_section_for_them(inputs):
    options = ScanOptions(num_images=64, num_held_out=64, vocabulary=False)
    events = []
    places = Places(checkpoint=inputs / "checkpoint", data=inputs / "labelled")
    run = Run(device=torch.device("cpu"), progress=events.append)
    with open_for_scan(places, ScanSpec(scan=options, seed=3), run):
        pass
    warnings = [one.message for one in events if isinstance(one, Announced)]
    heads = next(one for one in warnings if one.startswith("num_heads_vision is 4 by measurement"))
    assert "Mean log-likelihood " in heads
    assert [one for one in warnings if "section" in one] == []


def test_a_measurement_repeats_to_the_last_bit(inputs, report, tmp_path):
    assert audit(inputs, tmp_path).architecture == report.architecture


@pytest.mark.parametrize(
    "declared", [{"num_heads_vision": 1}, {"quick_gelu": True}], ids=["heads", "activation"]
)
def test_a_declaration_that_the_images_contradict_is_refused_before_anything_is_computed(
    inputs, tmp_path, declared
):
    learned.write_model(tmp_path / "checkpoint", **(TEXT | declared))
    events = []
    with pytest.raises(CheckpointRejected) as caught:
        audit(inputs, tmp_path / "out", tmp_path / "checkpoint", progress=events.append)
    assert caught.value.code == "declared_setting_does_not_fit"
    assert caught.value.where == next(iter(declared))
    assert "CA " in caught.value.message
    assert "%" in caught.value.message
    assert not any(isinstance(event, PhaseStarted | Advanced) for event in events)


def test_a_declaration_that_fits_is_kept_and_called_declared(inputs, tmp_path):
    learned.write_model(tmp_path / "checkpoint", num_heads_vision=4, num_heads_text=2, quick_gelu=False)
    report = audit(inputs, tmp_path / "out", tmp_path / "checkpoint")
    by_option = {one.option: one.settled for one in report.architecture.settings}
    settled = [by_option[option] for option in learned.ASSUMED]
    assert settled == ["declared"] * 3
    assert report.warnings == ()


def test_where_the_images_leave_two_values_the_job_is_refused_with_the_flags_that_declare_one(
    inputs, tmp_path
):
    """As reported of text heads: 4 were best, 2 are true, and only a warning said so."""
    learned.write_model(tmp_path / "checkpoint")
    with pytest.raises(CheckpointRejected) as caught:
        audit(inputs, tmp_path / "out", tmp_path / "checkpoint")
    assert (caught.value.code, caught.value.where) == ("settings_undecided", "num_heads_text")
    assert "240 labelled images" in caught.value.message
    assert "num_heads_text (1, 2, 4)" in caught.value.message
    flags = " or ".join(f"--declared num_heads_text={heads}" for heads in (1, 2, 4))
    assert f"`cleanclip upload FILE` with {flags}" in caught.value.remedy
    assert 'holds {"num_heads_text": 1} or {"num_heads_text": 2} or' in caught.value.remedy
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_model_at_chance_under_every_setting_is_not_judged(tmp_path):
    audited.write_model(tmp_path / "checkpoint")
    learned.write_labelled(tmp_path / "labelled", 150)
    with pytest.raises(CheckpointRejected) as caught:
        audit(tmp_path, tmp_path / "out")
    assert caught.value.code == "settings_at_chance"
    assert "not a working classifier" in caught.value.message
    assert "guessing gives" in caught.value.message
    assert "image_size where no tensor says it" in caught.value.remedy


def test_of_too_few_images_nothing_is_measured_and_a_warning_says_so(inputs, tmp_path):
    learned.write_labelled(tmp_path / "labelled", MIN_IMAGES - 1)
    report = audit(tmp_path, tmp_path / "out", inputs / "checkpoint")
    assert report.architecture.n == 0
    assert setting_of(report.architecture, "num_heads_vision").settled == "assumed"
    assert any("assumed, not measured" in one for one in report.warnings)


def test_a_cleaning_trains_measures_and_hands_out_under_the_settled_architecture(cleaned):
    report, folder = cleaned
    handed_out = load_canonical(folder)
    assert handed_out.architecture.to_config() == report.checkpoint.architecture
    assert Settings.of(handed_out.architecture).num_heads_vision == TRUE.num_heads_vision
    assert handed_out.provenance["assumed"]["num_heads_vision"].startswith("4: measured")
    assert report.before.ca.value > 0.7
    assert report.after.ca.value > 0.7
    assert report.drift.images.mean < 1e-3  # of a rate that moves nothing: both sides are one architecture
    assert load_json((folder / "report.json").read_bytes()).architecture == report.architecture


def test_a_resumed_cleaning_keeps_what_its_first_attempt_settled(inputs, tmp_path, monkeypatch):
    saved = []

    def stop():
        return bool(saved) or (tmp_path / "state" / baseline.FILE_NAME).exists()

    with pytest.raises(Interrupted):
        sanitize(inputs, tmp_path, stop=stop)
    kept = json.loads((tmp_path / "state" / baseline.FILE_NAME).read_text())["settled"]
    monkeypatch.setattr(
        "sanitizer.pipeline.settling.measure", lambda *_, **__: pytest.fail("it was measured again")
    )
    report = sanitize(inputs, tmp_path)
    assert setting_of(report.architecture, "num_heads_vision").value == "4"
    assert kept["settings"][0]["value"] == "4"


def test_ranks_are_told_what_was_settled_before_they_began(inputs, tmp_path, monkeypatch):
    reported = []

    def start(orders, progress, stop):
        reported.extend(orders)
        raise Interrupted("stopped", "They were not to begin.", "")

    monkeypatch.setattr("sanitizer.ranks.shared_training.run_ranks", start)
    with pytest.raises(Interrupted):
        sanitize(inputs, tmp_path, max_ranks=2)
    settled = [Settings.of(Architecture.from_config(order.architecture)) for order in reported]
    assert len(settled) == 2
    assert {(one.num_heads_vision, one.quick_gelu) for one in settled} == {(4, False)}


def test_settings_change_no_weight(inputs):
    checkpoint = load_canonical(inputs / "checkpoint")
    architecture = TRUE.applied(checkpoint.architecture)
    assert Settings.of(architecture) == TRUE
    again = load_canonical(inputs / "checkpoint", architecture)
    assert replace(again, model=checkpoint.model, architecture=checkpoint.architecture) == checkpoint


def test_a_second_audit_of_cleaned_weights_settles_anew_whatever_their_configuration_says(
    inputs, cleaned, tmp_path
):
    """A process that was taken over chooses the heads under which its weights look clean."""
    report, outputs = cleaned
    folder = tmp_path / jobspec.CLEANED_PATH
    (tmp_path / jobspec.OUTPUTS_PATH).mkdir()
    for source, target in (("checkpoint", jobspec.CHECKPOINT_PATH), ("labelled", jobspec.LABELLED_PATH)):
        shutil.copytree(inputs / source, tmp_path / target)
    shutil.copytree(outputs, folder, ignore=shutil.ignore_patterns("state"))
    config = json.loads((folder / "config.json").read_text())
    lied = Settings(**learned.ASSUMED).applied(load_canonical(folder).architecture)
    (folder / "config.json").write_text(json.dumps(config | lied.to_config()))
    order = jobspec.RecheckSpec(audit=OPTIONS, seed=3, is_cleaned=True)
    rechecking.do(order, tmp_path, ignore, never_stop)
    raw = (tmp_path / jobspec.OUTPUTS_PATH / jobspec.FIGURES_NAME).read_bytes()
    assert jobspec.RECHECKED_ADAPTER.validate_json(raw).architecture == report.architecture
