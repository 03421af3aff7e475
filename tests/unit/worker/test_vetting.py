"""A child that was taken over tells one lie of a vetting at a time, and none is believed."""

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cleanclip.evidence import vetted_files
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.exclusions import load_exclusions
from cleanclip.vocabulary.jobspec import VetSpec
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_report import VetReport, load_vet_report
from tests.fixtures.places import unnoticed
from tests.integration.worker.stand_in_child import (
    CLASSES,
    OTHER,
    altered,
    digest_of,
    vet_files,
    write_inputs,
)
from worker.failures import AttemptFailed
from worker.publishing.checking import check_findings
from worker.publishing.searching import result_of
from worker.publishing.vetting import check_vet
from worker.staging.known import Known
from worker.staging.transfer import file_sha256

AT = datetime(2026, 11, 28, tzinfo=UTC)
SCORES = "vet_scores.jsonl.gz"


class Left:
    """What a child left of a vetting, and what is known of it."""

    def __init__(self, folder: Path, spec: VetSpec) -> None:
        files = {f"{spec.data_kind}/0.tar": b"shard", "trusted/0.tar": b"other"}
        if spec.data_kind == "labelled":
            files["labelled/classnames.txt"] = "\n".join(CLASSES).encode()
        write_inputs(folder, files, checkpoint=b"abc", anchor=b"def")
        self.folder, self.spec = folder, spec
        self.files = vet_files(folder, SPEC_ADAPTER.dump_python(spec, mode="json"))
        honest = load_vet_report(self.files["report.json"])
        self.known = Known(
            checkpoint=honest.checkpoint,
            config={},
            tensors={},
            class_names=tuple(CLASSES) if spec.data_kind == "labelled" else None,
            anchor=honest.anchor,
        )

    def believed(self) -> VetReport:
        """As publishing believes it: the report, then what `cleanclip verify` finds beside it."""
        report = check_vet(self.files["report.json"], self.spec, self.known, AT)
        for name, content in self.files.items():
            (self.folder / name).write_bytes(content)
        exclusions = load_exclusions(self.files["excluded.json"])
        digest = {name: file_sha256(self.folder / name) for name in self.files}
        check_findings(vetted_files.check_list(report, exclusions, digest["excluded.json"]))
        path = self.folder / "vet_scores.jsonl.gz"
        check_findings(vetted_files.check_scores(report, exclusions, path, digest[path.name]))
        return report


def spec_of(**changes: Any) -> VetSpec:
    options = {"num_shown": 4} | changes.pop("vet", {})
    given = {"data_kind": "pairs", "has_trusted": True, "has_anchor": True} | changes
    return VetSpec(vet=VetOptions(**options), seed=7, **given)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"has_trusted": False, "has_anchor": False},
        {"has_anchor": False, "data_kind": "labelled"},
        {"has_trusted": False, "has_anchor": False, "vet": {"scores": ("mismatch",), "num_shown": 0}},
    ],
)
def test_an_honest_report_is_believed_and_lists_carry_no_sample(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    left = Left(tmp_path, spec_of(**changes))
    believed = left.believed()
    assert believed.created_at == AT
    shown = json.dumps(result_of(believed))
    assert all(one.image not in shown and one.caption not in shown for one in believed.worst)
    assert len(shown) < 5_000


OF_THE_REPORT: dict[str, dict[str, Any]] = {
    "a_warning_of_its_own": {"warnings": ["This dataset is clean. Approved for release."]},
    "a_reason_for_a_score_of_its_own": {"not_computed.0.reason": "This dataset is clean."},
    "a_score_by_another_model": {"decided_by.mismatch": "suspect"},
    "another_anchor": {"anchor.weights_sha256": OTHER},
    "a_caption_too_long": {"worst.0.caption": "x" * 1001},
    "an_svg_for_an_image": {"worst.0.image": base64.b64encode(b"<svg onload='alert(1)'/>").decode()},
    "scores_that_are_others": {"scores_sha256": OTHER},
    "a_sample_of_its_own": {"worst.0.key": "another"},
    "no_number_among_figures": {"scores.0.vetted.median": float("nan")},
}
LIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "a_reason_of_its_own": ("excluded.json", {"reason": "<script>alert(1)</script>"}),
    "a_line_less": (SCORES, {"lines": lambda lines: lines[:-1]}),
    **{name: ("report.json", changes) for name, changes in OF_THE_REPORT.items()},
    "a_list_of_another_dataset": ("excluded.json", {"dataset_sha256": OTHER}),
    "a_list_of_other_samples": ("excluded.json", {"samples.0.key": "not-of-the-dataset"}),
    "a_line_twice": (SCORES, {"lines": lambda lines: [*lines, lines[-1]]}),
    "a_good_sample_set_aside": (SCORES, {"lines.0.set_aside": lambda is_set_aside: not is_set_aside}),
}


def lie_of_vetting(files: dict[str, bytes], name: str, changes: Mapping[str, Any]) -> None:
    """Change one of the files, of the scores their `lines`; its digest in the report is the new one."""
    if name == SCORES:
        lines = [json.loads(line) for line in gzip.decompress(files[SCORES]).splitlines()]
        lines = altered({"lines": lines}, changes)["lines"]
        content = gzip.compress("".join(json.dumps(one) + "\n" for one in lines).encode())
    else:
        content = json.dumps(altered(json.loads(files[name]), changes)).encode()
    files[name] = content
    if name != "report.json":
        stated = {"excluded.json": "list_sha256", SCORES: "scores_sha256"}[name]
        lie_of_vetting(files, "report.json", {stated: digest_of(content)})


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_not_believed(tmp_path: Path, lie: str) -> None:
    left = Left(tmp_path, spec_of())
    lie_of_vetting(left.files, *LIES[lie])
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed()


@pytest.mark.parametrize("is_compared", [True, False])
def test_a_value_that_its_rank_denies_is_not_believed(tmp_path: Path, is_compared: bool) -> None:
    left = Left(tmp_path, spec_of(has_trusted=is_compared, has_anchor=is_compared))
    worst = json.loads(left.files["report.json"])["worst"][0]["index"]
    lie_of_vetting(left.files, SCORES, {f"lines.{worst}.scores.local_density.0": -9.0})
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed()


def test_another_number_or_list_in_any_place_is_not_believed_or_a_second_vetting_has_to_find_it(
    tmp_path: Path,
) -> None:
    left, seen = Left(tmp_path, spec_of()), set[str]()

    def is_refused(reported: Any) -> bool:
        left.files["report.json"] = json.dumps(reported).encode()
        try:
            left.believed()
        except AttemptFailed:
            return True
        return False

    missed = unnoticed(json.loads(left.files["report.json"]), is_refused, seen)
    assert [
        one for one in missed if not one.startswith(("environment.num_", "scores.trusted.", "measured "))
    ] == []
    assert len(seen) > 60


def test_a_class_that_the_dataset_does_not_have_is_not_believed(tmp_path: Path) -> None:
    left = Left(tmp_path, spec_of(data_kind="labelled"))
    left.believed()
    left.known = replace(left.known, class_names=("others", *tuple(CLASSES)[1:]))
    with pytest.raises(AttemptFailed, match="class"):
        left.believed()


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b broken", b"{}"])
def test_scores_that_cannot_be_read_are_not_believed(tmp_path: Path, content: bytes) -> None:
    left = Left(tmp_path, spec_of())
    left.files["vet_scores.jsonl.gz"] = content
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed()
