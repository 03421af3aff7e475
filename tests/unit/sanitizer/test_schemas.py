"""The published schemas are those of the code, and they say of real documents what the code says."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from cleanclip.vocabulary import schemas
from cleanclip.vocabulary.null_set import dump_null, load_null
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import AuditOptions, SupervisedRecipe, to_json
from cleanclip.vocabulary.report import dump_json, load_json
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import dump_scan
from demo.recipe import NULL_PATH
from sanitizer.__main__ import main
from tests.fixtures.scans import scan_and_null

ROOT = Path(__file__).resolve().parents[3]
KEPT = sorted((ROOT / "tests" / "fixtures" / "reports").glob("*.json"))


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(schemas.schema(name)))


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_file_in_the_docs_is_what_the_command_prints(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", name]) == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "docs" / "reference" / "schemas" / f"{name}.schema.json").read_text(
        encoding="utf-8"
    ), f"Write it again: python -m sanitizer schema {name} > docs/reference/schemas/{name}.schema.json"


def test_no_other_file_lies_there() -> None:
    names = {path.name for path in (ROOT / "docs" / "reference" / "schemas").iterdir()}
    assert names == {f"{name}.schema.json" for name in schemas.NAMES}


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_a_report_that_is_written_today_fits_its_schema(path: Path) -> None:
    written = json.loads(dump_json(load_json(path.read_bytes())))
    assert [error.message for error in validator("report").iter_errors(written)] == []
    del written["verdict"]
    assert not validator("report").is_valid(written)


@pytest.mark.parametrize("with_null", [True, False])
def test_a_scans_report_that_is_written_today_fits_its_schema(with_null: bool) -> None:
    report, _ = scan_and_null(with_null=with_null)
    written = json.loads(dump_scan(report))
    assert [error.message for error in validator("scan-report").iter_errors(written)] == []
    del written["verdict"]
    assert not validator("scan-report").is_valid(written)


def test_nulls_fit_their_schema() -> None:
    for null in (load_null(NULL_PATH.read_bytes()), scan_and_null()[1]):
        written = json.loads(dump_null(null))
        assert [error.message for error in validator("null").iter_errors(written)] == []
    assert not validator("null").is_valid(written | {"kind": "scan"})


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("recipe", to_json(SupervisedRecipe()), {"method": "prayer"}),
        ("audit", to_json(AuditOptions(target="banana")), {"target": ""}),
        ("policy", to_json(Policy()), {"asr_at_most": 2}),
        ("declared", {"quick_gelu": False}, {"image_size": 0}),
        ("scan", to_json(ScanOptions()), {"class_names": "mine"}),
    ],
)
def test_options_are_judged_as_the_library_judges_them(name: str, good: Any, bad: Any) -> None:
    assert validator(name).is_valid(good)
    assert not validator(name).is_valid(bad)


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["schema", "banana"])
    assert refused.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
