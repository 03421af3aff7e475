"""A scan with an anchor and a base, from files to files: what is refused, what a null is bound to, pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cleanclip.evidence import scans as evidence
from cleanclip.spec.attack_options import CustomPatternOptions, TextTriggerOptions
from cleanclip.spec.errors import CheckpointRejected, OptionsRejected
from cleanclip.spec.found_attacks import section_of
from cleanclip.spec.image_edits import Edit
from cleanclip.spec.null_set import NullSet, dump_null
from cleanclip.spec.recipe import AuditOptions, parse, to_json
from cleanclip.spec.scan_cost import NUM_EDITS
from cleanclip.spec.scan_options import ResidualDetectorOptions, ScanOptions
from cleanclip.spec.scan_report import ScanReport, load_scan
from sanitizer.__main__ import main
from sanitizer.checkpoints.building import build_clip
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.pipeline.nulls import Reference, build_null
from sanitizer.pipeline.scan import scan
from sanitizer.pipeline.trusted_models import TrustedModels
from sanitizer.rendering.documents import pages
from tests.fixtures.audited import ARCHITECTURE, CLASS_NAMES, changed, labels, pictures, write_model
from tests.numerics.test_scan import FAST, write_images

BOTH = replace(
    FAST,
    detectors=("residual", "lineage"),
    residual=ResidualDetectorOptions(cells=3, min_cell_images=4, held_out_images=64),
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """suspect, anchor (another seed and image size), base (near the suspect) and images."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "suspect").mkdir()
    write_model(folder / "suspect")
    write_images(folder / "images", pictures(130), labels(130))
    changed(folder / "suspect", folder / "base", 77)
    vision = replace(ARCHITECTURE.vision, image_size=64)
    architecture = replace(ARCHITECTURE, vision=vision, embed_dim=20)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        model = build_clip(architecture)
    write_canonical(folder / "anchor", model.state_dict(), architecture, {"layout": "open_clip"})
    return folder


def trusted(inputs: Path) -> TrustedModels:
    return TrustedModels(anchor=inputs / "anchor", base=inputs / "base")


@pytest.fixture(scope="module")
def scanned(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> ScanReport:
    folder = tmp_path_factory.mktemp("scanned")
    scan(inputs / "suspect", inputs / "images", BOTH, folder, trusted=trusted(inputs))
    return load_scan((folder / "report.json").read_bytes())


def test_an_anchor_of_another_size_and_a_base_give_their_figures(inputs: Path, scanned: ScanReport) -> None:
    told = scanned.statistics
    assert scanned.anchor is not None
    assert scanned.base is not None
    assert told.anchor_sha256 == scanned.anchor.weights_sha256
    assert told.base_sha256 == scanned.base.weights_sha256
    assert told.residual is not None
    assert len(told.residual.edits) == 1 + NUM_EDITS
    assert told.lineage is not None
    assert [one.factor for one in told.lineage.factors] == [1.0, 1.5, 2.0, 3.0]
    assert [(one.detector, one.among) for one in scanned.judgements] == [
        ("residual", "edits"),
        ("lineage", "models"),
    ]
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
        assert isinstance(one.trigger.attack, wanted.get(edit.edit, type(None)))
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


def test_pages_show_edits_and_both_models(scanned: ScanReport) -> None:
    drawn = pages(scanned)
    html, markdown = drawn["report.html"].decode(), drawn["report.md"].decode()
    assert scanned.anchor is not None
    assert scanned.anchor.weights_sha256 in html
    assert scanned.hypotheses[0].trigger.family.name in html
    assert scanned.hypotheses[0].trigger.family.name in markdown
    assert "the edits of its bank" in html


def test_evidence_notices_figures_of_another_anchor_or_base(scanned: ScanReport) -> None:
    told = scanned.statistics
    for changed_report in (
        replace(scanned, statistics=replace(told, anchor_sha256="0" * 64)),
        replace(scanned, base=None),
        replace(scanned, statistics=replace(told, residual=None)),
        replace(scanned, statistics=replace(told, lineage=replace(told.lineage, n=3))),  # type: ignore[type-var]
    ):
        assert list(evidence.check(changed_report))


def test_a_null_is_bound_to_its_anchor_and_its_base(inputs: Path, tmp_path: Path) -> None:
    few = replace(BOTH, detectors=("lineage",))
    references = [
        Reference(source=str(n), folder=changed(inputs / "suspect", tmp_path / str(n), n)) for n in range(2)
    ]
    base = TrustedModels(base=inputs / "base")
    null: NullSet = build_null(references, inputs / "images", few, name="two", trusted=base)
    assert null.base_sha256 == load_canonical(inputs / "base").weights_sha256
    assert null.anchor_sha256 is None
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(null))

    def scan_by(models: TrustedModels, options: ScanOptions = few) -> ScanReport:
        out = tmp_path / "out"
        return scan(inputs / "suspect", inputs / "images", options, out, null_path=path, trusted=models)

    report = scan_by(base)
    assert report.p_value in (1 / 3, 2 / 3, 1)
    assert list(evidence.check_null(report, null)) == []
    assert list(
        evidence.check_null(replace(report, statistics=replace(report.statistics, base_sha256="0")), null)
    )
    with pytest.raises(OptionsRejected) as refused:
        scan_by(TrustedModels(base=changed(inputs / "suspect", tmp_path / "other", 5)))
    assert (refused.value.code, "base" in refused.value.message) == ("null_does_not_fit", True)
    with pytest.raises(OptionsRejected) as refused:
        scan_by(trusted(inputs), replace(few, detectors=("lineage", "residual")))
    assert "options, anchor" in refused.value.message


def refused_with(inputs: Path, models: TrustedModels, options: ScanOptions = BOTH) -> OptionsRejected:
    with pytest.raises(OptionsRejected) as refused:
        scan(inputs / "suspect", inputs / "images", options, inputs / "out", trusted=models)
    assert refused.value.message.endswith(".")
    assert refused.value.remedy.endswith(".")
    return refused.value


def test_models_that_cannot_be_trusted_models_are_refused(inputs: Path, tmp_path: Path) -> None:
    suspect, anchor, base = (inputs / name for name in ("suspect", "anchor", "base"))
    assert refused_with(inputs, TrustedModels(anchor=suspect, base=base)).code == "anchor_is_the_suspect"
    assert refused_with(inputs, TrustedModels(anchor=anchor, base=suspect)).code == "base_is_the_suspect"
    error = refused_with(inputs, TrustedModels(anchor=anchor, base=anchor))
    assert error.code == "base_does_not_fit"
    assert "'positional_embedding'" not in error.message
    assert "'text_projection': shape [32, 20] in the base, shape [32, 24] in the model" in error.message
    small = replace(ARCHITECTURE, text=replace(ARCHITECTURE.text, vocab_size=600))
    write_canonical(tmp_path / "words", build_clip(small).state_dict(), small, {"layout": "open_clip"})
    assert (
        refused_with(inputs, TrustedModels(anchor=tmp_path / "words", base=base)).code == "anchor_tokenizer"
    )


def test_the_weights_of_the_suspect_in_another_file_are_no_base(inputs: Path, tmp_path: Path) -> None:
    known = load_canonical(inputs / "suspect")
    write_canonical(tmp_path, known.model.state_dict(), known.architecture, {"layout": "hugging_face"})
    models = TrustedModels(anchor=inputs / "anchor", base=tmp_path)
    assert refused_with(inputs, models).code == "base_is_the_suspect"


@pytest.mark.parametrize(("detectors", "given", "code"), [
    (("residual", "lineage"), "base", "scan_anchor_missing"),
    (("residual", "lineage"), "anchor", "scan_base_missing"),
    (("collapse",), "anchor", "scan_anchor_unused"),
    (("collapse",), "base", "scan_base_unused"),
])  # fmt: skip
def test_a_detector_and_its_input_come_together(inputs, detectors, given, code) -> None:
    models = TrustedModels(**{given: inputs / given})
    assert refused_with(inputs, models, replace(BOTH, detectors=detectors)).code == code


@pytest.mark.parametrize(("name", "value"), [("weight", 0.0), ("bias", 3e38)])
def test_an_anchor_that_tells_no_image_from_another_is_refused(inputs, tmp_path, name, value) -> None:
    known = load_canonical(inputs / "anchor")
    state = {name: tensor.clone() for name, tensor in known.model.state_dict().items()}
    state[f"visual.attnpool.c_proj.{name}"].fill_(value)
    write_canonical(tmp_path / "anchor", state, known.architecture, {"layout": "open_clip"})
    models = TrustedModels(anchor=tmp_path / "anchor")
    options = replace(BOTH, detectors=("residual",))
    with pytest.raises(CheckpointRejected) as refused:
        scan(inputs / "suspect", inputs / "images", options, tmp_path / "out", trusted=models)
    assert refused.value.code == "embeddings_constant"
    assert "The anchor" in refused.value.message


def test_the_command_adds_the_detectors_that_an_anchor_and_a_base_are_for(inputs, tmp_path, capsys) -> None:
    typed = ["--labelled", str(inputs / "images"), "--anchor", str(inputs / "anchor")]
    options = tmp_path / "options.json"
    values = to_json(BOTH)
    options.write_text(json.dumps({name: values[name] for name in values if name != "detectors"}))
    plan = ["scan", str(inputs / "suspect"), *typed, "--dry-run", "--json", "--options", str(options)]
    assert main(plan) == 0
    with_anchor = json.loads(capsys.readouterr().out.splitlines()[-1])["num_passes"]
    options.write_text(json.dumps(values | {"detectors": ["lineage"]}))
    assert main(plan) == 3, "the options name the detectors, and none uses the anchor"
    options.write_text(json.dumps(values | {"detectors": ["residual"]}))
    assert main(plan) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["num_passes"] < with_anchor
