"""What is handed out is put together out of the reach of the child, which cannot pose as evidence."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.report import Report
from tests.fixtures.evidence import SPECS, package
from tests.integration.worker import stand_in_child
from tests.integration.worker.stand_in_child import NUM_IMAGES, NUM_PAIRS, NUM_RETRIEVAL
from worker.failures import AttemptFailed
from worker.publishing.packing import Packing


def nothing() -> None:
    """Nobody asks for a stop."""


def test_the_childs_files_are_taken_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"{}")
    packed = Packing([tmp_path / "report.json"], tmp_path / "outgoing" / "job_1", nothing).finish()
    assert not (tmp_path / "report.json").exists()
    assert [path.name for path in packed.files] == ["report.json", "SHA256SUMS"]
    assert packed.signature == {}, "what only the service reads is neither stated nor signed"
    assert packed.files[1].read_text() == f"{hashlib.sha256(b'{}').hexdigest()}  report.json\n"


def test_nothing_is_signed_that_the_customers_own_check_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures that do not follow from their counts: everything that we know is told as it is."""

    def lie(folder: Path, spec: dict[str, Any], cleaned_sha256: str | None) -> Report:
        reported = honest(folder, spec, cleaned_sha256)
        ca = replace(reported.before.ca, successes=reported.before.ca.n)
        return replace(reported, before=replace(reported.before, ca=ca))

    honest = stand_in_child.report_of
    monkeypatch.setattr(stand_in_child, "report_of", lie)
    signer = Refusing()
    with pytest.raises(AttemptFailed, match=r"still_right") as failed:
        package(tmp_path, signer=signer, kind="audit", filename="clip.pt")
    assert failed.value.code == "outputs_rejected"
    assert signer.num_asked == 0


class Refusing:
    """A signer that must not be asked."""

    key_sha256 = "0" * 64
    public_pem = b"-----BEGIN PUBLIC KEY-----"
    num_asked = 0

    def sign(self, folder: Path, sha256: dict[str, str]) -> Path:
        self.num_asked += 1
        return folder / "model.sig"


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_without_a_key_the_statement_and_the_result_say_unsigned(tmp_path: Path, kind: str) -> None:
    packed = package(tmp_path, signer=None, kind=kind, filename="clip.pt")
    statement = next(path for path in packed.files if path.name == "statement.json").read_bytes()
    assert packed.signature == {
        "state": "unsigned",
        "key_sha256": None,
        "statement_sha256": hashlib.sha256(statement).hexdigest(),
    }
    assert json.loads(statement)["predicate"]["observed"]["signing_key_sha256"] is None
    assert "model.sig" not in packed.sha256


def test_a_statement_is_ascii_whatever_the_file_was_called(tmp_path: Path) -> None:
    name = "naïve \u202egpj.exe\n\x1b[2J.pt"
    packed = package(tmp_path, signer=None, kind="audit", filename=name)
    statement = next(path for path in packed.files if path.name == "statement.json").read_bytes()
    assert statement.isascii()
    assert b"\x1b" not in statement
    assert json.loads(statement)["predicate"]["observed"]["checkpoint"]["filename"] == name


def test_what_no_control_plane_saw_is_claimed_and_nowhere_observed(tmp_path: Path) -> None:
    """Whose the canonical weights are, and how many samples a dataset has."""
    packed = package(tmp_path, signer=None, kind="sanitize", filename="clip.pt")
    statement = next(path for path in packed.files if path.name == "statement.json").read_bytes()
    observed, claimed = (json.loads(statement)["predicate"][part] for part in ("observed", "claimed"))
    assert claimed["canonical_of"] == observed["checkpoint"]["upload"]["digest"]["sha256"]
    assert observed["checkpoint"]["converted_again"] is True
    assert [one["num_samples"] for one in claimed["data"]] == [NUM_PAIRS, NUM_IMAGES, NUM_RETRIEVAL]
    assert not {"num_samples", "canonical_of"} & {*_names(observed)}


def _names(value: Any) -> Iterator[str]:
    """Every name in a document."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


def test_the_same_job_makes_the_same_statement(tmp_path: Path) -> None:
    one, other = (package(tmp_path / n, signer=None, kind="audit", filename="a") for n in ("1", "2"))
    stated = [
        json.loads(next(path for path in found.files if path.name == "statement.json").read_bytes())
        for found in (one, other)
    ]
    for statement in stated:  # but for the report, which says when it was written
        (subject,) = (one for one in statement["subject"] if one["name"] == "report.json")
        for place in (subject, statement["predicate"]["observed"]["report"]):
            place.pop("digest")
        subject.pop("annotations")
        statement["predicate"]["claimed"]["sections"].pop("created_at")
    assert stated[0] == stated[1]
