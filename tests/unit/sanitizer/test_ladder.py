"""`method: auto`, from files to files: what it tries, what decides, what it keeps, and what it refuses."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from dataclasses import replace

import pytest

from cleanclip.evidence import report as evidence
from cleanclip.spec import jobspec, ladder_lines
from cleanclip.spec import ladder as spec_ladder
from cleanclip.spec.auto_figures import COLLAPSED
from cleanclip.spec.choosing import works_unknown
from cleanclip.spec.errors import Interrupted, OptionsRejected, TrainingDiverged
from cleanclip.spec.jobspec import RecheckSpec
from cleanclip.spec.progress import (
    Advanced,
    Announced,
    Noted,
    PhaseFinished,
    PhaseStarted,
    StateSaved,
    ignore,
    never_stop,
)
from cleanclip.spec.recipe import AuditOptions, AutoRecipe, BadNetOptions, Policy, TextTriggerOptions
from cleanclip.spec.report import Measured, load_json
from sanitizer.__main__ import main
from sanitizer.data.labelled import open_labelled
from sanitizer.pipeline import ladder_looks, ladder_run
from sanitizer.pipeline import operations as pipeline
from sanitizer.pipeline.parts import parts
from sanitizer.rendering.documents import pages
from sanitizer.work import rechecking
from tests.fixtures import appendix
from tests.fixtures.audited import write_model
from tests.fixtures.changed import changed
from tests.fixtures.shards import make_labelled, make_pairs
from tests.suites import mostly_full

RAN_AWAY_SENTENCE = COLLAPSED(step=9, total=20, loss=2.3, began=1.1, chance=2.3, updates=30)
RAN_AWAY_SENTENCE += " The last good state is not known."

ATTACKS = (BadNetOptions(pattern="yellow"), TextTriggerOptions(text="abc"))
OPTIONS = AuditOptions(target="dog", attacks=ATTACKS, gate=1e-6, examples=2)
LOOSE = Policy(asr_at_most=1.0, ca_lost_at_most=1.0)
TIGHT = Policy(asr_at_most=0.2, ca_lost_at_most=0.2)
SHORT = {
    "uar": {"epochs": 2, "strong_epochs": 0, "inversion_steps": 0},
    "uar-long": {"epochs": 3, "strong_epochs": 1, "inversion_steps": 1, "reinversion_steps": 1},
}
"""A ladder of two rungs; its model is far from any policy. 48 pairs are one batch."""
ENDED = "The budget of device minutes ended before the ladder did."


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    make_pairs(folder / "pairs", 48)
    make_labelled(folder / "labelled", 80)
    return folder


@pytest.fixture(autouse=True, scope="module")
def short():
    """Two short rungs, inversions of two steps, and fewer images than settings are measured on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec_ladder, "MIN_IMAGES", 20)
        patch.setattr(spec_ladder, "LADDER", tuple(SHORT))
        patch.setattr(spec_ladder, "UAR_CHANGES", SHORT)
        patch.setattr(ladder_looks, "PATTERN_STEPS", 2)
        yield


def sanitize(inputs, out, **changes):
    options = {
        "recipe": AutoRecipe(),
        "recipe_given": (),
        "options": OPTIONS,
        "policy": TIGHT,
        "state_folder": out / "state",
        "seed": 3,
        "device": "cpu",
    }
    return pipeline.sanitize(
        inputs / "checkpoint", inputs / "pairs", inputs / "labelled", out_dir=out, **(options | changes)
    )


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory, short):
    out, events = tmp_path_factory.mktemp("done"), []
    return out, sanitize(inputs, out, progress=events.append), events


def figures(auto):
    """All that does not depend on a clock."""
    looks = [replace(look, seconds=0.0, trained_s=0.0) for rung in auto.rungs for look in rung.looks]
    return auto.before, looks, [rung.end for rung in auto.rungs], auto.choice


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_rung_is_tried_until_one_meets_the_policy_and_its_looks_are_in_the_report(done):
    auto = done[1].auto
    assert [(one.name, one.end) for one in auto.rungs] == [("uar", "finished"), ("uar-long", "finished")]
    assert [[look.epoch for look in rung.looks] for rung in auto.rungs] == [[1, 2], [2, 3]]
    assert (auto.choice.meets_policy, auto.choice.meets_unknown) == (False, False)
    assert not auto.chosen_look.figures.patterns
    assert any(map(works_unknown, auto.chosen_look.figures.surrogates))
    assert auto.choice.reason in done[1].warnings
    assert auto.seconds >= sum(rung.seconds for rung in auto.rungs)
    assert done[1].recipe == AutoRecipe()
    assert done[1].trained_recipe == auto.chosen.recipe


def test_a_trigger_with_a_wrong_target_ends_no_ladder_that_the_verdict_fails(inputs, tmp_path):
    """Its images go to another class than the one that was named, and keep doing so."""
    attack = BadNetOptions(pattern="yellow", size=1.0, placement="centre")  # all images look alike
    asked = AuditOptions(target="dog", attacks=(attack,), gate=0.5, examples=0)
    report = sanitize(inputs, tmp_path, options=asked, policy=replace(TIGHT, ca_lost_at_most=1.0))
    (figures,), (led,) = report.before.attacks, (report.auto.before.attacks[0].elsewhere,)
    assert figures.asr.value < 0.5, "the target is wrong"
    assert led.class_name == figures.works_elsewhere(0.5).class_name
    assert not report.auto.choice.meets_policy
    assert report.verdict.outcome == "fail"
    input_line, *looks = ladder_lines.lines(report)
    assert input_line.asr == led.triggered
    assert f"to “{led.class_name}”, not its target “dog”" in input_line.attack_title
    assert [line.asr for line in looks] == [
        look.figures.attacks[0].as_before.triggered for rung in report.auto.rungs for look in rung.looks
    ]
    assert list(evidence.check(report)) == []
    page = pages(report)["report.html"].decode()
    assert "no attack worked" not in page
    assert "not its target “dog”" in page


def test_a_warning_on_a_recipe_names_its_rung_and_the_report_has_those_of_the_chosen_one(done):
    _, report, events = done
    told = [
        event.message
        for event in events
        if isinstance(event, Announced) and "updates, fewer" in event.message
    ]
    assert [one.partition(", ")[0] for one in told] == [
        "Rung uar: The recipe makes 2 updates",
        "Rung uar-long: The recipe makes 3 updates",
    ]
    chosen = [one for one in told if one.startswith(f"Rung {report.auto.chosen.name}: ")]
    assert [one for one in report.warnings if "updates, fewer" in one] == chosen


def test_the_report_fits_itself_and_its_pages_name_the_choice(done):
    report = done[1]
    assert list(evidence.check(report)) == []
    drawn = pages(report)
    for name in ("report.html", "report.md"):
        assert b"Recipes tried" in drawn[name]
        assert report.auto.choice.reason.encode() in drawn[name]
    assert b"uar 1: " in drawn["report.html"]  # the words of the front's plot


def test_the_published_weights_are_those_of_the_chosen_look(done):
    out, report, _ = done
    assert (report.auto.choice.rung, report.auto.choice.look) != (1, 1), "else the last weights would do"
    assert report.training.num_steps == report.auto.chosen_look.epoch
    assert sha256(out / "model.safetensors") == report.after.weights_sha256
    best = out / "state" / "auto" / "best.safetensors"
    assert best.is_file()


def test_the_appendix_of_the_page_repeats_the_choice_and_the_weights(inputs, done, tmp_path):
    report = done[1]
    places = {
        "CHECKPOINT": inputs / "checkpoint",
        "PAIRS": inputs / "pairs",
        "TEST": inputs / "labelled",
        "OUT": tmp_path / "out",
    }
    page = pages(report)["report.html"].decode()
    arguments = appendix.command(page, tmp_path / "typed", places)
    assert main([*arguments, "--device", "cpu"]) == 0
    again = load_json((tmp_path / "out" / "report.json").read_bytes())
    assert figures(again.auto) == figures(report.auto)
    assert again.after.weights_sha256 == report.after.weights_sha256
    assert again.verdict == report.verdict


def test_test_images_and_validation_images_are_apart_and_decided_by_the_seed(inputs, done):
    labelled = open_labelled(inputs / "labelled")
    validation, test = parts(labelled, 0.5, 3)
    assert sorted(validation.indices + test.indices) == list(range(80))
    assert parts(labelled, 0.5, 3)[1].indices == test.indices
    assert parts(labelled, 0.5, 4)[1].indices != test.indices
    assert test.read(5).key == labelled.read(test.indices[5]).key
    assert validation.sha256 == test.sha256 == labelled.sha256
    report = done[1]
    assert (report.before.ca.n, report.auto.num_validation) == (40, 40)
    (data,) = (one for one in report.data if one.kind == "labelled")
    assert data.num_samples == 80


def test_the_phases_are_those_of_any_cleaning_and_updates_of_all_rungs_are_one(done):
    started = [event for event in done[2] if isinstance(event, PhaseStarted)]
    assert [event.phase for event in started] == ["baseline_audit", "finetune", "final_audit"]
    assert started[1].total == 2 + 3
    assert [one.phase for one in done[2] if isinstance(one, PhaseFinished)].count("finetune") == 1
    heard = [one for one in done[2] if isinstance(one, Advanced) and one.phase == "finetune"]
    assert all(earlier.done <= later.done for earlier, later in itertools.pairwise(heard))
    assert any(one.message and "uar after epoch 1" in one.message for one in heard)


def test_a_ladder_ends_with_the_first_look_that_meets_all(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("cleanclip.spec.choosing.UNKNOWN_AT_MOST", 1.0)
    report = sanitize(inputs, tmp_path, policy=LOOSE)
    auto = report.auto
    assert [one.end for one in auto.rungs] == ["policy_met", "not_needed"]
    assert len(auto.chosen.looks) == 1
    assert auto.chosen_look.figures.patterns
    assert (auto.choice.meets_policy, auto.choice.meets_unknown) == (True, True)
    assert auto.choice.reason not in report.warnings
    assert report.training.num_steps == 1
    assert report.training.num_epochs == 1
    assert list(evidence.check(report)) == []
    assert b"1 steps in 1 of the recipe\xe2\x80\x99s 2 epochs over 48 pairs" in pages(report)["report.html"]


@pytest.mark.parametrize(
    "moves", mostly_full([False, True], daily=[True]), ids=["same_machine", "another_machine"]
)
def test_a_job_that_is_cut_in_a_rung_goes_on_in_it_and_ends_alike(inputs, done, tmp_path, moves):
    """On another machine only the newest training state is there, and the first audit."""
    heard = []

    def stop_in_second_rung():
        return sum(isinstance(one, StateSaved) and one.step == 2 for one in heard) >= 2

    with pytest.raises(Interrupted):
        sanitize(inputs, tmp_path, progress=heard.append, stop=stop_in_second_rung, save_every_s=0.0)
    state = tmp_path / "state"
    if moves:
        shutil.rmtree(state / "auto")
    again = []
    report = sanitize(inputs, tmp_path, progress=again.append)
    assert figures(report.auto) == figures(done[1].auto)
    assert report.after.weights_sha256 == done[1].after.weights_sha256
    assert not any(isinstance(one, Advanced) and "uar after" in (one.message or "") for one in again)


@pytest.mark.parametrize("change", ["ladder.json", pytest.param("best.safetensors", marks=pytest.mark.full)])
def test_what_is_kept_and_does_not_verify_is_not_used(inputs, done, tmp_path, change):
    state = tmp_path / "state"
    shutil.copytree(done[0] / "state", state)
    for place in (state / "auto", *state.glob("step-*")):
        (place / change).write_bytes(b"{}")
    report = sanitize(inputs, tmp_path)
    assert figures(report.auto) == figures(done[1].auto)


def test_a_rung_that_diverges_is_told_and_the_next_is_tried(inputs, tmp_path, monkeypatch):
    train = ladder_run.train

    def diverging(model, data, recipe, *others, **named):
        if recipe.strong_epochs == 0:
            raise TrainingDiverged("loss_diverged", RAN_AWAY_SENTENCE, "Lower the rate.")
        return train(model, data, recipe, *others, **named)

    monkeypatch.setattr(ladder_run, "train", diverging)
    report = sanitize(inputs, tmp_path)
    assert [one.end for one in report.auto.rungs] == ["diverged", "finished"]
    assert f"Rung uar diverged: {RAN_AWAY_SENTENCE}" in report.warnings
    assert list(evidence.check(report)) == []


def test_where_every_rung_diverges_the_job_fails_as_a_training_does(inputs, tmp_path, monkeypatch):
    def diverging(*_, **__):
        raise TrainingDiverged("loss_diverged", RAN_AWAY_SENTENCE, "Lower the rate.")

    monkeypatch.setattr(ladder_run, "train", diverging)
    with pytest.raises(TrainingDiverged):
        sanitize(inputs, tmp_path)
    with pytest.raises(TrainingDiverged, match=r"Rung uar-long: At update 9 of 20 "):
        sanitize(inputs, tmp_path)  # all is known from the first attempt


def test_a_budget_that_measuring_the_input_model_uses_up_is_refused_with_a_sentence(inputs, tmp_path):
    with pytest.raises(OptionsRejected) as refused:
        sanitize(inputs, tmp_path, recipe=AutoRecipe(max_device_minutes=1e-9))
    assert refused.value.code == "budget_too_small"
    assert refused.value.where == "recipe.max_device_minutes"
    assert "ended while the input model was measured, before" in refused.value.message


def test_a_budget_that_ends_later_ends_the_ladder_with_what_was_done(inputs, tmp_path, monkeypatch):
    """A minute, of which the first look takes more."""
    look = ladder_run._Climb._look

    def slow(self, number, looks):
        made = look(self, number, looks)
        self._rung_s += 70.0
        return made

    monkeypatch.setattr(ladder_run._Climb, "_look", slow)
    report = sanitize(inputs, tmp_path, recipe=AutoRecipe(max_device_minutes=1.0))
    assert [(one.end, len(one.looks)) for one in report.auto.rungs] == [("budget", 1), ("budget", 0)]
    assert ENDED in report.warnings
    assert list(evidence.check(report)) == []


class Clock:
    """In place of the time: a training takes so many seconds an epoch, and nothing else takes any."""

    def __init__(self, **epoch_s: float) -> None:
        self.now, self._epoch_s, self._train = 0.0, epoch_s, ladder_run.train

    def monotonic(self) -> float:
        return self.now

    def train(self, model, data, recipe, *others, part, stop, **named):
        seconds = self._epoch_s[recipe.method]
        for _ in range(part.first_epoch, part.last_epoch):
            self.now += seconds
            if stop():
                raise Interrupted("stopped", "Stopped.", "Run it again.")
        finetuned = self._train(model, data, recipe, *others, part=part, stop=stop, **named)
        wall_s, num_pairs = seconds * part.last_epoch, finetuned.training.num_pairs_seen
        training = replace(finetuned.training, wall_s=wall_s, pairs_per_s=num_pairs / wall_s)
        return replace(finetuned, training=training)


@pytest.fixture
def three_rungs(monkeypatch):
    """With PAR behind both, of which an epoch takes 5 seconds; one of UAR takes 10."""
    clock = Clock(uar=10.0, par=5.0)
    changes = {**SHORT, "par": {"epochs": 2}}
    monkeypatch.setattr(spec_ladder, "LADDER", tuple(changes))
    monkeypatch.setattr(spec_ladder, "UAR_CHANGES", changes)
    monkeypatch.setattr(ladder_run, "time", clock)
    monkeypatch.setattr(ladder_run, "train", clock.train)


def sanitize_within(inputs, out, seconds, progress=ignore):
    return sanitize(inputs, out, recipe=AutoRecipe(max_device_minutes=seconds / 60), progress=progress)


@pytest.mark.usefixtures("three_rungs")
def test_a_rung_that_does_not_fit_is_not_begun_and_a_quicker_one_after_it_is(inputs, tmp_path):
    """After `uar` 19 seconds are left; the first look of `uar-long` would be after 20, PAR's after 10."""
    heard = []
    report = sanitize_within(inputs, tmp_path, 39, heard.append)
    skipped = "uar-long, not begun: its first look does not fit in the budget"
    notes = [one.message for one in heard if isinstance(one, Noted)]
    rungs = [message for message in notes if message.startswith(("Rung 1", "Rung 2", "Rung 3"))]
    assert rungs == ["Rung 1 of 3: uar.", f"Rung 2 of 3: {skipped}.", "Rung 3 of 3: par."]
    ends = [(one.end, len(one.looks), one.seconds) for one in report.auto.rungs]
    assert ends == [("finished", 2, 20.0), ("does_not_fit", 0, 0.0), ("finished", 1, 10.0)]
    assert [look.trained_s for look in report.auto.rungs[0].looks] == [10.0, 20.0]
    assert list(evidence.check(report)) == []
    assert ENDED not in report.warnings
    assert sum(one.startswith("Rung uar-long was not begun: ") for one in report.warnings) == 1
    drawn = pages(report)
    for page in ("report.html", "report.md"):
        assert b"uar-long (not begun: its first look does not fit in the budget)" in drawn[page]


@pytest.mark.usefixtures("three_rungs")
@pytest.mark.parametrize(
    ("first_diverges", "rung"), [(False, "rung 1 of 3, uar"), (True, "rung 2 of 3, uar-long")]
)
def test_a_budget_that_ends_before_a_look_says_in_which_rung(
    inputs, tmp_path, monkeypatch, first_diverges, rung
):
    train = ladder_run.train

    def diverging(model, data, recipe, *others, **named):
        if first_diverges and recipe.strong_epochs == 0:
            raise TrainingDiverged("loss_diverged", RAN_AWAY_SENTENCE, "Lower the rate.")
        return train(model, data, recipe, *others, **named)

    monkeypatch.setattr(ladder_run, "train", diverging)
    with pytest.raises(OptionsRejected) as refused:
        sanitize_within(inputs, tmp_path, 7.5)
    assert refused.value.code == "budget_too_small"
    assert f"0.125 device minutes ended in {rung}, before" in refused.value.message


@pytest.mark.usefixtures("three_rungs")
def test_a_rung_of_another_method_is_begun_and_cut_off_when_the_budget_is_over(inputs, tmp_path):
    report = sanitize_within(inputs, tmp_path, 28)
    ends = [(one.end, len(one.looks), one.seconds) for one in report.auto.rungs]
    assert ends == [("finished", 2, 20.0), ("does_not_fit", 0, 0.0), ("budget", 0, 10.0)]
    assert list(evidence.check(report)) == []
    assert ENDED in report.warnings


def with_end(report, number, end):
    return changed(report, ("auto", "rungs", number, "end"), end)


@pytest.mark.usefixtures("three_rungs")
def test_an_end_that_does_not_follow_from_the_seconds_is_named(inputs, tmp_path):
    report = sanitize_within(inputs, tmp_path, 39)
    for number, end in ((0, "budget"), (1, "budget"), (1, "not_needed"), (2, "budget"), (2, "does_not_fit")):
        found = [finding.where for finding in evidence.check(with_end(report, number, end))]
        assert f"auto.rungs[{number}].end" in found, (number, end)
    roomy = replace(report, recipe=AutoRecipe(max_device_minutes=1.0))
    assert "auto.rungs[1].end" in [finding.where for finding in evidence.check(roomy)]
    for number in (0, 1):  # a rung after one that met the policy, or was not needed, is not begun
        edited = with_end(with_end(report, 0, "policy_met"), 1, "not_needed" if number else "does_not_fit")
        assert f"auto.rungs[{1 + number}].end" in [finding.where for finding in evidence.check(edited)]


def test_too_few_images_for_two_sets_are_refused_before_anything_is_computed(inputs, tmp_path):
    with pytest.raises(OptionsRejected) as refused:
        sanitize(inputs, tmp_path, recipe=AutoRecipe(validation_share=0.8))
    assert refused.value.code == "too_few_to_validate"
    assert "64 validation images and 16 test images" in refused.value.message


def test_a_limit_that_the_validation_images_cannot_show_is_refused_before_training(inputs, tmp_path):
    with pytest.raises(OptionsRejected) as refused:
        sanitize(inputs, tmp_path, policy=Policy(asr_at_most=0.01, ca_lost_at_most=0.2))
    assert refused.value.code == "policy_cannot_pass"
    assert "381 images" in refused.value.message
    assert "762 in all" in refused.value.message
    assert not (tmp_path / "state" / "auto" / "best.safetensors").exists()


def test_a_loss_that_the_validation_images_cannot_show_is_refused_before_training(inputs, tmp_path):
    heard = []
    with pytest.raises(OptionsRejected) as refused:
        sanitize(
            inputs, tmp_path, policy=Policy(asr_at_most=0.2, ca_lost_at_most=0.03), progress=heard.append
        )
    assert (refused.value.code, refused.value.where) == ("policy_cannot_pass", "policy.ca_lost_at_most")
    assert "on 40 validation images" in refused.value.message
    assert "over the limit of 3.00" in refused.value.message
    assert "labelled images" in refused.value.remedy
    assert not any(isinstance(one, StateSaved) for one in heard)


def test_a_second_audit_measures_the_same_test_images(inputs, done, tmp_path):
    out, report, _ = done
    (tmp_path / "inputs").mkdir()
    for name in ("checkpoint", "labelled"):
        (tmp_path / "inputs" / name).symlink_to(inputs / name)
    cleaned = tmp_path / jobspec.CLEANED_PATH
    cleaned.mkdir()
    for name in ("model.safetensors", "config.json"):
        shutil.copy(out / name, cleaned / name)
    (tmp_path / "outputs").mkdir()
    spec = RecheckSpec(
        audit=OPTIONS,
        seed=3,
        is_cleaned=True,
        validation_share=0.5,
    )
    rechecking.do(spec, tmp_path, ignore, never_stop)
    found = jobspec.RECHECKED_ADAPTER.validate_json((tmp_path / "outputs" / "figures.json").read_bytes())
    assert found.measured == Measured.of(report)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("choice", "rung"), 1, "auto.choice"),
        (("rungs", 0, "looks", 0, "figures", "ca", "successes"), 39, "auto.rungs[0].looks[0].figures.ca"),
        (("rungs", 0, "looks", 0, "figures", "attacks"), (), "auto.rungs[0].looks[0].figures.attacks"),
        (("before", "attacks"), (), "auto.before.attacks"),
        (("rungs", 0, "looks", 0, "epoch"), 2, "auto.rungs[0].looks"),
        (("rungs", 0, "recipe", "learning_rate"), 0.5, "auto.rungs"),
        (("rungs", 1, "end"), "not_needed", "auto.rungs[1].end"),
        (("num_validation",), 39, "before.ca.n"),
        (("family",), "VisionTransformer", "auto.family"),
        (("seconds",), 0.0, "auto.seconds"),
        ((), None, "auto"),
    ],
)
def test_a_changed_ladder_is_named(done, path, value, where):
    report = done[1]
    assert report.auto.family == "ModifiedResNet"
    edited = replace(report, auto=changed(report.auto, path, value))
    found = [finding.where for finding in evidence.check(edited)]
    assert any(one and one.startswith(where) for one in found), found
