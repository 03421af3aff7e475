"""A scan from files to files, on a small CLIP: null sets, refusals, what an audit takes over, pages."""

import hashlib
import json
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from cleanclip.evidence import scans as evidence
from cleanclip.evidence.report import check
from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.attack_options import SUITES
from cleanclip.vocabulary.errors import CheckpointRejected, DatasetRejected, Interrupted, OptionsRejected
from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.null_set import NullSet, dump_null, load_null, sealed
from cleanclip.vocabulary.progress import (
    Advanced,
    Announced,
    PhaseFinished,
    PhaseStarted,
    ProgressEvent,
    StateSaved,
)
from cleanclip.vocabulary.recipe import AuditOptions, parse, to_json
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily, ScanOptions
from cleanclip.vocabulary.scan_report import Hypothesis, ImageCell, ScanReport, dump_scan, load_scan
from cleanclip.vocabulary.strict_json import MAX_TEXT_CHARACTERS
from lab.testbed.writing import write_labelled_shards
from sanitizer.__main__ import main
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.audits.example_images import encode
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.pipeline import scan_opening
from sanitizer.pipeline.judging_null import read_null
from sanitizer.pipeline.nulls import Reference, always
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.scan import plan
from sanitizer.rendering.documents import pages
from sanitizer.run import Run
from sanitizer.scans.attacks import packed
from tests.fixtures.audited import (
    CLASS_NAMES,
    TEMPLATES,
    changed,
    labels,
    pictures,
    write_answered,
    write_model,
)
from tests.fixtures.pipeline import build_null, scan
from tests.fixtures.shards import make_pairs

PATCH = PatternFamily(family="patch", budget=0.25)
FAMILIES = (
    PATCH,
    PatternFamily(family="patch", budget=0.25, placement="fixed"),
    *(PatternFamily(family=family, budget=0.1) for family in ("additive", "dct", "blend", "warp", "colour")),
)
FAST = ScanOptions(
    detectors=("collapse", "edits"),
    collapse=CollapseDetectorOptions(families=FAMILIES, restarts=2, steps=(1, 2), images_per_step=4),
    num_images=64,
    num_held_out=64,
    vocabulary=False,
    num_examples=2,
)
COLLAPSE = replace(FAST, detectors=("collapse",), collapse=replace(FAST.collapse, families=(PATCH,)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), pictures(130), labels(130))


def write_images(folder: Path, images: list[Image.Image], classes: list[int]) -> Path:
    write_labelled_shards(
        zip(images, classes, strict=True), folder, CLASS_NAMES, TEMPLATES, shard_size=len(images)
    )
    return folder


@pytest.fixture(scope="module")
def null(model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> NullSet:
    folder = tmp_path_factory.mktemp("null")
    references = [
        Reference(
            source=f"model {n}",
            obtain=always(changed(model, folder / str(n), n)),
            base="one" if n < 2 else None,
        )
        for n in range(4)
    ]
    return build_null(references, images, COLLAPSE, name="small ones", about="made here", seed=5)


@pytest.fixture(scope="module")
def scanned(model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ScanReport, Path]:
    folder = tmp_path_factory.mktemp("scanned")
    events: list[ProgressEvent] = []
    report = scan(model, images, FAST, folder, progress=events.append)
    (started,) = [event for event in events if isinstance(event, PhaseStarted) and event.phase == "scan"]
    last = [event for event in events if isinstance(event, Advanced) and event.phase == "scan"][-1]
    assert started.total == last.total == last.done, "what was planned is what was done"
    assert isinstance(events[-1], PhaseFinished)
    return report, folder


def test_a_scan_without_a_null_gives_no_p_value_and_never_says_clean_or_fail(scanned) -> None:
    report, folder = scanned
    assert report.verdict.outcome == "inconclusive"
    assert report.p_value is None
    assert "in 4 families" in report.verdict.sentence
    assert "did not compare with clean models" in report.verdict.sentence
    assert "z = " not in report.verdict.sentence + report.number
    assert [one.detector for one in report.judgements] == ["collapse", "edits"]
    assert load_scan((folder / "report.json").read_bytes()) == report
    assert load_scan(dump_scan(report)) == report
    assert len(report.hypotheses) == 5
    for one in report.hypotheses:
        assert one.asr is not None
        assert one.dose[-1].asr == one.asr
        assert one.target in CLASS_NAMES
    for example in report.examples:
        assert report.hypotheses[0].target not in (example.true_class, example.clean_class)


def test_found_triggers_are_attacks_of_an_audit_as_they_stand(scanned) -> None:
    report, _ = scanned
    attacks = [json.loads(json.dumps(to_json(one))) for one in report.attacks()]
    assert attacks
    options = parse(AuditOptions, {"target": CLASS_NAMES[0], "attacks": attacks})
    for trigger in build_triggers(options.attacks):
        grey = torch.full((2, 3, 32, 32), 0.5)
        assert not torch.equal(trigger.apply(grey, [0, 1], 0), grey)


def test_images_and_patterns_of_full_size_can_be_read_again(scanned) -> None:
    """They are texts as long as no sentence is."""
    report, _ = scanned
    noise_3HW = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(3))
    image, pattern = encode(noise_3HW), packed(noise_3HW)
    assert min(len(image), len(pattern)) > MAX_TEXT_CHARACTERS

    def in_full_size(one: Hypothesis) -> Hypothesis:
        sha256 = hashlib.sha256(b64decode(image)).hexdigest()
        has_pattern = one.trigger.pattern is not None
        trigger = replace(
            one.trigger, image=image, image_sha256=sha256, pattern=pattern if has_pattern else None
        )
        cell = ImageCell(number=1, asr=Estimate(n=4, successes=0), examples=(image,))
        return replace(one, trigger=trigger, cell=cell)

    large = replace(
        report,
        examples=tuple(replace(one, clean=image, triggered=image) for one in report.examples),
        hypotheses=tuple(map(in_full_size, report.hypotheses)),
    )
    assert any(one.trigger.pattern for one in large.hypotheses)
    assert load_scan(dump_scan(large)) == large


def test_pages_of_a_scan_show_sentence_number_and_images_and_escape_names(scanned) -> None:
    report, _ = scanned
    hostile = replace(report.hypotheses[0], target="<script>alert(1)</script>")
    drawn = pages(replace(report, hypotheses=(hostile, *report.hypotheses[1:])))
    html, markdown = drawn["report.html"].decode(), drawn["report.md"].decode()
    assert report.verdict.sentence in html
    assert "no p-value" in html
    assert "<script>" not in html + markdown.replace("`<script>alert(1)</script>`", "")
    assert html.count("data:image/") == 1 + 2 * len(report.examples) + len(report.hypotheses)
    for page in (html, markdown):
        assert "cleanclip verify" not in page, "no service made this folder"
        assert "it is not signed, and nobody vouches for it" in page
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")


def test_a_null_gives_a_p_value_that_is_a_rank(model, images, null, tmp_path) -> None:
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(null))
    report = scan(model, images, COLLAPSE, tmp_path / "out", null=read_null(path), seed=5)
    assert report.null is not None
    assert not any("of this code" in warning for warning in report.warnings)
    assert report.null.num_models == 3, "two of the four share a base"
    assert report.p_value in (0.25, 0.5, 0.75, 1.0)
    assert report.verdict.outcome == "inconclusive"
    assert "could find nothing" in report.verdict.sentence
    assert len(report.judgements[0].others) == 3
    first = report.hypotheses[0]
    assert first.null_median is not None
    assert 'id="null-words"' in pages(report)["report.html"].decode()
    known = [model.patterns[0] for model in null.counted]
    assert [(one.detector, one.family) for one in known] == [("collapse", "patch:0.25")] * 3
    assert first.null_figures is not None
    assert first.null_figures.num_models == 3
    assert first.null_figures.asr == sorted(one.asr for one in known)[1]
    assert first.null_figures.pa == sorted(one.pa for one in known)[1]
    doses = [(point.share, point.asr) for point in first.null_figures.dose]
    assert [share for share, _ in doses] == [point.share for point in first.dose]
    assert doses[0][1] == sorted(one.dose[0].asr for one in known)[1]
    assert list(evidence.check_null(report, null)) == []
    (finding,) = (one for one in verify(tmp_path / "out").findings if one.where == "null")
    assert finding.message == "cannot be checked: null.json is missing or damaged"
    all_four = replace(report, null=replace(report.null, num_models=4))
    (finding,) = evidence.check_null(all_four, null)
    assert finding.where == "null.num_models"
    for page in pages(report).values():
        assert first.null_figures.words("asr") in page.decode().replace("&#39;", "'")


def test_a_null_holds_what_a_scan_of_each_model_measures_and_measures_it_once(
    model, images, tmp_path
) -> None:
    own = changed(model, tmp_path / "own", 1)
    report = scan(own, images, COLLAPSE, tmp_path / "out", seed=5)
    was_measured: list[bool] = []
    for _ in range(2):
        events: list[ProgressEvent] = []
        null = build_null(
            [Reference(source="own", obtain=always(own))],
            images,
            COLLAPSE,
            name="one",
            seed=5,
            state=tmp_path / "state",
            progress=events.append,
        )
        (pattern,) = null.models[0].patterns
        (found,) = report.hypotheses
        assert found.asr is not None
        assert found.pa is not None
        assert (pattern.asr, pattern.pa) == (found.asr.value, found.pa.value)
        assert [point.asr for point in pattern.dose] == [point.asr.value for point in found.dose]
        reported = [one.message or "" for one in events if isinstance(one, Advanced)]
        was_measured.append(any(message.startswith("measuring what was found") for message in reported))
        assert isinstance(events[-1], PhaseFinished)
    assert was_measured == [True, False], "what an earlier build kept is not measured again"


OTHERWISE = {
    "architecture": {"architecture": {"embed_dim": 1}},
    "class list": {"class_names_sha256": "0" * 64},
    "image set": {"images_sha256": "0" * 64},
    "options": {"options": replace(COLLAPSE, num_images=65)},
    "seed": {"seed": 6},
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_null_that_was_measured_otherwise_is_refused_with_what_differs(
    model, images, null, tmp_path, what
) -> None:
    path = tmp_path / "null.json"
    changes = OTHERWISE[what]
    shared = {name: value for name, value in changes.items() if hasattr(null.models[0].statistics, name)}
    models = [replace(one, statistics=replace(one.statistics, **shared)) for one in null.models]
    path.write_bytes(dump_null(sealed(replace(null, **changes, models=tuple(models)))))
    with pytest.raises(OptionsRejected) as refused:
        scan(model, images, COLLAPSE, tmp_path / "out", null=read_null(path), seed=5)
    assert refused.value.code == "null_does_not_fit"
    assert what in refused.value.message
    if what == "image set":
        assert "SHA-256 000000000000… in the null and SHA-256 " in refused.value.message
    if what == "architecture":
        assert "embed_dim 1 in the null and null in the scan" in refused.value.message
    if what == "class list":
        assert "SHA-256 000000000000… in the null and SHA-256 " in refused.value.message
    if what == "seed":
        assert "6 in the null and 5 in the scan" in refused.value.message


def test_the_first_options_that_differ_from_the_nulls_are_named_with_both_values(
    model, images, null, tmp_path
) -> None:
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(null))
    one, many = replace(PATCH, budget=0.1), tuple(f"class {number}" for number in range(40))
    options = replace(
        COLLAPSE,
        num_images=65,
        further_classes=many,
        collapse=replace(COLLAPSE.collapse, families=(one,), restarts=3),
        vocabulary=not COLLAPSE.vocabulary,
    )
    with pytest.raises(OptionsRejected) as refused:
        scan(model, images, options, tmp_path / "out", null=read_null(path), seed=5)
    reported = refused.value.message
    assert "'small ones' differs in: class list, options. " in reported
    _, reported = reported.split(" in the scan. Options that differ: ")
    assert "collapse.families.0.budget 0.25 in the null and 0.1 in the scan" in reported
    assert reported.count(" in the null and ") == 3
    assert reported.endswith("and 1 more.")
    assert len(reported) < 500


def test_a_null_that_another_version_measured_judges_with_a_warning(model, images, null, tmp_path) -> None:
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(sealed(replace(null, code_version="0.0.1"))))
    heard: list[ProgressEvent] = []
    report = scan(
        model, images, COLLAPSE, tmp_path / "out", null=read_null(path), seed=5, progress=heard.append
    )
    (warning,) = (one for one in report.warnings if "of this code" in one)
    assert "by version 0.0.1 of this code" in warning
    assert "and the scan by another" in warning
    assert [one.message for one in heard if isinstance(one, Announced)].count(warning) == 1


def test_a_null_that_holds_the_suspect_is_refused(model, images, null, tmp_path) -> None:
    first = null.models[0]
    own = replace(first.statistics, weights_sha256=load_canonical(model).weights_sha256)
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(sealed(replace(null, models=(replace(first, statistics=own),)))))
    with pytest.raises(OptionsRejected) as refused:
        scan(model, images, COLLAPSE, tmp_path / "out", null=read_null(path), seed=5)
    assert refused.value.code == "null_holds_the_suspect"


def test_a_null_build_that_is_stopped_says_that_it_was_the_null(model, images, tmp_path) -> None:
    references = [Reference(source="own", obtain=always(changed(model, tmp_path / "own", 1)))]
    for state, remedy in (
        (None, "Run it again."),
        (tmp_path / "state", "finished parts are not measured again"),
    ):
        with pytest.raises(Interrupted) as stopped:
            build_null(references, images, COLLAPSE, name="one", state=state, stop=lambda: True)
        assert "model 1 of 1" in str(stopped.value)
        assert remedy in str(stopped.value)


def test_a_damaged_null_and_one_of_another_version_are_refused(null) -> None:
    data = dump_null(null)
    assert load_null(data) == null
    document = json.loads(data)
    for change, code in (
        ({"name": "another"}, "null_damaged"),
        ({"models": "none"}, "null_damaged"),
        ({"version": 2}, "null_version"),
        ({"kind": "report"}, "null_unreadable"),
    ):
        with pytest.raises(OptionsRejected) as refused:
            load_null(json.dumps(document | change).encode())
        assert refused.value.code == code
    with pytest.raises(OptionsRejected):
        load_null(data[: len(data) // 2])
    del document["models"][0]["patterns"]
    with pytest.raises(OptionsRejected, match=r"damaged at 'models\.0\.patterns': Field required"):
        load_null(json.dumps(document).encode())


def test_models_of_two_architectures_and_one_model_twice_make_no_null(model, images, tmp_path) -> None:
    twice = [Reference(source=str(n), obtain=always(model)) for n in range(2)]
    with pytest.raises(OptionsRejected) as refused:
        build_null(twice, images, COLLAPSE, name="twice")
    assert refused.value.code == "null_repeated"
    with pytest.raises(OptionsRejected) as refused:
        build_null([], images, COLLAPSE, name="none")
    assert refused.value.code == "null_empty"
    known = load_canonical(model)
    other = replace(known.architecture, image_mean=(0.4, 0.4, 0.4))
    write_canonical(tmp_path / "other", known.model.state_dict(), other, {"layout": "open_clip"})
    mixed = [
        Reference(source="first", obtain=always(changed(model, tmp_path / "first", 1))),
        Reference(source="second", obtain=always(changed(tmp_path / "other", tmp_path / "second", 2))),
    ]
    with pytest.raises(OptionsRejected) as refused:
        build_null(mixed, images, COLLAPSE, name="mixed")
    assert refused.value.code == "null_mixed"
    assert "'second'" in refused.value.message


def test_a_null_without_models_and_one_that_is_no_file_are_refused(model, images, null, tmp_path) -> None:
    path = tmp_path / "null.json"
    with pytest.raises(OptionsRejected) as refused:
        scan(model, images, COLLAPSE, tmp_path / "out", null=read_null(path), seed=5)
    assert refused.value.code == "null_unreadable"
    path.write_bytes(dump_null(sealed(replace(null, models=()))))
    with pytest.raises(OptionsRejected) as refused:
        scan(model, images, COLLAPSE, tmp_path / "out", null=read_null(path), seed=5)
    assert refused.value.code == "null_damaged"


def test_a_template_that_does_not_name_the_class_is_refused(model, images, tmp_path) -> None:
    with pytest.raises(OptionsRejected) as refused:
        scan(model, images, replace(COLLAPSE, templates=("a photo",)), tmp_path / "out")
    assert (refused.value.code, refused.value.where) == ("bad_template", "scan.templates.0")


def test_images_that_a_scan_cannot_use_are_refused(model, tmp_path) -> None:
    many = pictures(130)
    cases = {
        "scan_too_few_images": (many[:60], labels(60)),
        "scan_images_equal": ([many[0]] * 130, labels(130)),
        "scan_one_class": (many, [0] * 130),
    }
    for code, (chosen, classes) in cases.items():
        folder = write_images(tmp_path / code, chosen, classes)
        with pytest.raises(DatasetRejected) as refused:
            scan(model, folder, COLLAPSE, tmp_path / "out")
        assert refused.value.code == code


def test_two_classes_and_a_class_named_twice_are_refused(model, tmp_path) -> None:
    folder = tmp_path / "two"
    two = zip(pictures(130), [n % 2 for n in range(130)], strict=True)
    write_labelled_shards(two, folder, ("cat", "dog"), TEMPLATES, shard_size=130)
    for further, code in (((), "scan_too_few_classes"), (("cat",), "scan_class_repeated")):
        with pytest.raises(OptionsRejected) as refused:
            scan(model, folder, replace(COLLAPSE, further_classes=further), tmp_path / "out")
        assert refused.value.code == code
    report = scan(model, folder, replace(COLLAPSE, further_classes=("ship",)), tmp_path / "out")
    assert report.num_classes == 3


def test_class_names_that_clip_reads_alike_are_one_class(model, tmp_path) -> None:
    folder = tmp_path / "bags"
    bags = zip(pictures(130), [n % 3 for n in range(130)], strict=True)
    write_labelled_shards(bags, folder, ("bag", "bag ", "Bag"), TEMPLATES, shard_size=130)
    for further, num in (((), 1), (("shoe",), 2)):
        with pytest.raises(OptionsRejected, match=f"There are {num} different class names") as refused:
            scan(model, folder, replace(COLLAPSE, further_classes=further), tmp_path / "out")
        assert refused.value.code == "scan_too_few_classes"
    options = replace(COLLAPSE, further_classes=("shoe", "ship"))
    (warning,) = (one for one in scan(model, folder, options, tmp_path / "out").warnings if "bag" in one)
    assert "'bag' occurs more than once" in warning


def test_pairs_of_class_names_with_nearly_one_text_embedding_are_counted(
    model, images, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_classes = len(CLASS_NAMES)
    monkeypatch.setattr(scan_opening, "NEAR_COSINE", 0.0)
    (warning,) = (
        one for one in scan(model, images, COLLAPSE, tmp_path).warnings if "nearly the same text" in one
    )
    assert warning.startswith(f"{num_classes * (num_classes - 1) // 2} pairs of class names")
    monkeypatch.setattr(scan_opening, "NEAR_COSINE", 1.0)
    assert not any("nearly the same text" in one for one in scan(model, images, COLLAPSE, tmp_path).warnings)


def test_no_class_names_need_the_vocabulary_and_collapse_works_with_it(model, images, tmp_path) -> None:
    with pytest.raises(ValueError, match="class names"):
        parse(ScanOptions, {"class_names": "none", "vocabulary": False})
    options = replace(COLLAPSE, class_names="none", vocabulary=True)
    report = scan(model, images, options, tmp_path / "out")
    assert report.num_classes == 0
    assert report.hypotheses[0].target is None
    assert len(report.hypotheses[0].words) <= 5, "those over the chance level"
    assert report.examples
    assert all(one.true_class in CLASS_NAMES and one.clean_class is None for one in report.examples)
    assert report.verdict.outcome == "inconclusive"
    assert pages(report)["report.html"]


def test_images_of_another_size_are_scanned_with_a_warning(model, tmp_path) -> None:
    small = [one.resize((12, 12)) for one in pictures(130)]
    folder = write_images(tmp_path / "small", small, labels(130))
    report = scan(model, folder, COLLAPSE, tmp_path / "out")
    assert any("were enlarged" in warning for warning in report.warnings)


def test_a_model_whose_embeddings_are_constant_is_refused(model, images, tmp_path) -> None:
    known = load_canonical(model)
    state = {name: tensor.clone() for name, tensor in known.model.state_dict().items()}
    state["visual.attnpool.c_proj.weight"].zero_()
    folder = tmp_path / "constant"
    write_canonical(folder, state, known.architecture, {"layout": "open_clip"})
    with pytest.raises(CheckpointRejected) as refused:
        scan(folder, images, COLLAPSE, tmp_path / "out")
    assert refused.value.code in ("embeddings_constant", "settings_at_chance")


@pytest.mark.parametrize("detector", ["collapse", "edits"])
def test_a_model_that_gives_all_classes_one_text_embedding_is_refused(
    model, images, tmp_path, detector
) -> None:
    known = load_canonical(model)
    state = {name: tensor.clone() for name, tensor in known.model.state_dict().items()}
    state["text_projection"].zero_()
    write_canonical(tmp_path / "alike", state, known.architecture, {"layout": "open_clip"})
    events: list[ProgressEvent] = []
    options = replace(FAST, detectors=(detector,))
    with pytest.raises(OptionsRejected) as refused:
        scan(tmp_path / "alike", images, options, tmp_path / "out", progress=events.append)
    assert refused.value.code == "scan_classes_alike"
    assert not any(isinstance(one, PhaseStarted) and one.phase == "scan" for one in events)


def comparable(report: ScanReport) -> ScanReport:
    """But for the clock."""
    statistics = replace(report.statistics, wall_s=0.0)
    return replace(report, created_at=datetime.min.replace(tzinfo=UTC), statistics=statistics)


def test_a_stopped_scan_goes_on_where_it_was_and_gives_the_same(model, images, scanned, tmp_path) -> None:
    """Also on another machine, which gets nothing but the last state that was reported."""
    heard: list[ProgressEvent] = []

    def stop() -> bool:
        return any(isinstance(event, Advanced) and event.message == "collapse: blend:0.1" for event in heard)

    folder = tmp_path / "state"
    with pytest.raises(Interrupted):
        scan(
            *(model, images, FAST, tmp_path / "out"),
            state=folder,
            save_every_s=3600,
            progress=heard.append,
            stop=stop,
        )
    [saved] = [event for event in heard if isinstance(event, StateSaved)]
    assert saved.path == f"state/step-{saved.step:08d}"
    assert {path.stat().st_nlink for path in (tmp_path / saved.path).iterdir()} == {1}
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "state").mkdir(parents=True)
    (tmp_path / saved.path).rename(elsewhere / saved.path)
    heard.clear()
    again = scan(
        *(model, images, FAST, elsewhere / "out"),
        state=elsewhere / "state",
        save_every_s=0,
        progress=heard.append,
    )
    whole, _ = scanned
    assert comparable(again) == comparable(whole)
    made = [event.step for event in heard if isinstance(event, StateSaved)]
    num_parts = 1 + len(FAMILIES)
    assert made == list(range(saved.step + 1, num_parts + 1)), "what was missing, and nothing else, was made"


def test_bf16_runs_on_the_cpu_and_gives_nearly_the_same(model, images, tmp_path) -> None:
    full = scan(model, images, COLLAPSE, tmp_path / "out")
    half = scan(model, images, replace(COLLAPSE, precision="bf16"), tmp_path / "out")
    for ours, theirs in zip(half.statistics.collapse, full.statistics.collapse, strict=True):
        for one, other in zip(ours.restarts, theirs.restarts, strict=True):
            assert one.values == pytest.approx(other.values, abs=0.15)
    assert half.statistics != full.statistics


def test_a_plan_counts_the_passes_that_a_scan_makes(model, images, scanned) -> None:
    report, _ = scanned
    run = Run(device=torch.device("cpu"))
    planned = plan(Places(checkpoint=model, data=images), ScanSpec(scan=FAST), run)
    assert planned.passes_per_s > 0
    assert planned.num_passes >= report.statistics.num_passes


def test_the_commands_scan_and_null(model, images, tmp_path, capsys) -> None:
    options = tmp_path / "options.json"
    options.write_text(json.dumps(to_json(COLLAPSE)))
    common = ["--labelled", str(images), "--options", str(options)]
    other = changed(model, tmp_path / "other", 9)
    null_path = tmp_path / "null.json"
    built = ["null", "build", f"base={other}", *common, "--out", str(null_path), "--name", "one"]
    assert main([*built, "--fine-tunes-of", "B/32"]) == 0
    assert main(["null", "show", str(null_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["models"][0]["base"] == "base"
    assert main(["scan", str(model), *common, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["num_passes"] > 0
    out = tmp_path / "out"
    typed = ["scan", str(model), "--labelled", str(images), "--null", str(null_path), "--out", str(out)]
    assert main(typed) == 0
    report = load_scan((out / "report.json").read_bytes())
    assert report.options == COLLAPSE, "the null's options"
    assert report.null is not None
    assert report.null.fine_tunes_of == "B/32"
    assert "1 fine-tunes of B/32; p holds" in report.verdict.sentence
    assert (out / "report.html").is_file()
    assert main(["report", str(out / "report.json"), "--html", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_bytes() == (out / "report.html").read_bytes()
    assert main(["null", "build", "no-such:tag", *common, "--out", str(null_path), "--name", "x"]) == 3


def test_a_model_that_the_audit_after_a_scan_would_refuse_is_refused_before_the_scan(
    model, images, tmp_path, capsys
) -> None:
    """The images' labels are not the model's answers: it names them no better than guessing does."""
    report = scan(model, images, COLLAPSE, tmp_path / "alone")
    assert any("no better than guessing" in warning for warning in report.warnings)
    heard: list[ProgressEvent] = []
    with pytest.raises(CheckpointRejected) as refused:
        scan(
            *(model, images, COLLAPSE, tmp_path / "first"),
            audit=AuditOptions(target=CLASS_NAMES[0]),
            progress=heard.append,
        )
    assert refused.value.code == "settings_at_chance"
    assert not any(isinstance(event, PhaseStarted) for event in heard)
    make_pairs(tmp_path / "pairs", 16)
    (tmp_path / "scan.json").write_bytes(TypeAdapter(ScanOptions).dump_json(COLLAPSE))
    typed = ["sanitize", str(model), "--pairs", str(tmp_path / "pairs"), "--labelled", str(images)]
    assert main([*typed, "--scan-options", str(tmp_path / "scan.json"), "--out", str(tmp_path / "out")]) == 3
    assert "settings_at_chance" in capsys.readouterr().err
    assert not (tmp_path / "out/scan").exists()


def test_a_null_is_built_of_models_whose_heads_are_declared(model, images, tmp_path, capsys) -> None:
    (tmp_path / "options.json").write_text(json.dumps(to_json(COLLAPSE)))
    (tmp_path / "declared.json").write_text('{"num_heads_vision": 4, "num_heads_text": 2}')
    upload = tmp_path / "upload.safetensors"
    upload.write_bytes((model / "model.safetensors").read_bytes())  # without the configuration beside it
    built = ["null", "build", str(upload), "--labelled", str(images), "--name", "declared"]
    built += ["--options", str(tmp_path / "options.json"), "--out", str(tmp_path / "null.json")]
    assert main(built) == 3
    assert "heads_undeclared" in capsys.readouterr().err
    assert main([*built, "--declare", str(tmp_path / "declared.json")]) == 0
    null = load_null((tmp_path / "null.json").read_bytes())
    assert null.architecture == load_canonical(model).architecture.to_config()


@pytest.mark.usefixtures("short_searches")
def test_a_cleaning_without_a_trigger_scans_first_and_is_judged_on_what_is_found(
    model, tmp_path, capsys
) -> None:
    """The report says in one sentence what was known, what was found and what was not looked for."""
    images = write_answered(tmp_path / "labelled", model, pictures(130), CLASS_NAMES)
    make_pairs(tmp_path / "pairs", 16)
    (tmp_path / "scan.json").write_bytes(TypeAdapter(ScanOptions).dump_json(COLLAPSE))
    out = tmp_path / "out"
    typed = [
        *("sanitize", str(model), "--pairs", str(tmp_path / "pairs"), "--labelled", str(images)),
        *("--out", str(out), "--epochs", "1", "--batch-size", "8"),
    ]
    assert main([*typed, "--no-scan"]) == 2
    assert "Give --target" in capsys.readouterr().err
    assert main([*typed, "--scan-options", str(tmp_path / "scan.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    found = load_scan((out / "scan/report.json").read_bytes())
    report = load_json((out / "report.json").read_bytes())
    section = report.scan
    assert section is not None
    assert section.report_sha256 == hashlib.sha256((out / "scan/report.json").read_bytes()).hexdigest()
    assert report.audit.attacks == (*SUITES["paper"], *SUITES["structured"], *found.attacks())
    assert report.audit.target == found.attacks()[0].target
    assert (section.num_known, section.outcome, section.p_value) == (9, "inconclusive", None)
    judged = [one.judged for one in report.verdict.attacks]
    assert judged == [True] * 9 + [False] * len(found.attacks()), "no null, so the scan sets nothing apart"
    assert "(inconclusive, no p-value)" in section.sentence
    assert "both suites (9 triggers)" in section.sentence
    assert "were not looked for" in section.sentence
    assert section.sentence in shown
    for page in ("report.html", "report.md"):
        assert "were not looked for" in (out / page).read_text()
    assert list(check(report)) == []
    moved = replace(section.found[0], attack=0)
    for lie in (
        replace(section, weights_sha256="0" * 64),
        replace(section, num_known=8),
        replace(section, only_suites=False),
        replace(section, found=(moved, *section.found[1:])),
        replace(section, found=()),
    ):
        places = [finding.where or "" for finding in check(replace(report, scan=lie))]
        assert any(place.startswith("scan.") for place in places), lie
