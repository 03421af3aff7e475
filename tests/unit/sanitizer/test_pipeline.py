"""From files to files, in one process: what is left behind, what is refused when, what is done once."""

import hashlib
import json
import re
from dataclasses import replace

import numpy
import PIL
import pytest
import torch
import torchvision
from safetensors.torch import load_file

from cleanclip.evidence import figures as evidence_figures
from cleanclip.evidence import report as evidence_report
from cleanclip.evidence import training as evidence_training
from cleanclip.vocabulary import cautions
from cleanclip.vocabulary.attack_options import BadNetOptions, CustomPatchOptions
from cleanclip.vocabulary.errors import DatasetRejected, Interrupted, OptionsRejected, TrainingDiverged
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.progress import Announced, Noted, PhaseStarted, ProgressEvent
from cleanclip.vocabulary.recipe import (
    AuditOptions,
    CleanCLIPRecipe,
    DeclaredOptions,
    PARRecipe,
    SupervisedRecipe,
)
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.attacks.catalogue import trigger_sha256
from sanitizer.audits import class_memory
from sanitizer.audits.audit import run_audit
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data import loader_processes
from sanitizer.data.labelled import open_labelled
from sanitizer.pipeline import operations
from sanitizer.pipeline.baseline import FILE_NAME
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.pipeline.inspecting import inspect
from sanitizer.pipeline.validating import validate
from sanitizer.run import Run
from sanitizer.software import software
from tests.fixtures import pipeline
from tests.fixtures.audited import write_model
from tests.fixtures.shards import good_pair, make_labelled, make_pairs, write_tar
from tests.fixtures.triggers import picture
from tests.suites import mostly_full

RECIPE = CleanCLIPRecipe(epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=1)
OPTIONS = AuditOptions(target="dog", attacks=(BadNetOptions(),))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    make_pairs(folder / "pairs", 24)
    make_labelled(folder / "labelled", 18)
    make_labelled(folder / "training", 24)
    return folder


def sanitize(inputs, out, **changes):
    options = {
        "recipe": RECIPE,
        "options": OPTIONS,
        "out_dir": out,
        "state_folder": out / "state",
        "seed": 3,
    }
    checkpoint = changes.pop("checkpoint", inputs / "checkpoint")
    is_labelled = changes.get("recipe", RECIPE).training_data == "labelled"
    training = changes.pop("training", inputs / ("training" if is_labelled else "pairs"))
    return pipeline.sanitize(checkpoint, training, inputs / "labelled", **(options | changes))


UAR = UARRecipe(
    epochs=2,
    strong_epochs=1,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=2,
    inversion_steps=2,
    reinversion_steps=2,
)


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    return out, sanitize(inputs, out)


@pytest.mark.parametrize(
    ("recipe", "times"),
    [
        (RECIPE, 2),
        (SupervisedRecipe(epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=1), 1),
        (UAR, 1),
        (replace(UAR, trigger_words=("word",)), 2),
    ],
    ids=["cleanclip", "supervised", "uar", "uar_on_words"],
)
def test_the_audits_of_a_job_embed_the_classes_once_for_each_text_tower(
    inputs, tmp_path, monkeypatch, recipe, times
):
    embed, made = class_memory.class_embeddings, []

    def counted(*arguments, **options):
        made.append(arguments[1])
        return embed(*arguments, **options)

    monkeypatch.setattr(class_memory, "class_embeddings", counted)
    sanitize(inputs, tmp_path, recipe=recipe)
    assert len(made) == times


@pytest.mark.parametrize("retrieval", mostly_full([False, True], daily=[True]))
def test_a_jobs_audits_build_their_batches_in_processes_of_their_own(
    inputs, tmp_path, monkeypatch, retrieval
):
    started, begin = [], loader_processes.start_loaders

    def counted(build, num_workers):
        started.append((build.__self__.__class__.__name__, num_workers))
        return begin(build, num_workers)

    monkeypatch.setattr(loader_processes, "start_loaders", counted)
    monkeypatch.setattr(operations, "share_cores", lambda model, device: 1)
    options = replace(OPTIONS, batch_size=9)
    others = {"retrieval_path": make_pairs(tmp_path / "others", 20)} if retrieval else {}
    sanitize(inputs, tmp_path / "out", options=options, **others)
    an_audits = [("_LabelledAssembler", 1), *([("_CaptionedAssembler", 1)] if retrieval else [])]
    assert sorted(started) == sorted([*an_audits, ("PairAssembler", 1), *an_audits])
    started.clear()
    pipeline.audit(inputs / "checkpoint", inputs / "labelled", options, tmp_path / "alone", **others)
    assert sorted(started) == sorted(an_audits)


def test_a_cleaning_leaves_weights_configuration_report_and_curve(done):
    out, report = done
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors",
        "config.json",
        "report.json",
        "training_curve.json",
        "state",
    }
    assert load_json((out / "report.json").read_bytes()) == report
    points = json.loads((out / "training_curve.json").read_text())["points"]
    assert [point["step"] for point in points] == [1, 2, 3]


def test_the_report_names_the_bytes_that_it_is_about(done, inputs):
    out, report = done
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    before = hashlib.sha256((inputs / "checkpoint/model.safetensors").read_bytes()).hexdigest()
    assert report.after.weights_sha256 == digest != before
    assert report.before.weights_sha256 == report.checkpoint.weights_sha256 == before
    assert [data.kind for data in report.data] == ["pairs", "labelled"]
    assert [data.num_samples for data in report.data] == [24, 18]
    assert report.training.num_steps == 3
    assert report.environment.device == "cpu"
    assert report.environment.precision == "fp32"


def test_the_report_names_what_decides_pixels_and_draws(done):
    _, report = done
    reported = report.environment
    assert (reported.numpy, reported.pillow, reported.torchvision) == (
        numpy.__version__,
        PIL.__version__,
        torchvision.__version__,
    )


def test_the_final_figures_are_those_of_the_file_handed_out(done, inputs):
    out, report = done
    again = run_audit(
        load_canonical(out),
        open_labelled(inputs / "labelled"),
        OPTIONS,
        Run(device=torch.device("cpu")),
        seed=3,
        phase="final_audit",
    )
    (ours,), (reported,) = again.figures.attacks, report.after.attacks
    assert ours.towards == reported.towards_now
    same = replace(ours, towards=reported.towards, towards_now=reported.towards_now)
    assert replace(again.figures, attacks=(same,)) == report.after


def test_a_model_without_the_attack_is_cleaned_all_the_same_and_the_verdict_says_so(done):
    _, report = done
    assert report.before.attacks[0].asr.value < OPTIONS.gate
    assert report.verdict.attacks[0].outcome == "inconclusive"
    assert report.verdict.limits_below_gate
    assert report.training.num_steps == 3


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        PARRecipe(epochs=2, batch_size=8, learning_rate=1e-3, initial_learning_rate=3e-3, push_share=0.5),
        SupervisedRecipe(epochs=2, batch_size=8, learning_rate=1e-3, warmup_steps=2),
        UAR,
        replace(UAR, trigger_words=("word",)),
        pytest.param(replace(UAR, trained_on="images_of_pairs"), marks=pytest.mark.full),
        pytest.param(replace(UAR, trained_on="labelled_images"), marks=pytest.mark.full),
    ],
    ids=lambda recipe: recipe.method,
)
def test_what_a_report_tells_of_its_training_fits_the_recipe(inputs, tmp_path, recipe):
    sanitize(inputs, tmp_path, recipe=recipe)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["recipe"]["method"] == recipe.method
    assert list(evidence_training.check(evidence_report.parse(json.dumps(document).encode()))) == []
    assert [data["kind"] for data in document["data"]] == [
        "pairs" if recipe.training_data == "pairs" else "training",
        "labelled",
    ]
    document["training"]["curve"][0]["loss"] += 0.1
    document["training"]["curve"][1]["learning_rate"] *= 0.9
    found = [
        one.where for one in evidence_training.check(evidence_report.parse(json.dumps(document).encode()))
    ]
    # Without parts there is nothing that a loss could be held against.
    loss = [] if isinstance(recipe, SupervisedRecipe) else ["training.curve[0]"]
    assert found == [*loss, "training.curve[1].learning_rate"]


def test_a_push_that_did_not_reach_its_threshold_is_told_in_the_report(inputs, tmp_path):
    recipe = PARRecipe(epochs=1, batch_size=8, learning_rate=1e-5, initial_learning_rate=2e-5)
    report = sanitize(inputs, tmp_path, recipe=recipe)
    reported = [warning for warning in report.warnings if "never over the threshold of 2.15" in warning]
    assert [warning.split()[1] for warning in reported] == ["image", "caption"]


@pytest.mark.parametrize(
    "changes",
    [{"push_share": 0.0}, {"learning_rate": 1e-4}, {"threshold": 0.0}],
    ids=lambda one: next(iter(one)),
)
def test_a_recipe_of_par_that_pushes_nowhere_is_warned_of(changes):
    model = {
        "num_samples": 100_000,
        "num_classes": 3,
        "family": "ModifiedResNet",
        "size": "full",
        "given": (),
    }
    assert cautions.before_training(PARRecipe(), **model) == []
    found = cautions.before_training(PARRecipe(**changes), **model | {"given": tuple(changes)})
    assert len(found) == 1


def test_a_model_is_not_trained_on_the_images_that_it_is_measured_on(inputs, tmp_path):
    with pytest.raises(DatasetRejected) as refused:
        sanitize(inputs, tmp_path, recipe=SupervisedRecipe(), training=inputs / "labelled")
    assert refused.value.code == "trained_on_the_test"
    assert not list(tmp_path.iterdir())


def test_the_report_warns_of_too_little_data(done):
    _, report = done
    assert any("24 clean pairs for 3 classes" in warning for warning in report.warnings)
    assert any("3 updates" in warning for warning in report.warnings)


def test_a_policy_that_no_result_could_meet_is_refused_before_training_if_somebody_gave_it(inputs, tmp_path):
    events: list[ProgressEvent] = []
    options = AuditOptions(target="dog", attacks=(BadNetOptions(),), gate=1e-9)
    changes = {"options": options, "progress": events.append}
    with pytest.raises(OptionsRejected) as refused:
        sanitize(inputs, tmp_path, policy=Policy(asr_at_most=0.01), **changes)
    assert (refused.value.code, refused.value.where) == ("policy_cannot_pass", "policy.asr_at_most")
    assert "At least 381 images" in refused.value.message
    assert [event.phase for event in events if isinstance(event, PhaseStarted)] == ["baseline_audit"]
    report = sanitize(inputs, tmp_path, **changes)
    assert [warning for warning in report.warnings if "At least 73 images" in warning]
    assert report.policy_source == PolicySource.of(None)


@pytest.mark.parametrize(
    "recipe",
    [
        CleanCLIPRecipe(epochs=5, batch_size=8, learning_rate=1.0, warmup_steps=0),
        PARRecipe(epochs=5, batch_size=8, learning_rate=1.0, initial_learning_rate=1.0),
        SupervisedRecipe(epochs=5, batch_size=8, learning_rate=1.0, warmup_steps=0),
        UARRecipe(epochs=5, batch_size=8, learning_rate=1.0, warmup_steps=0, inversion_steps=0),
    ],
    ids=lambda recipe: recipe.method,
)
def test_a_loss_that_explodes_ends_every_method_and_hands_out_nothing(inputs, tmp_path, recipe):
    with pytest.raises(TrainingDiverged) as caught:
        sanitize(inputs, tmp_path, recipe=recipe)
    assert caught.value.code == "loss_not_finite"
    assert re.match(r"At update \d+ of 15, with a learning rate of ", caught.value.message)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    kept = json.loads((tmp_path / "state" / FILE_NAME).read_text())
    assert kept["figures"]["ca"]["n"] == 18


def test_a_policy_that_contradicts_the_audit_is_refused_before_anything_is_read(tmp_path):
    for policy in (Policy(asr_at_most_for={"structured": 0.2}), Policy(asr_at_most=0)):
        with pytest.raises(OptionsRejected):
            sanitize(tmp_path / "absent", tmp_path, policy=policy)
        with pytest.raises(OptionsRejected):
            pipeline.audit(tmp_path / "a", tmp_path / "b", OPTIONS, tmp_path, policy=policy)


def test_the_report_says_which_options_were_given_and_where_the_others_are_from(done, inputs, tmp_path):
    assert done[1].recipe_source is None, "nobody said which"
    given = ("epochs", "batch_size", "learning_rate", "warmup_steps")
    report = sanitize(inputs, tmp_path, recipe_given=given)
    assert report.recipe_source == RecipeSource.of(RECIPE, given, report.checkpoint.model)
    assert report.recipe_source.named_there == ("lambda1", "lambda2")
    assert "arXiv 2303.03323" in report.recipe_source.defaults_from
    assert load_json((tmp_path / "report.json").read_bytes()) == report
    assert not [reported for reported in report.warnings if "left out" in reported]
    assert [
        reported
        for reported in report.warnings
        if "24 clean pairs are 333 times fewer than the 8,000" in reported
    ]


def test_warnings_are_told_before_the_work_begins(inputs, tmp_path):
    events: list[ProgressEvent] = []
    with pytest.raises(Interrupted):
        sanitize(inputs, tmp_path, progress=events.append, stop=lambda: True)
    assert isinstance(events[0], Announced)
    assert events[0].level == "warning"
    assert "24 clean pairs" in events[0].message


def test_examples_show_the_same_pictures_before_and_after_and_no_state_keeps_them(done, inputs):
    out, report = done
    shown = report.examples
    assert (shown.seed, shown.image_size, shown.side) == (3, 32, 32)
    assert {one.true_class for one in shown.examples} == {"cat", "tree"}
    assert all(pair.triggered.after is not None for pair in shown.of_attack(0))
    alone = pipeline.audit(inputs / "checkpoint", inputs / "labelled", OPTIONS, out / "alone", seed=3)
    of_audit, of_cleaning = alone.examples.of_attack(0), shown.of_attack(0)
    assert len(of_audit) == 6
    for one, other in zip(of_audit, of_cleaning, strict=True):
        assert (one.index, one.clean.image) == (other.index, other.clean.image)
        assert (one.triggered.image, one.triggered.before) == (
            other.triggered.image,
            other.triggered.before,
        )
        assert one.triggered.after is None
    for kept in (path for path in (out / "state").rglob("*") if path.is_file()):
        assert not any(one.clean.image.encode() in kept.read_bytes() for one in of_cleaning)
    none = replace(OPTIONS, examples=0)
    silent = pipeline.audit(inputs / "checkpoint", inputs / "labelled", none, out / "none", seed=3)
    assert silent.examples is None
    assert silent.before == alone.before


def test_a_second_attempt_takes_up_the_audit_and_the_training_of_the_first(done, inputs):
    out, report = done
    events: list[ProgressEvent] = []
    again = sanitize(inputs, out, progress=events.append)
    assert [event.phase for event in events if isinstance(event, PhaseStarted)] == ["finetune", "final_audit"]
    assert any(isinstance(event, Noted) and "baseline audit" in event.message for event in events)
    assert (again.before, again.after, again.ca_lost) == (report.before, report.after, report.ca_lost)
    assert again.attack_changes == report.attack_changes
    (change,) = report.attack_changes
    (was,), (now,) = report.before.attacks, report.after.attacks
    assert (change.attack, change.asr_lost.n, change.pa_lost.n) == ("badnet", 12, 18)
    assert change.asr_lost.lost - change.asr_lost.gained == was.asr.successes - now.asr.successes
    assert change.pa_lost.lost - change.pa_lost.gained == was.pa.successes - now.pa.successes
    assert again.drift == report.drift
    assert again.examples == report.examples
    assert (again.drift.images.n, again.drift.classes.n) == (18, 3)
    assert again.drift.images.low > 0
    assert again.training.resumed_from_steps == (3,)


def test_each_attack_changes_as_its_own_target_and_trigger_do(inputs, tmp_path):
    options = replace(OPTIONS, attacks=(BadNetOptions(), BadNetOptions(size=0.5, target="cat")))
    report = sanitize(inputs, tmp_path, options=options)
    assert len({attack.asr.n for attack in report.before.attacks}) == 1
    for change, was, now in zip(
        report.attack_changes, report.before.attacks, report.after.attacks, strict=True
    ):
        for lost, before, after in ((change.asr_lost, was.asr, now.asr), (change.pa_lost, was.pa, now.pa)):
            assert (lost.n, lost.lost - lost.gained) == (before.n, before.successes - after.successes)


def test_a_baseline_of_other_options_or_a_damaged_one_is_not_used(inputs, tmp_path):
    state = tmp_path / "state"

    def phases(**changes) -> list[str]:
        events: list[ProgressEvent] = []

        def stop() -> bool:
            return any(isinstance(e, PhaseStarted) and e.phase == "finetune" for e in events)

        with pytest.raises(Interrupted):
            sanitize(inputs, tmp_path, progress=events.append, stop=stop, **changes)
        return [event.phase for event in events if isinstance(event, PhaseStarted)]

    assert phases() == ["baseline_audit", "finetune"]
    assert phases() == ["finetune"]
    assert phases(options=replace(OPTIONS, target="cat")) == ["baseline_audit", "finetune"]
    kept = json.loads((state / FILE_NAME).read_text())
    for damaged in ("{", json.dumps(kept | {"correct": "AAAA" * 9}), json.dumps(kept | {"triggered": []})):
        (state / FILE_NAME).write_text(damaged)
        assert phases(options=replace(OPTIONS, target="cat")) == ["baseline_audit", "finetune"]


def test_a_baseline_of_other_code_or_pixels_is_made_again_before_a_training(inputs, tmp_path, monkeypatch):
    """A job that goes on after an upgrade: its two audits would be of different triggers."""

    def phases() -> list[str]:
        events: list[ProgressEvent] = []
        sanitize(inputs, tmp_path, progress=events.append)
        return [event.phase for event in events if isinstance(event, PhaseStarted)]

    assert phases() == ["baseline_audit", "finetune", "final_audit"]
    kept = tmp_path / "state" / FILE_NAME
    other = json.loads(kept.read_text())
    other["figures"]["attacks"][0]["trigger_sha256"] = "0" * 64
    kept.write_text(json.dumps(other))
    assert phases() == ["baseline_audit", "finetune", "final_audit"]
    assert phases() == ["finetune", "final_audit"]
    was = software()
    monkeypatch.setattr("sanitizer.pipeline.work_keys.software", lambda: was | {"code_commit": "0" * 40})
    assert phases() == ["baseline_audit", "finetune", "final_audit"]


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"options": replace(OPTIONS, target="cow")}, OptionsRejected, "unknown_target"),
        ({"recipe": replace(RECIPE, batch_size=25)}, OptionsRejected, "batch_larger_than_data"),
        (
            {"recipe": replace(RECIPE, chunk_size=2, freeze_batch_norm_statistics=False)},
            OptionsRejected,
            "batch_norm_needs_whole_batch",
        ),
        (
            {"options": AuditOptions(target="dog", attacks=(CustomPatchOptions(image="AAAA"),))},
            OptionsRejected,
            "trigger_image_unreadable",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_computed(inputs, tmp_path, changes, error, code):
    events: list[ProgressEvent] = []
    with pytest.raises(error) as caught:
        sanitize(inputs, tmp_path, progress=events.append, **changes)
    assert caught.value.code == code
    assert events == []
    assert list(tmp_path.iterdir()) == []


def test_captions_that_differ_where_the_model_reads_no_more_are_equal(inputs, tmp_path):
    """The model has 16 places for a caption."""
    long = "a dog " * 20
    members = [one for n in range(4) for one in good_pair(f"{n}", n, f"{long} {n}")]
    pairs = write_tar(tmp_path / "pairs" / "x.tar", members).parent
    with pytest.raises(DatasetRejected) as refused:
        sanitize(inputs, tmp_path / "out", training=pairs)
    assert refused.value.code == "captions_all_equal"


def test_pairs_without_captions_are_refused_before_the_audit(inputs, tmp_path):
    events: list[ProgressEvent] = []
    with pytest.raises(DatasetRejected):
        pipeline.sanitize(
            inputs / "checkpoint",
            inputs / "labelled",
            inputs / "labelled",
            recipe=RECIPE,
            options=OPTIONS,
            out_dir=tmp_path,
            state_folder=tmp_path / "state",
            progress=events.append,
        )
    assert events == []


def half_precision(folder, inputs):
    """The same checkpoint in float16 with one bfloat16 tensor, as a canonical folder."""
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(inputs / "checkpoint/model.safetensors").items()
    }
    tensors["text_projection"] = tensors["text_projection"].bfloat16()
    config = json.loads((inputs / "checkpoint/config.json").read_text())
    write_canonical(folder, tensors, Architecture.from_config(config), config["checkpoint"])
    return tensors


def test_every_tensor_comes_back_in_the_dtype_that_it_came_in(inputs, tmp_path):
    came = half_precision(tmp_path / "half", inputs)
    sanitize(inputs, tmp_path / "out", checkpoint=tmp_path / "half")
    cleaned = load_file(tmp_path / "out/model.safetensors")
    assert {name: t.dtype for name, t in cleaned.items()} == {name: t.dtype for name, t in came.items()}
    assert not torch.equal(cleaned["text_projection"], came["text_projection"])


def test_a_weight_that_no_longer_fits_its_dtype_is_not_handed_out(inputs, tmp_path):
    half_precision(tmp_path / "half", inputs)
    checkpoint = load_canonical(tmp_path / "half")
    with torch.no_grad():
        checkpoint.model.visual.conv1.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(TrainingDiverged) as caught:
        write_cleaned(
            tmp_path / "out",
            checkpoint,
            tmp_path / "half",
            recipe=RECIPE,
            seed=0,
            output_layout="open_clip",
        )
    assert caught.value.code == "does_not_fit_dtype"
    assert not (tmp_path / "out").exists()


def test_cleaned_weights_are_not_lost_when_the_uploaded_layout_cannot_be_written(inputs, tmp_path):
    """Three attempts crashed after the training, each for the second form of the same weights."""
    checkpoint = load_canonical(inputs / "checkpoint")
    origin = {"name": "logit_scale", "dtype": "float32", "shape": [3, 4], "source": None, "fill": "value"}
    checkpoint.provenance["upload"] = {
        "layout": "research",
        "container": "torch_zip",
        "naming": "open_clip",
        "origins": [origin],
    }
    findings = write_cleaned(
        tmp_path, checkpoint, inputs / "checkpoint", recipe=RECIPE, seed=0, output_layout="as_uploaded"
    )
    [finding] = findings
    assert "(RuntimeError)" in finding
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert load_canonical(tmp_path).model is not None


def test_a_research_checkpoint_goes_in_and_comes_out_in_its_own_layout(inputs, tmp_path):
    tensors = load_file(inputs / "checkpoint/model.safetensors")
    upload = tmp_path / "epoch_3.pt"
    state_dict = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"epoch": 3, "state_dict": state_dict}, upload)
    declared = DeclaredOptions(num_heads_text=2, num_heads_vision=4, quick_gelu=False)
    inspection = inspect(upload, tmp_path / "in", declared=declared, filename=upload.name)
    assert inspection.layout == "research"

    report = sanitize(inputs, tmp_path / "out", checkpoint=tmp_path / "in", output_layout="as_uploaded")
    returned = torch.load(tmp_path / "out/as_uploaded.pt", weights_only=True)
    cleaned = load_file(tmp_path / "out/model.safetensors")
    assert returned["epoch"] == 3
    assert list(returned["state_dict"]) == list(state_dict)
    for name, tensor in returned["state_dict"].items():
        assert torch.equal(tensor, cleaned[name.removeprefix("module.")])
    assert report.checkpoint.layout == "research"
    assert report.checkpoint.declared == declared
    assert report.checkpoint.upload_sha256 == hashlib.sha256(upload.read_bytes()).hexdigest()


def test_an_audit_alone_leaves_a_report(inputs, tmp_path):
    report = pipeline.audit(inputs / "checkpoint", inputs / "labelled", OPTIONS, tmp_path, seed=3)
    assert load_json((tmp_path / "report.json").read_bytes()) == report
    assert report.kind == "audit"
    assert report.after is None
    assert report.recipe is None
    assert report.verdict.outcome == "inconclusive"
    assert not report.verdict.limits_below_gate


def test_a_report_says_that_its_audit_was_made_in_bf16(inputs, tmp_path):
    options = replace(OPTIONS, precision="bf16")
    alone = pipeline.audit(inputs / "checkpoint", inputs / "labelled", options, tmp_path, seed=3)
    assert (alone.audit.precision, alone.environment.precision) == ("bf16", "bf16")
    assert any("bf16" in warning for warning in alone.warnings)
    cleaned = sanitize(inputs, tmp_path / "cleaned", options=options)
    assert (cleaned.audit.precision, cleaned.environment.precision) == ("bf16", "fp32"), "training's own"
    assert any("bf16" in warning for warning in cleaned.warnings)


def test_an_audit_is_held_to_limits_that_were_given_below_the_gate_too(inputs, tmp_path):
    policy = Policy(asr_at_most=0.9)
    report = pipeline.audit(
        inputs / "checkpoint", inputs / "labelled", OPTIONS, tmp_path, policy=policy, seed=3
    )
    assert report.verdict.limits_below_gate


def test_a_customers_own_trigger_is_audited_and_repeated_whole(inputs, tmp_path):
    patch = CustomPatchOptions(image=picture(6, 6, mode="RGBA"), placement="bottom_right", size=0.3)
    options = AuditOptions(target="dog", attacks=(patch, BadNetOptions()))
    report = pipeline.audit(inputs / "checkpoint", inputs / "labelled", options, tmp_path, seed=3)
    written = (tmp_path / "report.json").read_bytes()
    read = load_json(written)
    assert read == report
    assert read.audit.attacks[0] == patch
    assert [attack.name for attack in read.before.attacks] == ["custom_patch", "badnet"]
    assert read.before.attacks[0].options["image"] == patch.image
    assert read.before.attacks[0].trigger_sha256 == trigger_sha256(patch, 3)
    assert list(evidence_figures.check(evidence_report.parse(written))) == []


def test_a_validation_leaves_a_summary(inputs, tmp_path):
    summary = validate(inputs / "labelled", "labelled", tmp_path, max_skipped_share=0.01)
    assert summary.class_names == ("cat", "dog", "tree")
    assert json.loads((tmp_path / "dataset.json").read_text())["num_samples"] == 18
