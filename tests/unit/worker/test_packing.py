"""What is handed out is put together out of the reach of the child, which cannot pose as evidence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.fixtures.evidence import SPECS, package
from worker.failures import AttemptFailed
from worker.packing import RESERVED, Packing


def nothing() -> None:
    """Nobody asks for a stop."""


def test_the_childs_files_are_taken_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"{}")
    packed = Packing([tmp_path / "report.json"], tmp_path / "outgoing" / "job_1", nothing).finish()
    assert not (tmp_path / "report.json").exists()
    assert [path.name for path in packed.files] == ["report.json", "SHA256SUMS"]
    assert packed.signature == {}, "what only the service reads is neither stated nor signed"
    assert packed.files[1].read_text() == f"{hashlib.sha256(b'{}').hexdigest()}  report.json\n"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_child_that_leaves_a_file_by_the_name_of_our_evidence_has_failed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"all is well")
    with pytest.raises(AttemptFailed) as refused:
        Packing([tmp_path / name], tmp_path / "outgoing", nothing)
    assert refused.value.code == "outputs_unusable"
    assert name in refused.value.message


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_without_a_key_the_statement_and_the_result_say_unsigned(tmp_path: Path, kind: str) -> None:
    packed = package(tmp_path, signer=None, kind=kind, filename="clip.pt")
    statement = next(path for path in packed.files if path.name == "statement.json").read_bytes()
    assert packed.signature == {
        "state": "unsigned",
        "key_sha256": None,
        "statement_sha256": hashlib.sha256(statement).hexdigest(),
    }
    assert json.loads(statement)["predicate"]["signing_key_sha256"] is None
    assert "model.sig" not in packed.sha256


def test_a_statement_is_ascii_whatever_the_file_was_called(tmp_path: Path) -> None:
    name = "naïve \u202egpj.exe\n\x1b[2J.pt"
    packed = package(tmp_path, signer=None, kind="audit", filename=name)
    statement = next(path for path in packed.files if path.name == "statement.json").read_bytes()
    assert statement.isascii()
    assert b"\x1b" not in statement
    assert json.loads(statement)["predicate"]["checkpoint"]["filename"] == name


def test_the_same_job_makes_the_same_statement(tmp_path: Path) -> None:
    one, other = (package(tmp_path / n, signer=None, kind="audit", filename="a") for n in ("1", "2"))
    stated = [
        json.loads(next(path for path in found.files if path.name == "statement.json").read_bytes())
        for found in (one, other)
    ]
    for statement in stated:  # but for the report, which says when it was written
        (subject,) = (one for one in statement["subject"] if one["name"] == "report.json")
        for place in (subject, statement["predicate"]["report"]):
            place.pop("digest")
        subject.pop("annotations")
    assert stated[0] == stated[1]
