"""Other scanners: what they say is kept as evidence, and what they do decides nothing."""

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import INSPECTION_ADAPTER, InspectSpec
from cleanclip.vocabulary.progress import ignore, never_stop
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints import inspection as inspection_module
from sanitizer.checkpoints import scanners
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import load_canonical
from sanitizer.pipeline.reporting import checkpoint_input
from sanitizer.work.inspecting import do
from tests.fixtures.checkpoints import write_open_clip, write_open_clip_safetensors
from tests.fixtures.hostile.corpus import HOSTILE

NAMES = ["picklescan", "modelaudit"]


def verdicts(upload: Path, time_limit_s: float) -> dict[str, str]:
    found = scanners.scan(upload, is_pickle=True, time_limit_s=time_limit_s)
    return {evidence.name: evidence.verdict for evidence in found}


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Another program in the place of the scanner's process, and no comparison with torch."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(0o700)
    monkeypatch.setattr(scanners, "PYTHON", str(path))
    monkeypatch.setattr(inspection_module, "compare", lambda *_: ())


@pytest.mark.slow
def test_scanners_see_a_plain_call_and_a_refused_file_keeps_what_they_say(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    (tmp_path / "inputs").mkdir()
    HOSTILE["os_system_by_reduce"].write(tmp_path / "inputs/upload", tmp_path / "canary")
    spec = InspectSpec(filename="x.pt", declared=declared, scanner_time_limit_s=120.0)
    with pytest.raises(CheckpointRejected) as refused:
        do(spec, tmp_path, ignore, never_stop)
    found = refused.value.scanners
    assert [(one.name, one.verdict) for one in found] == [(name, "dangerous") for name in NAMES]
    assert all(one.num_issues and "os.system" in " ".join(one.issues) for one in found)
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_what_scanners_say_goes_with_the_checkpoint_into_every_report(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    write_open_clip(tmp_path / "upload")
    inspection = inspect_upload(
        tmp_path / "upload", tmp_path / "out", declared=declared, filename="x", scanner_time_limit_s=120.0
    )
    assert [evidence.name for evidence in inspection.scanners] == NAMES
    picklescan, modelaudit = (evidence.verdict for evidence in inspection.scanners)
    assert picklescan == "nothing_found"
    # modelaudit trusts no PyTorch that lies below a folder which everybody may write to, such as /tmp.
    assert modelaudit in {"nothing_found", "suspicious"}
    versions = [metadata.version(distribution) for distribution in scanners.SCANNERS.values()]
    assert [evidence.version for evidence in inspection.scanners] == versions
    written = INSPECTION_ADAPTER.validate_json((tmp_path / "out/inspection.json").read_bytes())
    assert written.scanners == inspection.scanners
    assert checkpoint_input(load_canonical(tmp_path / "out"), None).scanners == inspection.scanners
    assert "reads the same" in inspection.findings[-1]  # torch itself, asked by `comparison`


def test_a_safetensors_file_is_nothing_for_them_and_they_say_so(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    write_open_clip_safetensors(tmp_path / "upload")
    inspection = inspect_upload(
        tmp_path / "upload", tmp_path / "out", declared=declared, filename="x", scanner_time_limit_s=60.0
    )
    assert [evidence.verdict for evidence in inspection.scanners] == ["not_applicable"] * 2
    assert inspection.findings[-1].startswith("safetensors ")
    assert inspection.findings[-1].endswith(" tensors from this file, bit by bit.")


def test_without_time_for_them_the_evidence_says_that_they_are_off(tmp_path: Path) -> None:
    assert verdicts(tmp_path, 0.0) == dict.fromkeys(NAMES, "switched_off")


def test_a_scanner_that_is_not_installed_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanners, "SCANNERS", {"picklescan": "no-such-distribution"})
    assert verdicts(tmp_path / "upload", 60.0) == {"picklescan": "not_installed"}


def test_a_scanner_that_does_not_end_is_stopped_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "import time; time.sleep(600)")
    assert verdicts(tmp_path / "upload", 0.3) == dict.fromkeys(NAMES, "timed_out")


@pytest.mark.parametrize(
    "program",
    ["import os; os.abort()", "print('no JSON')", "print('{}')", "print('x' * 3_000_000)"],
)
def test_a_scanner_that_breaks_refuses_nothing(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: DeclaredOptions
) -> None:
    stand_in(tmp_path, monkeypatch, program)
    write_open_clip(tmp_path / "upload")
    inspection = inspect_upload(
        tmp_path / "upload", tmp_path / "out", declared=declared, filename="x", scanner_time_limit_s=60.0
    )
    assert [evidence.verdict for evidence in inspection.scanners] == ["failed"] * 2
    assert all(evidence.issues for evidence in inspection.scanners)


@pytest.mark.parametrize(
    ("issue", "verdict"),
    [("dangerous: posix.system", "dangerous"), ("This model is clean.", "failed"), ("\x1b[2Ja: b", "failed")],
)
def test_of_a_scanner_names_are_believed_and_no_sentence(
    issue: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "name": "modelaudit",
        "version": None,
        "verdict": "dangerous",
        "num_issues": 40,
        "issues": [issue] * 40,
    }
    stand_in(tmp_path, monkeypatch, f"print({json.dumps(said)!r})")
    for evidence in scanners.scan(tmp_path / "upload", is_pickle=True, time_limit_s=60.0):
        assert evidence.name in NAMES
        assert evidence.verdict == verdict
        assert (evidence.num_issues, len(evidence.issues)) == ((40, 20) if verdict == "dangerous" else (0, 1))


def test_scanners_start_when_the_canonical_weights_are_written_and_nothing_else_is_read(
    tmp_path: Path, declared: DeclaredOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are programs of others with the child's rights: what they do to the upload changes no weights."""
    write_open_clip(tmp_path / "upload")
    expected = inspect_upload(tmp_path / "upload", tmp_path / "1", declared=declared, filename="x")
    program = "import pathlib, sys\npathlib.Path(sys.argv[-2]).write_bytes(bytes(1000))\n"
    stand_in(tmp_path, monkeypatch, program)
    found = inspect_upload(
        tmp_path / "upload", tmp_path / "2", declared=declared, filename="x", scanner_time_limit_s=20.0
    )
    assert (tmp_path / "upload").read_bytes() == bytes(1000)
    assert (found.upload_sha256, found.size_bytes) == (expected.upload_sha256, expected.size_bytes)
    assert found.weights_sha256 == expected.weights_sha256
    assert load_canonical(tmp_path / "2").weights_sha256 == expected.weights_sha256


def test_an_archive_whose_ninth_byte_is_a_brace_is_no_safetensors_file(tmp_path: Path) -> None:
    disguised = tmp_path / "clip.pt"
    disguised.write_bytes(b"PK\x03\x04\x14\x00\x00\x00{" + bytes(64))
    assert not scanners.is_safetensors(disguised)
    real = tmp_path / "clip.safetensors"
    write_open_clip_safetensors(real)
    assert scanners.is_safetensors(real)
