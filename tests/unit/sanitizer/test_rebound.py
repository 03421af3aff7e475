"""The rebound audit, from files to files: what it trains, measures, leaves alone, refuses and keeps."""

import hashlib
import json
import shutil
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch

from cleanclip.evidence import rebound as evidence
from cleanclip.evidence import report as evidence_report
from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.attack_options import BadNetOptions, BlendedOptions, TextTriggerOptions
from cleanclip.vocabulary.cautions import check_rebound
from cleanclip.vocabulary.errors import Interrupted, OptionsRejected, TrainingDiverged
from cleanclip.vocabulary.fresh_attacks import fresh_of
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.progress import Advanced, PhaseStarted, ignore, never_stop
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.data.mixed import Mixed
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline import rebound as pipeline_rebound
from sanitizer.pipeline.rebound import FILE_NAME
from sanitizer.rendering.documents import pages
from sanitizer.training.loop import Looks, finetune
from sanitizer.work import rechecking
from tests.fixtures import pipeline
from tests.fixtures.audited import write_model
from tests.fixtures.changed import changed
from tests.fixtures.kept_reports import document, read
from tests.fixtures.shards import make_labelled, make_pairs

RECIPE = CleanCLIPRecipe(epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=1)
SUPERVISED = SupervisedRecipe(epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=1)
REBOUND = ReboundOptions(
    rates=(1.0, 3.0), steps=(2, 5), poisons=3, relearning_samples=16, interpolation_halvings=2
)
ATTACKS = (BadNetOptions(pattern="yellow"), TextTriggerOptions(text="abc"))
OPTIONS = AuditOptions(target="dog", attacks=ATTACKS, gate=1e-6, rebound=REBOUND)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    make_pairs(folder / "pairs", 24)
    make_labelled(folder / "labelled", 18)
    make_labelled(folder / "training", 24)
    return folder


def sanitize(inputs, out, **changes):
    recipe = changes.get("recipe", RECIPE)
    training = inputs / ("training" if recipe.training_data == "labelled" else "pairs")
    options = {
        "recipe": RECIPE,
        "options": OPTIONS,
        "state_folder": out / "state",
        "seed": 3,
    }
    return pipeline.sanitize(
        inputs / "checkpoint", training, inputs / "labelled", out_dir=out, **(options | changes)
    )


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    out, events = tmp_path_factory.mktemp("done"), []
    return out, sanitize(inputs, out, progress=events.append), events


@pytest.fixture(scope="module")
def without(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("without")
    return out, sanitize(inputs, out, options=replace(OPTIONS, rebound=None))


def test_curves_start_at_the_cleaned_model_and_go_through_every_ordered_step(done):
    _, report, _ = done
    reported = report.rebound
    assert [(one.rate, one.seed) for one in reported.curves] == [(1.0, 3), (3.0, 3)]
    for curve in reported.curves:
        assert [point.step for point in curve.points] == [0, 2, 5]
        assert curve.points[0].ca == report.after.ca
        assert [one.asr for one in curve.points[0].attacks] == [one.asr for one in report.after.attacks]
    assert reported.num_samples == 24
    assert [one.attack for one in report.verdict.rebound] == [one.name for one in report.after.attacks]


def test_a_report_with_a_rebound_fits_itself(done):
    assert list(evidence_report.check(done[1])) == []


@pytest.mark.parametrize("method", ["cleanclip", "supervised"])
def test_a_second_audit_trains_the_copies_again_and_finds_the_same(inputs, done, method, tmp_path):
    """The verdict is judged by them, so they may not rest on one process."""
    out, report, _ = done
    training = ("pairs", jobspec.PAIRS_PATH)
    if method == "supervised":
        out, training = tmp_path / "supervised", ("training", jobspec.TRAINING_PATH)
        report = sanitize(inputs, out, recipe=SUPERVISED)
    folder = tmp_path / "fresh"
    names = (("checkpoint", jobspec.CHECKPOINT_PATH), ("labelled", jobspec.LABELLED_PATH), training)
    for source, target in names:
        shutil.copytree(inputs / source, folder / target)
    (folder / jobspec.CLEANED_PATH).mkdir()
    for name in (jobspec.WEIGHTS_NAME, jobspec.CONFIG_NAME):
        shutil.copy(out / name, folder / jobspec.CLEANED_PATH)
    (folder / jobspec.OUTPUTS_PATH).mkdir()
    order = jobspec.RecheckSpec(audit=OPTIONS, seed=3, is_cleaned=True, recipe=report.recipe)
    rechecking.do(order, folder, ignore, never_stop)
    raw = (folder / jobspec.OUTPUTS_PATH / jobspec.FIGURES_NAME).read_bytes()
    found = jobspec.RECHECKED_ADAPTER.validate_json(raw)
    assert found.rebound == report.rebound
    assert found.measured == report.measured


def test_the_way_back_begins_at_the_cleaned_model_and_ends_at_the_input_model(done):
    _, report, _ = done
    found = report.rebound.interpolation
    assert (found.points[0].share, found.points[-1].share) == (0, 1)
    for point, audited in ((found.points[0], report.after), (found.points[-1], report.before)):
        assert point.ca == audited.ca
        assert [one.asr for one in point.attacks] == [one.asr for one in audited.attacks]
    assert len(found.to_half) == len(ATTACKS)
    assert b"Back towards the input model" in pages(report)["report.html"]


def test_the_published_weights_are_those_of_a_cleaning_without_a_rebound(done, without):
    published = [
        hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest() for out in (done[0], without[0])
    ]
    assert published[0] == published[1] == done[1].after.weights_sha256
    assert without[1].rebound is None
    assert without[1].verdict.rebound == ()


def test_a_rebound_has_a_phase_of_its_own_that_ends_where_it_said(done):
    started = [event for event in done[2] if isinstance(event, PhaseStarted)]
    assert [event.phase for event in started] == ["baseline_audit", "finetune", "final_audit", "rebound"]
    heard = [one for one in done[2] if isinstance(one, Advanced) and one.phase == "rebound"]
    assert all(earlier.done <= later.done for earlier, later in pairwise(heard))
    assert heard[-1].done == heard[-1].total == started[-1].total
    assert any(one.eta_s for one in heard)


def test_a_stopped_rebound_goes_on_with_the_curves_that_it_had_finished(inputs, done, tmp_path, monkeypatch):
    heard, trained, train = [], [], pipeline_rebound.finetune
    monkeypatch.setattr(
        pipeline_rebound, "finetune", lambda *given, **named: trained.append(1) or train(*given, **named)
    )

    def stop():
        return len(trained) == 2

    with pytest.raises(Interrupted):
        sanitize(inputs, tmp_path, progress=heard.append, stop=stop)
    assert list(json.loads((tmp_path / "state" / FILE_NAME).read_bytes())["finished"]) == ["curve 1.0 3"]
    trained.clear()
    report = sanitize(inputs, tmp_path)
    assert report.rebound == done[1].rebound
    assert len(trained) == 1 + 2 * len(report.rebound.relearned)


def test_curves_of_another_order_are_not_taken(inputs, tmp_path):
    sanitize(inputs, tmp_path, options=replace(OPTIONS, rebound=ReboundOptions(steps=(2,))))
    first = json.loads((tmp_path / "state" / FILE_NAME).read_bytes())
    sanitize(inputs, tmp_path, options=replace(OPTIONS, rebound=ReboundOptions(steps=(1,))))
    second = json.loads((tmp_path / "state" / FILE_NAME).read_bytes())
    assert first["key"] != second["key"]
    (curve,) = second["finished"].values()
    assert [point["step"] for point in curve["points"]] == [0, 1]


def test_a_supervised_cleaning_is_followed_by_training_on_its_labelled_images(inputs, tmp_path):
    report = sanitize(inputs, tmp_path, recipe=SUPERVISED)
    assert list(evidence_report.check(report)) == []
    assert [point.step for point in report.rebound.curves[0].points] == [0, 2, 5]
    assert {one.attack for one in report.rebound.relearned} <= {one.name for one in report.after.attacks}


def test_a_loss_that_diverges_ends_its_curve_and_not_the_job(inputs, tmp_path, monkeypatch):
    train = pipeline_rebound.finetune

    def until_the_fourth_update(checkpoint, data, recipe, *, looks, **others):
        train(checkpoint, data, recipe, looks=replace(looks, steps=(2, 3)), **others)
        raise TrainingDiverged("loss_diverged", "At update 4 it ran away.", "Lower the rate.")

    def look_at_two(step, look):
        return None if step == 3 else look(step)

    monkeypatch.setattr(pipeline_rebound, "finetune", until_the_fourth_update)
    monkeypatch.setattr(
        pipeline_rebound,
        "Looks",
        lambda steps, look: Looks(steps=steps, look=partial(look_at_two, look=look)),
    )
    report = sanitize(inputs, tmp_path, options=replace(OPTIONS, rebound=ReboundOptions(steps=(2, 5))))
    (curve,) = report.rebound.curves
    assert ([point.step for point in curve.points], curve.diverged_at) == ([0, 2], 4)
    assert any("diverged at update 4" in warning for warning in report.warnings)
    assert list(evidence_report.check(report)) == []


def test_a_rate_that_destroys_the_model_is_named():
    (warning,) = (
        one for one in read(document("rebound")).warnings if "at 10 times the cleaning's learning rate" in one
    )
    assert "3.6 % after 10 updates" in warning


def test_a_benign_training_has_the_cleanings_optimiser_and_clips_loss_alone():
    par = replace(RECIPE, weight_decay=0.3, beta2=0.9, precision="bf16", batch_size=64, chunk_size=16)
    made = pipeline_rebound.benign_recipe(par, 3.0, 40)
    assert (made.lambda1, made.lambda2, made.warmup_steps) == (1.0, 0.0, 0)
    assert (made.weight_decay, made.beta2, made.precision, made.chunk_size) == (0.3, 0.9, "bf16", 16)
    assert made.batch_size == 40
    assert pipeline_rebound.benign_recipe(replace(par, chunk_size=None), 1.0, 64, 4).chunk_size == 16
    assert pipeline_rebound.benign_recipe(SUPERVISED, 1.0, 24).training_data == "labelled"


def test_a_run_that_is_looked_at_does_not_depend_on_where(inputs):
    def weights(steps):
        checkpoint = pipeline_rebound.load_canonical(inputs / "checkpoint")
        finetune(
            checkpoint,
            open_pairs(inputs / "pairs"),
            RECIPE,
            seed=1,
            device=torch.device("cpu"),
            looks=Looks(steps=steps, look=lambda _: checkpoint.model.train()),
        )
        return checkpoint.model.state_dict()

    looked, alone = weights((1, 2, 4)), weights((4,))
    assert all(torch.equal(looked[name], alone[name]) for name in alone)


def test_equal_images_are_poisoned_whatever_the_trigger(inputs):
    def made(attack):
        return Mixed(
            open_pairs(inputs / "pairs"),
            num_samples=12,
            poisons=3,
            captions=("a dog",),
            trigger=build_trigger(attack),
            image_size=32,
            seed=5,
        )

    old, fresh = made(BadNetOptions(pattern="yellow")), made(BadNetOptions(pattern="white"))
    assert len(old) == 12
    poisoned = [index for index in range(12) if old.read(index).caption == "a dog"]
    assert poisoned == [index for index in range(12) if fresh.read(index).caption == "a dog"] == [0, 1, 2]
    assert old.read(0).image.size == (32, 32)
    assert old.read(0).image.tobytes() != fresh.read(0).image.tobytes()
    assert old.read(4).image.tobytes() == fresh.read(4).image.tobytes()


@pytest.mark.parametrize(
    "attack",
    [*ATTACKS, BadNetOptions(), BadNetOptions(pattern="gaussian_fixed"), BlendedOptions(pattern="triangles")],
)
def test_a_fresh_trigger_is_another_of_the_same_family_and_size(attack):
    fresh = fresh_of(attack)
    assert type(fresh) is type(attack)
    assert fresh != attack
    assert getattr(fresh, "size", None) == getattr(attack, "size", None)


def test_words_that_read_the_same_backwards_have_no_fresh_trigger():
    assert fresh_of(TextTriggerOptions(text="level")) is None


@pytest.mark.parametrize(
    ("options", "policy", "code"),
    [
        (replace(OPTIONS, rebound=None), Policy(rebound_asr_at_most=0.02), "policy_limits_unmeasured"),
        (
            replace(OPTIONS, rebound=ReboundOptions(steps=(10_000,), num_seeds=3)),
            Policy(),
            "rebound_too_long",
        ),
        (
            replace(OPTIONS, rebound=replace(REBOUND, max_images=100)),
            Policy(rebound_asr_at_most=0.01),
            "policy_cannot_pass",
        ),
    ],
)
def test_what_a_rebound_cannot_show_is_refused_before_anything_is_computed(
    inputs, tmp_path, options, policy, code
):
    heard = []
    with pytest.raises(OptionsRejected) as refused:
        sanitize(inputs, tmp_path, options=options, policy=policy, progress=heard.append)
    assert refused.value.code == code
    assert heard == []


def test_an_audit_alone_has_no_clean_data_to_measure_a_rebound_with(inputs, tmp_path):
    with pytest.raises(OptionsRejected) as refused:
        pipeline.audit(inputs / "checkpoint", inputs / "labelled", OPTIONS, tmp_path)
    assert refused.value.code == "rebound_without_clean_data"


@pytest.mark.parametrize("trained_on", ["images_of_pairs", "labelled_images"])
def test_captions_or_labels_that_need_not_be_right_are_no_clean_data(inputs, tmp_path, trained_on):
    heard = []
    with pytest.raises(OptionsRejected) as refused:
        sanitize(inputs, tmp_path, recipe=UARRecipe(trained_on=trained_on), progress=heard.append)
    error = refused.value
    assert (error.code, error.where) == ("rebound_without_clean_data", "audit.rebound")
    assert f"trained_on: {trained_on}" in error.message
    assert "trained_on: pairs" in error.remedy
    assert heard == []


def test_a_limit_on_the_rebound_of_images_alone_is_not_answered_by_a_rebound_that_is_refused():
    limited, unmeasured = Policy(rebound_asr_at_most=0.02), replace(OPTIONS, rebound=None)
    with pytest.raises(OptionsRejected) as refused:
        check_rebound(unmeasured, limited, UARRecipe(trained_on="images_of_pairs"))
    assert refused.value.code == "policy_limits_unmeasured"
    assert refused.value.remedy.startswith("Order a rebound on pairs, or take")


def test_clean_pairs_or_labels_are_clean_data_for_a_rebound():
    for recipe in (UARRecipe(), SUPERVISED, RECIPE):
        check_rebound(OPTIONS, Policy(), recipe)


def test_relearning_needs_the_target_among_the_classes_that_are_trained(inputs, tmp_path):
    make_labelled(tmp_path / "other", 24)
    names = tmp_path / "other" / "classnames.txt"
    names.write_text(names.read_text().replace("dog", "wolf"))
    with pytest.raises(OptionsRejected) as refused:
        pipeline.sanitize(
            inputs / "checkpoint",
            tmp_path / "other",
            inputs / "labelled",
            recipe=SUPERVISED,
            options=OPTIONS,
            out_dir=tmp_path / "out",
            state_folder=tmp_path / "state",
        )
    assert refused.value.code == "rebound_target_not_trained"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("num_samples",), 23),
        (("curves", 0, "seed"), 4),
        (("curves", 0, "rate"), 2.0),
        (("curves", 0, "points", 1, "step"), 3),
        (("curves", 1, "points", 2, "attacks", 1, "asr", "n"), 7),
        (("curves", 0, "diverged_at"), 4),
        (("attacks", 0), "another"),
        (("relearned",), ()),
        (("interpolation",), None),
        (("interpolation", "points", 0, "share"), 0.125),
        (("interpolation", "points", -1, "ca", "successes"), 1),
    ],
)
def test_a_figure_that_was_changed_by_hand_is_found(done, path, value):
    report = done[1]
    edited = replace(report, rebound=changed(report.rebound, path, value))
    assert edited != report
    assert list(evidence.check(edited))


def test_a_rebound_that_was_taken_out_or_put_in_is_found(done, without):
    assert list(evidence.check(replace(done[1], rebound=None)))
    assert list(evidence.check(replace(without[1], rebound=done[1].rebound)))


def test_a_rebound_is_part_of_the_verdict(done):
    outcomes = {one.outcome for one in done[1].verdict.rebound}
    assert outcomes <= {"fail", "undecided", "pass", "inconclusive"}


def test_a_clean_models_curve_is_drawn_beside_where_the_order_gives_it(done):
    report = done[1]
    assert b"clean model, by the order" not in pages(report)["report.html"]
    ordered = replace(report.audit.rebound, reference_asr=(0.001,) * (1 + len(report.audit.rebound.steps)))
    shown = pages(replace(report, audit=replace(report.audit, rebound=ordered)))["report.html"]
    assert b"clean model, by the order" in shown
    assert b"A clean model, by the order: highest 0.1 %." in shown
    with pytest.raises(ValueError, match="step 0 and one for each of steps"):
        replace(report.audit.rebound, reference_asr=(0.1,))
