"""A scan with an anchor, from files to files: what is refused, what a null is bound to, pages."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cleanclip.evidence import scans as evidence
from cleanclip.vocabulary.attack_options import CustomPatternOptions, TextTriggerOptions
from cleanclip.vocabulary.errors import CheckpointRejected, OptionsRejected
from cleanclip.vocabulary.found_attacks import section_of
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.null_set import NullSet, dump_null
from cleanclip.vocabulary.recipe import AuditOptions, parse, to_json
from cleanclip.vocabulary.scan_cost import NUM_EDITS
from cleanclip.vocabulary.scan_options import ResidualDetectorOptions, ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport, load_scan
from sanitizer.__main__ import main
from sanitizer.checkpoints.model import build_clip, load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.pipeline.judging_null import read_null
from sanitizer.pipeline.nulls import Reference, always
from sanitizer.rendering.documents import pages
from tests.fixtures.audited import ARCHITECTURE, CLASS_NAMES, changed, labels, pictures, write_model
from tests.fixtures.pipeline import build_null, scan
from tests.numerics.test_scan import FAST, write_images

OPTIONS = replace(
    FAST,
    detectors=("residual",),
    residual=ResidualDetectorOptions(cells=3, min_cell_images=4, held_out_images=64),
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """suspect, anchor (another seed and image size) and images."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "suspect").mkdir()
    write_model(folder / "suspect")
    write_images(folder / "images", pictures(130), labels(130))
    vision = replace(ARCHITECTURE.vision, image_size=40)
    architecture = replace(ARCHITECTURE, vision=vision, embed_dim=20)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        model = build_clip(architecture)
    write_canonical(folder / "anchor", model.state_dict(), architecture, {"layout": "open_clip"})
    return folder


@pytest.fixture(scope="module")
def scanned(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> ScanReport:
    folder = tmp_path_factory.mktemp("scanned")
    scan_once(inputs, folder)
    return load_scan((folder / "report.json").read_bytes())


def scan_once(inputs: Path, out: Path, null: NullSet | None = None) -> ScanReport:
    """What was measured before is in its state."""
    places, state = (inputs / "suspect", inputs / "images"), inputs / "state"
    return scan(*places, OPTIONS, out, null=null, anchor=inputs / "anchor", state=state)


def test_an_anchor_of_another_size_gives_its_figures(scanned: ScanReport) -> None:
    statistics = scanned.statistics
    assert scanned.anchor is not None
    assert statistics.anchor_sha256 == scanned.anchor.weights_sha256
    assert statistics.residual is not None
    assert len(statistics.residual.edits) == 1 + NUM_EDITS
    assert [(one.detector, one.among) for one in scanned.judgements] == [("residual", "edits")]
    assert list(evidence.check(scanned)) == []


def test_an_edit_becomes_a_hypothesis_with_figures_and_an_attack_where_one_does_the_same(
    scanned: ScanReport,
) -> None:
    assert len(scanned.hypotheses) == 5, "the best edit of each kind, at most five"
    assert len({one.trigger.family.edit for one in scanned.hypotheses}) == 5
    for one in scanned.hypotheses:
        edit = one.trigger.family
        assert isinstance(edit, Edit)
        assert one.target in CLASS_NAMES
        assert one.asr is not None
        assert one.pa is not None
        wanted = {"tint": CustomPatternOptions, "frame": CustomPatternOptions, "word": TextTriggerOptions}
        assert isinstance(one.attack, wanted.get(edit.edit, type(None)))
        if one.cell is not None:
            assert one.cell.asr.n < one.asr.n
            assert one.cell.examples


def test_edits_that_are_attacks_go_into_an_audit_with_what_is_said_of_the_scan(scanned: ScanReport) -> None:
    attacks = scanned.attacks()
    assert attacks
    parse(AuditOptions, {"target": CLASS_NAMES[0], "attacks": [to_json(one) for one in attacks]})
    section = section_of(scanned, report_sha256="0" * 64, attacks=attacks, num_known=0)
    assert section.families == ("edits",)
    assert sorted(one.attack for one in section.found if one.attack is not None) == list(range(len(attacks)))


def test_pages_show_edits_and_the_anchor(scanned: ScanReport) -> None:
    drawn = pages(scanned)
    html, markdown = drawn["report.html"].decode(), drawn["report.md"].decode()
    assert scanned.anchor is not None
    assert scanned.anchor.weights_sha256 in html
    assert scanned.hypotheses[0].trigger.family.name in html
    assert scanned.hypotheses[0].trigger.family.name in markdown
    assert "like an edit of its bank" in html


def test_evidence_notices_figures_of_another_anchor(scanned: ScanReport) -> None:
    reported = scanned.statistics
    for changed_report in (
        replace(scanned, statistics=replace(reported, anchor_sha256="0" * 64)),
        replace(scanned, anchor=None),
        replace(scanned, statistics=replace(reported, residual=None)),
    ):
        assert list(evidence.check(changed_report))


def test_a_null_is_bound_to_its_anchor(inputs: Path, scanned: ScanReport, tmp_path: Path) -> None:
    reference = Reference(source="0", obtain=always(changed(inputs / "suspect", tmp_path / "0", 0)))
    null = build_null([reference], inputs / "images", OPTIONS, name="one", anchor=inputs / "anchor")
    assert null.anchor_sha256 == load_canonical(inputs / "anchor").weights_sha256
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(null))
    report = scan_once(inputs, tmp_path / "out", read_null(path))
    assert report.p_value in (1 / 2, 1)
    assert list(evidence.check_null(report, null)) == []
    moved = replace(report, statistics=replace(report.statistics, anchor_sha256="0"))
    assert list(evidence.check_null(moved, null))
    other = changed(inputs / "suspect", tmp_path / "other", 5)
    for options, differs in (
        (OPTIONS, "differs in: anchor."),
        (replace(OPTIONS, detectors=("residual", "collapse")), "options, anchor"),
    ):
        refused = refused_with(inputs, other, options, null=read_null(path))
        assert refused.code == "null_does_not_fit"
        assert differs in refused.message


def refused_with(
    inputs: Path, anchor: Path | None, options: ScanOptions = OPTIONS, *, null: NullSet | None = None
) -> OptionsRejected:
    with pytest.raises(OptionsRejected) as refused:
        scan(inputs / "suspect", inputs / "images", options, inputs / "out", null=null, anchor=anchor)
    assert refused.value.message.endswith(".")
    assert refused.value.remedy.endswith(".")
    return refused.value


def test_a_model_that_cannot_be_an_anchor_is_refused(inputs: Path, tmp_path: Path) -> None:
    assert refused_with(inputs, inputs / "suspect").code == "anchor_is_the_suspect"
    small = replace(ARCHITECTURE, text=replace(ARCHITECTURE.text, vocab_size=600))
    write_canonical(tmp_path / "words", build_clip(small).state_dict(), small, {"layout": "open_clip"})
    assert refused_with(inputs, tmp_path / "words").code == "anchor_tokenizer"


def test_a_detector_and_its_anchor_come_together(inputs: Path) -> None:
    assert refused_with(inputs, None).code == "scan_anchor_missing"
    collapse = replace(OPTIONS, detectors=("collapse",))
    assert refused_with(inputs, inputs / "anchor", collapse).code == "scan_anchor_unused"


@pytest.mark.parametrize(("name", "value"), [("weight", 0.0), ("bias", 3e38)])
def test_an_anchor_that_tells_no_image_from_another_is_refused(inputs, tmp_path, name, value) -> None:
    known = load_canonical(inputs / "anchor")
    state = {name: tensor.clone() for name, tensor in known.model.state_dict().items()}
    state[f"visual.attnpool.c_proj.{name}"].fill_(value)
    write_canonical(tmp_path / "anchor", state, known.architecture, {"layout": "open_clip"})
    anchor = tmp_path / "anchor"
    with pytest.raises(CheckpointRejected) as refused:
        scan(inputs / "suspect", inputs / "images", OPTIONS, tmp_path / "out", anchor=anchor)
    assert refused.value.code == "embeddings_constant"
    assert "The anchor" in refused.value.message


def test_the_command_adds_the_detector_that_an_anchor_is_for(inputs, tmp_path, capsys) -> None:
    typed = ["--labelled", str(inputs / "images"), "--anchor", str(inputs / "anchor")]
    options = tmp_path / "options.json"
    values = to_json(OPTIONS)
    options.write_text(json.dumps({name: values[name] for name in values if name != "detectors"}))
    plan = ["scan", str(inputs / "suspect"), *typed, "--dry-run", "--json", "--options", str(options)]
    assert main(plan) == 0
    with_anchor = json.loads(capsys.readouterr().out.splitlines()[-1])["num_passes"]
    options.write_text(json.dumps(values | {"detectors": ["collapse"]}))
    assert main(plan) == 3, "the options name the detectors, and none uses the anchor"
    options.write_text(json.dumps(values | {"detectors": ["residual"]}))
    assert main(plan) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["num_passes"] < with_anchor
