"""`cleanclip verify` as people and programs use it: what it prints and the status that it ends with."""

import json
from pathlib import Path
from typing import Any

import pytest

from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from cleanclip.evidence.public_keys import PublicKey
from tests.fixtures.evidence import JOB_ID, UPLOAD, edit_json, sum_again


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("CLEANCLIP_URL", raising=False)
    monkeypatch.setenv("CLEANCLIP_CONFIG", "/nonexistent/config.json")

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["verify", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


def test_a_signed_folder_ends_with_0_and_says_what_is_and_what_is_not_proven(
    run: Any, signed: Path, public_key: PublicKey, tmp_path: Path
) -> None:
    (tmp_path / "original").write_bytes(UPLOAD)
    status, out, err = run(signed, "--key", public_key.path, "--input", tmp_path / "original")
    assert (status, err) == (ExitCode.OK, "")
    assert out.startswith("VERIFIED: the holder of key " + public_key.sha256)
    proven, not_proven = out.split("Not proven:")
    assert JOB_ID in proven
    assert "The file given with --input is that upload." in proven
    proven = " ".join(proven.split())
    assert "an independent second audit, in a process that never read the upload, found the same" in proven
    assert "No images were withheld from the first process" in proven
    assert "That the training's curve is true" in not_proven
    assert "That the model is clean" in not_proven
    assert "Whose key it is" in not_proven


def test_an_unsigned_folder_ends_with_0_and_says_so_first(run: Any, unsigned: Path) -> None:
    status, out, _ = run(unsigned)
    assert status == ExitCode.OK
    assert out.startswith("UNSIGNED: ")
    assert "Who made these files" in out
    assert "only the process that read the upload reported them" in " ".join(out.split())
    assert "independent second audit" not in out


@pytest.mark.parametrize(
    ("is_twice", "says"),
    [
        (True, "one of them with the service's own reader alone"),
        (False, "only the process that inspected it says so (`claimed.canonical_of`)"),
    ],
)
def test_verify_says_by_how_many_processes_the_weights_are_the_uploads(
    run: Any, unsigned: Path, is_twice: bool, says: str
) -> None:
    def put(statement: dict[str, Any]) -> None:
        statement["predicate"]["observed"]["checkpoint"]["converted_again"] = is_twice

    edit_json(unsigned / "statement.json", put)
    sum_again(unsigned)
    _, out, _ = run(unsigned)
    assert says in " ".join(out.split("Not proven:")[1].split())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("commit", "a" * 40, "origin.source"),
        ("ordered", "hf://another/model", "origin.source"),
        ("sha256", "a" * 64, "has another size or digest than the upload"),
        ("size_bytes", 1, "has another size or digest than the upload"),
    ],
)
def test_a_statement_of_another_source_than_the_reports_does_not_hold(
    run: Any, unsigned: Path, name: str, value: object, says: str
) -> None:
    edit_json(
        unsigned / "statement.json",
        lambda s: s["predicate"]["observed"]["checkpoint"]["source"].update({name: value}),
    )
    sum_again(unsigned)
    status, out, _ = run(unsigned)
    assert status != ExitCode.OK
    assert says in " ".join(out.split())


def test_a_statement_of_withheld_images_that_the_report_does_not_have_does_not_hold(
    run: Any, unsigned: Path
) -> None:
    confirmed = {"done": True, "why": "ordered", "num_withheld": 600, "tolerated_share": 0.0}
    edit_json(unsigned / "statement.json", lambda s: s["predicate"]["observed"].update(recheck=confirmed))
    sum_again(unsigned)
    status, out, _ = run(unsigned)
    assert status != ExitCode.OK
    assert "recheck.num_withheld is not the report's, 0" in " ".join(out.split())


def test_a_signed_folder_without_a_key_says_that_nobody_vouches_for_its_own(
    run: Any, signed: Path, public_key: PublicKey
) -> None:
    status, out, _ = run(signed)
    assert status == ExitCode.OK
    assert out.startswith("SIGNER NOT CHECKED: ")
    assert public_key.sha256 in out
    assert "since the owner of the key beside them signed them" in out


def test_a_key_that_came_with_the_files_is_not_taken_as_trusted(run: Any, signed: Path) -> None:
    for option, value in (("--key", signed / "model.sig.pub.pem"), ("--keys", signed)):
        status, _, err = run(signed, option, value)
        assert status == ExitCode.USAGE
        assert "A key that came with the files proves nothing" in err


def test_a_key_that_is_given_is_a_demand_that_the_folder_is_signed(
    run: Any, unsigned: Path, public_key: PublicKey
) -> None:
    status, out, _ = run(unsigned, "--keys", public_key.path.parent / "..", "--key", public_key.path)
    assert status == ExitCode.UNREADABLE, "a folder without keys cannot be used"
    status, out, _ = run(unsigned, "--key", public_key.path)
    assert status == ExitCode.NOT_VERIFIED
    assert "model.sig: is missing" in out


def test_a_mismatch_ends_with_8_and_names_the_figure(run: Any, unsigned: Path) -> None:
    edit_json(unsigned / "report.json", lambda report: report["after"]["attacks"][0]["asr"].update(high=0.01))
    sum_again(unsigned)
    status, out, err = run(unsigned)
    assert status == ExitCode.NOT_VERIFIED == 8
    assert "report.json: after.attacks[0].asr.high is 0.01, but" in out
    assert (out.count("NOT VERIFIED"), err) == (1, "")
    assert "Proven:" not in out.replace("Not proven:", "")
    status, out, _ = run(unsigned, "--json")
    document = json.loads(out)
    assert status == ExitCode.NOT_VERIFIED
    assert (document["holds"], document["proven"]) == (False, [])
    assert "after.attacks[0].asr.high" in [one["where"] for one in document["findings"]]


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    "planted", ['{"a":' * 300 + "1" + "}" * 300, "[" * 900 + "]" * 900, '"\\ud800"', '{"\\udfff": 1}']
)
def test_a_statement_made_to_break_the_check_hides_no_mismatch(
    run: Any, signed: Path, public_key: PublicKey, planted: str, more: tuple[str]
) -> None:
    """What is planted can be read as JSON, and could not be printed or compared."""
    weights = bytearray((signed / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (signed / "model.safetensors").write_bytes(weights)
    edit_json(signed / "statement.json", lambda s: s["predicate"]["observed"]["order"].update(x="planted"))
    text = (signed / "statement.json").read_text()
    assert '"planted"' in text
    (signed / "statement.json").write_text(text.replace('"planted"', planted))
    status, out, err = run(signed, "--key", public_key.path, *more)
    assert (status, err) == (ExitCode.NOT_VERIFIED, "")
    assert "statement.json" in out
    assert "model.safetensors" in out


def test_programs_get_one_document(run: Any, signed: Path, public_key: PublicKey) -> None:
    status, out, err = run(signed, "--key", public_key.path, "--json")
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["signature"] == {"state": "signed", "key_sha256": public_key.sha256}
    assert document["statement"]["predicate"]["observed"]["job"]["id"] == JOB_ID
    assert document["statement"]["_type"] == "https://in-toto.io/Statement/v1"


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_what_cannot_be_read_ends_with_11(run: Any, signed: Path, tmp_path: Path, more: tuple[str]) -> None:
    for arguments in (
        (tmp_path / "no",),
        (signed, "--key", tmp_path / "no"),
        (signed, "--input", tmp_path / "n"),
        (signed, "--input", tmp_path),
    ):
        status, out, err = run(*arguments, *more)
        assert status == ExitCode.UNREADABLE
        assert "cannot be read" in err
        if more:
            assert json.loads(out)["error"]["exit_code"] == 11
