"""A child that was taken over tells one lie at a time, and nothing that it left is published."""

import hashlib
import json
import pickle
import resource
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.jobspec import InspectSpec, SanitizeSpec, ValidateSpec
from cleanclip.vocabulary.recipe import DeclaredOptions, parse, to_json
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.settled import SettledArchitecture
from sanitizer.audits.statistics import wilson
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.settings import Settings, known_by, not_compared
from tests.fixtures.evidence import believed, edit_json, left_by_a_child
from tests.integration.worker.stand_in_child import CLASSES, altered, config, inspection, weights
from worker.failures import AttemptFailed
from worker.publishing.accepting import check_config, check_dataset, check_inspection
from worker.publishing.checking import check_first_audit, check_input
from worker.staging.weights import read_architecture

OTHER = "0" * 63 + "1"
PICKLE = pickle.dumps({"a": "pickle of forty bytes"})
UPLOAD = b"CLIP, as it came in"


def put(*steps: str | int, value: Any) -> Callable[[Path], None]:
    """The lie that this place of report.json has another value, or what `value` makes of it."""
    changes = {".".join(map(str, steps)): value}
    return lambda outputs: edit_json(outputs / "report.json", lambda report: altered(report, changes))


def replace_weights(content: bytes, *, said: bool = True) -> Callable[[Path], None]:
    """Other weights, and a report and a configuration that say so."""

    def lie(outputs: Path) -> None:
        (outputs / "model.safetensors").write_bytes(content)
        if said:
            digest = hashlib.sha256(content).hexdigest()
            put("after", "weights_sha256", value=digest)(outputs)
            edit_json(outputs / "config.json", lambda one: one["checkpoint"].update(weights_sha256=digest))

    return lie


def with_room_for_more(outputs: Path) -> None:
    """Honest tensors under a header of which a part is not a tensor."""
    honest = (outputs / "model.safetensors").read_bytes()
    length = int.from_bytes(honest[:8], "little")
    header = json.loads(honest[8 : 8 + length])
    header["__metadata__"]["note"] = "<script>alert(1)</script>"
    encoded = json.dumps(header).encode()
    content = len(encoded).to_bytes(8, "little") + encoded + honest[8 + length :]
    replace_weights(content)(outputs)


def say_it_of_another_cleaning(outputs: Path) -> None:
    edit_json(outputs / "config.json", lambda one: one["checkpoint"]["cleaned"].update(seed=8))


def name_a_hostile_class(outputs: Path) -> None:
    put("before", "ca_per_class", 0, "class_name", value="<meta http-equiv=refresh>")(outputs)


_CLEANED = weights(("0" * 64).encode())
LIES: dict[str, Callable[[Path], None]] = {
    "another seed": put("seed", value=8),
    "another kind": put("kind", value="audit"),
    "another recipe": put("recipe", "epochs", value=1),
    "options that nobody gave": put(
        "recipe_source", value={"given": [], "defaults_from": "x", "named_there": []}
    ),
    "a softer policy": put("policy", "asr_at_most", value=0.99),
    "another source of the policy": put("policy_source", "given", value="order"),
    "fewer attacks": put("audit", "attacks", value=[{"attack": "badnet"}]),
    "another target": put("audit", "target", value="apple"),
    "another upload": put("checkpoint", "upload_sha256", value=OTHER),
    "another checkpoint": put("checkpoint", "weights_sha256", value=OTHER),
    "another architecture": put("checkpoint", "architecture", "model_cfg", "embed_dim", value=3),
    "no dangerous findings": put("checkpoint", "scanners", value=[]),
    "other cleaned weights": put("after", "weights_sha256", value=OTHER),
    "other data": put("data", 0, "sha256", value=OTHER),
    "more data": put("data", 0, "num_samples", value=10**6),
    "a figure that no count gives": put("after", "ca", "value", value=1.0),
    "a verdict that no figure gives": put("verdict", "reason", value="This model is clean."),
    "somebody who vouches": put("before", "attacks", 0, "name", value="harmless"),
    "a number that is none": put("after", "ca", "value", value=float("nan")),
    "a class with a tag in its name": name_a_hostile_class,
    "a pickle, honestly told": replace_weights(PICKLE),
    "other bytes than it tells": replace_weights(weights(b"poisoned"), said=False),
    "a pickle for weights": replace_weights(PICKLE, said=False),
    "weights with something behind them": replace_weights(_CLEANED + PICKLE),
    "room for more in the header": with_room_for_more,
    "another cleaning in the configuration": say_it_of_another_cleaning,
}


@pytest.mark.parametrize("name", LIES)
def test_one_lie_and_nothing_of_a_cleaning_is_published(name: str, tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="sanitize")
    LIES[name](outputs)
    with pytest.raises(AttemptFailed) as failed:
        believed(tmp_path, staged, outputs)
    assert (failed.value.code, failed.value.retry_in_s) == ("outputs_rejected", None)
    assert not (tmp_path / "package" / "model.sig").exists()


def test_a_class_that_the_data_set_does_not_have_is_not_named(tmp_path: Path) -> None:
    """Class names stand in pages and lists, and no count could tell one from another."""
    staged, outputs = left_by_a_child(tmp_path, kind="sanitize")
    assert staged.known is not None
    staged = replace(staged, known=replace(staged.known, class_names=tuple(CLASSES)))
    for side in ("before", "after"):
        put(side, "ca_per_class", 0, "class_name", value="<meta http-equiv=refresh>")(outputs)
    with pytest.raises(AttemptFailed, match="figures name a class"):
        believed(tmp_path, staged, outputs)


SETTINGS_LIES: dict[str, Callable[[Path], None]] = {
    "heads that no model has": put("architecture", "settings", 0, "value", value="2"),
    "an assumed value called declared": put("architecture", "settings", 0, "settled", value="declared"),
    "measured without a comparison": put("architecture", "settings", 0, "settled", value="measured"),
    "measured by figures that tell nothing": put("architecture", "settings", 2, "margin", "low", value=0.0),
    "words of its own": put("architecture", "settings", 1, "why", value="<a href=//x>as its owner says</a>"),
    "words of its own beside figures": put("architecture", "settings", 2, "why", value="trust me"),
    "a comparison with itself": put("architecture", "settings", 2, "runner_up", "value", value="false"),
    "no comparison": put("architecture", "settings", 2, "margin", value=None),
    "an option more": put(
        "architecture",
        "settings",
        value=lambda settings: [
            *settings,
            {"option": "text_pool", "value": "last", "settled": "tensors", "why": "it is so"},
        ],
    ),
    "an option fewer": put("architecture", "settings", value=lambda settings: [settings[0], *settings[2:]]),
    "the same twice": put("architecture", "settings", value=lambda settings: [*settings, settings[0]]),
    "another draw": put("architecture", "seed", value=8),
    "too few images": put("architecture", "n", value=100),
    "nothing at all": put("architecture", value=None),
}


@pytest.mark.parametrize("name", SETTINGS_LIES)
def test_how_the_architecture_was_settled_follows_from_what_came_in_and_from_figures(
    name: str, tmp_path: Path
) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="audit")
    SETTINGS_LIES[name](outputs)
    with pytest.raises(AttemptFailed, match=r"its report\.json") as failed:
        believed(tmp_path, staged, outputs)
    assert failed.value.code == "outputs_rejected"


@pytest.mark.parametrize(
    ("num_images", "num_classes", "is_due"), [(127, 6, False), (128, 1, False), (128, 2, True)]
)
def test_a_report_measured_nothing_only_where_there_was_not_enough_to_measure_on(
    num_images: int, num_classes: int, is_due: bool, tmp_path: Path
) -> None:
    staged, _ = left_by_a_child(tmp_path, kind="audit")
    assert staged.known is not None
    came_in = read_architecture(staged.known.checkpoint.architecture)
    origin = staged.known.config["checkpoint"]
    known = known_by(came_in, origin)
    counts = ("n", "num_classes", "num_templates", "num_compared", "num_image_passes", "num_text_passes")
    unmeasured = SettledArchitecture(
        **dict.fromkeys(counts, 0),
        seed=7,
        ca=None,
        chance=None,
        settings=tuple(
            not_compared(option, shown(value), known[option], origin)
            for option, value in asdict(Settings.of(came_in)).items()
        ),
    )
    outputs = tmp_path / "job" / "outputs"
    put("architecture", value=asdict(unmeasured))(outputs)
    edit_json(outputs / "report.json", lambda reported: reported.pop("warnings"))
    classes = tuple(CLASSES)[:num_classes]
    known_now = replace(staged.known, num_labelled=num_images, class_names=classes)
    report = load_json((outputs / "report.json").read_bytes())
    if is_due:
        with pytest.raises(AttemptFailed, match="did not measure the settings"):
            check_input(known_now, report.architecture, seed=7)
    else:
        assert (
            check_input(known_now, report.architecture, seed=7).architecture
            == known_now.checkpoint.architecture
        )


def test_an_honest_cleaning_goes_on_in_files_that_we_wrote(tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="sanitize")
    edit_json(outputs / "report.json", lambda report: report.update(surprise="<script>"))
    package = believed(tmp_path, staged, outputs)
    report = json.loads((tmp_path / "package" / "report.json").read_bytes())
    assert "surprise" not in report
    assert report["vouched_for"].startswith("This file alone proves nothing about its origin.")
    assert report["created_at"] == "2026-01-01T00:00:00Z"
    assert package.sha256["model.safetensors"] == hashlib.sha256(_CLEANED).hexdigest()


# ---------------------------------------------------------------- inspections


def inspected(folder: Path, canonical: bytes = weights(UPLOAD), **changes: Any) -> Any:
    (folder / "model.safetensors").write_bytes(canonical)
    reported = inspection(UPLOAD, canonical) | changes
    upload = {"sha256": hashlib.sha256(UPLOAD).hexdigest(), "size_bytes": len(UPLOAD)}
    digest = hashlib.sha256(canonical).hexdigest()
    return check_inspection(json.dumps(reported).encode(), upload, folder / "model.safetensors", digest)


def test_an_inspection_that_speaks_of_the_bytes_at_hand_is_accepted(tmp_path: Path) -> None:
    assert inspected(tmp_path).architecture_name == "ViT width 2, 1 layers, patch 1, 2 px"


@pytest.mark.parametrize("name", ["upload_sha256", "weights_sha256", "size_bytes"])
def test_an_inspection_of_other_bytes_is_not_believed(name: str, tmp_path: Path) -> None:
    with pytest.raises(AttemptFailed, match="other bytes") as failed:
        inspected(tmp_path, **{name: 8 if name == "size_bytes" else OTHER})
    assert failed.value.code == "outputs_rejected"


@pytest.mark.parametrize(
    "canonical", [PICKLE, b"", weights(UPLOAD)[:-1], weights(UPLOAD) + b"PK\5\6" + 18 * b"\0"]
)
def test_a_pickle_is_no_canonical_weights_whatever_the_inspection_says(
    canonical: bytes, tmp_path: Path
) -> None:
    with pytest.raises(AttemptFailed, match=r"model\.safetensors") as failed:
        inspected(tmp_path, canonical)
    assert failed.value.code == "outputs_rejected"


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"model_cfg": {}},
        {
            "model_cfg": {"embed_dim": 2, "vision_cfg": {"layers": 10**12}, "text_cfg": {}},
            "preprocess_cfg": {},
        },
        {"model_cfg": {"embed_dim": 2, "vision_cfg": [], "text_cfg": 1}, "preprocess_cfg": []},
    ],
)
def test_an_architecture_that_the_weights_do_not_have_is_not_believed(
    architecture: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(AttemptFailed) as failed:
        inspected(tmp_path, architecture=architecture)
    assert failed.value.code == "outputs_rejected"


@pytest.mark.parametrize(
    "reported", [{"num_parameters": 1}, {"dtype": "float16"}, {"architecture_name": "ViT-B/32"}]
)
def test_an_inspection_that_describes_other_weights_is_not_believed(
    reported: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(AttemptFailed, match="describe") as failed:
        inspected(tmp_path, **reported)
    assert failed.value.code == "outputs_rejected"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("upload_sha256", OTHER),
        ("findings", ["none"]),
        ("surprise", 1),
        ("declared", {}),
        ("filename", "other.pt"),
        ("configured", ["quick_gelu"]),
        ("configured", 7),
    ],
)
def test_a_configuration_that_says_something_else_is_not_believed(
    part: str, value: Any, tmp_path: Path
) -> None:
    found, spec = inspected(tmp_path), InspectSpec(filename="clip.pt")
    reported = config(inspection(UPLOAD, weights(UPLOAD)))
    assert json.loads(check_config(json.dumps(reported).encode(), spec, found)) == reported
    reported["checkpoint"][part] = value
    with pytest.raises(AttemptFailed, match=r"config\.json"):
        check_config(json.dumps(reported).encode(), spec, found)


@pytest.mark.parametrize("configured", [7, "quick_gelu", [7], ["surprise"], ["quick_gelu"]])
def test_configurations_beside_the_file_decide_only_what_was_not_declared(
    configured: Any, tmp_path: Path
) -> None:
    found = inspected(tmp_path)
    spec = InspectSpec(filename="clip.pt", declared=DeclaredOptions(quick_gelu=True))
    reported = config(inspection(UPLOAD, weights(UPLOAD)))
    reported["checkpoint"] |= {"declared": to_json(spec.declared), "configured": ["num_heads_text"]}
    raw = json.dumps(reported).encode()
    assert json.loads(check_config(raw, spec, found, lies_beside=True)) == reported
    with pytest.raises(AttemptFailed):
        check_config(raw, spec, found)
    reported["checkpoint"]["configured"] = configured
    with pytest.raises(AttemptFailed, match="that no configuration decides"):
        check_config(json.dumps(reported).encode(), spec, found, lies_beside=True)


@pytest.mark.parametrize("num_tables", [250_000, 1_000_000])
def test_a_file_of_many_small_tables_costs_the_supervisor_no_memory(num_tables: int, tmp_path: Path) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AttemptFailed, match="cannot be read"):
        inspected(tmp_path, architecture={"a": [{}] * num_tables})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 60 * 1024


@pytest.mark.parametrize(
    "lie",
    [
        {"surprise": 1},
        {"layout": "huggingface"},
        {"container": "pickle"},
        {"naming": 7},
        {"prefix": "a" * 1000},
        {"weights_key": ["model"]},
        {"extras": {"state_dict": {"visual.proj": 1}}},
        {"extras": {str(number): number for number in range(33)}},
        {"origins": {}},
        {"origins": [{"name": "a", "dtype": "float32", "shape": [2], "code": "x"}]},
        {"origins": [{"name": "a", "dtype": "complex64", "shape": [2]}]},
        {"origins": [{"name": "a", "dtype": "float32", "shape": [-1]}]},
        {"origins": [{"name": "a", "dtype": "float32", "shape": "22"}]},
        {"origins": [{"name": "a", "dtype": "float32", "shape": [2], "third": 3}]},
        {"origins": [{"name": "a", "dtype": "float32", "shape": [2], "fill": "eval"}]},
    ],
    ids=str,
)
def test_a_record_of_the_upload_that_no_inspection_writes_is_not_believed(
    lie: dict[str, Any], tmp_path: Path
) -> None:
    found, spec = inspected(tmp_path), InspectSpec(filename="clip.pt")
    reported = config(inspection(UPLOAD, weights(UPLOAD)))
    reported["checkpoint"]["upload"].update(lie)
    with pytest.raises(AttemptFailed, match=r"config\.json") as failed:
        check_config(json.dumps(reported).encode(), spec, found)
    assert failed.value.code == "outputs_rejected"


# ---------------------------------------------------------------- validations

FILES = {"0.tar": "1" * 64, "classnames.txt": "2" * 64}
SUMMARY = {
    "kind": "labelled",
    "sha256": hashlib.sha256(
        b"".join(name.encode() + b"\0" + FILES[name].encode() + b"\n" for name in ("classnames.txt", "0.tar"))
    ).hexdigest(),
    "num_shards": 1,
    "num_samples": 5,
    "num_skipped": 1,
    "skipped_reasons": {"no_image": 1},
    "skipped_examples": ["'0001': no_image"],
    "class_names": ["cat", "dog"],
    "images_per_class": [2, 3],
}


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": OTHER},
        {"kind": "pairs"},
        {"num_shards": 2},
        {"num_samples": -1},
        {"num_skipped": 0},
        {"num_skipped": 3, "skipped_reasons": {"no_image": 3}},
        {"images_per_class": [2, 2]},
        {"images_per_class": None},
    ],
)
def test_a_validation_of_other_files_or_that_cannot_count_is_not_believed(changes: dict[str, Any]) -> None:
    spec = ValidateSpec(data_kind="labelled", max_skipped_share=0.2)
    assert check_dataset(json.dumps(SUMMARY).encode(), spec, FILES).num_samples == 5
    with pytest.raises(AttemptFailed, match=r"dataset\.json") as failed:
        check_dataset(json.dumps(SUMMARY | changes).encode(), spec, FILES)
    assert failed.value.code == "outputs_rejected"


def test_of_which_job_a_report_is_the_supervisor_says_whatever_the_child_does(tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="audit")
    origin = dict.fromkeys(("filename", "job_id", "job_name", "project", "requested_by"), "another")
    origin |= {"source": None}
    put("origin", value=origin)(outputs)
    believed(tmp_path, staged, outputs)
    report = load_json((tmp_path / "package/report.json").read_bytes())
    assert staged.known is not None
    assert report.origin == staged.known.origin


def put_in_first(*steps: str | int, value: Any) -> Callable[[Any], None]:
    """The lie that this place of the first audit's figures has another value."""

    def lie(figures: Any) -> None:
        for step in steps[:-1]:
            figures = figures[step]
        figures[steps[-1]] = value

    return lie


FIRST_LIES: dict[str, Callable[[Any], None]] = {
    "other weights": put_in_first("weights_sha256", value=OTHER),
    "another seed": put_in_first("seed", value=8),
    "fewer attacks": lambda figures: figures["attacks"].pop(),
    "another attack": put_in_first("attacks", 0, "name", value="harmless"),
    "other options": put_in_first("attacks", 0, "options", value={}),
    "a class with a tag in its name": put_in_first("ca_per_class", 0, "class_name", value="<b>see</b>"),
    "fewer hits among five than first": put_in_first("ca_top5", "successes", value=0),
    "a linear probe that nobody ordered": put_in_first(
        "linear_probe", value={"accuracy": asdict(wilson(1, 2)), "num_iterations": 1, "is_converged": True}
    ),
}


@pytest.mark.parametrize("name", [None, *FIRST_LIES])
def test_one_lie_and_a_first_audit_is_not_shown(name: str | None, tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="sanitize")
    assert isinstance(staged.spec, SanitizeSpec)
    assert staged.known is not None
    known = replace(staged.known, class_names=tuple(CLASSES))
    reported = json.loads((outputs / "report.json").read_bytes())
    if name is not None:
        FIRST_LIES[name](reported["before"])
    figures = parse(AuditFigures, reported["before"])
    settled_on = parse(SettledArchitecture, reported["architecture"])
    if name is None:
        verdict = check_first_audit(figures, settled_on, staged.spec, known)
        assert verdict.outcome == "fail"
        return
    with pytest.raises(AttemptFailed) as failed:
        check_first_audit(figures, settled_on, staged.spec, known)
    assert (failed.value.code, failed.value.is_child_trusted) == ("outputs_rejected", False)


def test_a_report_says_of_the_first_audit_what_was_shown_of_it(tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="sanitize")
    assert staged.known is not None
    before = load_json((outputs / "report.json").read_bytes()).before
    shown_before = replace(before, ca=wilson(before.ca.successes - 1, before.ca.n))
    with pytest.raises(AttemptFailed, match="something else of before"):
        believed(tmp_path, replace(staged, known=replace(staged.known, before=shown_before)), outputs)
