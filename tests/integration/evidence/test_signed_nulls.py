"""Null sets with real signatures: who vouches for one, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.evidence.public_keys import PublicKey
from cleanclip.vocabulary.null_set import NullSet, dump_null, load_null, sealed
from cleanclip.vocabulary.scan_options import ScanOptions
from sanitizer.__main__ import main
from tests.fixtures.scans import a_null
from worker import sign_null
from worker.signing_keys import PRIVATE_NAME, PUBLIC_NAME, new_key

REFUSED = 3


@pytest.fixture
def null() -> NullSet:
    return a_null(ScanOptions(), ("zero", "one", "two"), images_sha256="1" * 64)


@pytest.fixture
def signed_null(null: NullSet, key_folder: Path, tmp_path: Path) -> Path:
    """null.json, with null.json.sig beside it."""
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(null))
    assert sign_null.main([str(path), "--key", str(key_folder / PRIVATE_NAME)]) == 0
    return path


def edited(path: Path) -> None:
    """As an attacker does it: every statistic changed, and the digest computed again."""
    null = load_null(path.read_bytes())
    models = [
        replace(model, patterns=tuple(replace(one, asr=0.99) for one in model.patterns))
        for model in null.models
    ]
    path.write_bytes(dump_null(sealed(replace(null, models=tuple(models)))))
    load_null(path.read_bytes())


def verify(path: Path, key: Path, *further: str) -> int:
    return main(["null", "verify", str(path), "--key", str(key), *further])


def test_a_signed_null_is_verified_and_the_sentence_names_key_and_digest(
    signed_null: Path,
    null: NullSet,
    key_folder: Path,
    public_key: PublicKey,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    assert verify(signed_null, key_folder / PUBLIC_NAME) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert f"The key {public_key.sha256} vouches for the null set 'stand-ins'" in line
    assert null.sha256 in line


def test_a_signature_may_lie_elsewhere(signed_null: Path, key_folder: Path, tmp_path: Path) -> None:
    elsewhere = (tmp_path / "null.json.sig").rename(tmp_path / "another name")
    assert verify(signed_null, key_folder / PUBLIC_NAME) == REFUSED
    assert verify(signed_null, key_folder / PUBLIC_NAME, "--signature", str(elsewhere)) == 0


def test_an_edited_null_with_a_digest_of_its_own_is_refused(
    signed_null: Path, key_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(signed_null)
    assert main(["null", "show", str(signed_null)]) == 0, "its own digest shows nothing"
    assert verify(signed_null, key_folder / PUBLIC_NAME) == REFUSED
    reported = " ".join(capsys.readouterr().err.split())
    assert "null.json" in reported
    assert "null_not_verified" in reported


def test_another_key_is_refused(
    signed_null: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_key(tmp_path / "others")
    assert verify(signed_null, tmp_path / "others" / PUBLIC_NAME) == REFUSED
    assert "was made with another key" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("damage", ["cut off", "no JSON", "signature", "payload", "hint of the key alone"])
def test_a_damaged_signature_is_refused(
    signed_null: Path, key_folder: Path, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "null.json.sig"
    bundle = json.loads(path.read_bytes())
    envelope = bundle["dsseEnvelope"]
    if damage == "signature":
        sig = envelope["signatures"][0]["sig"]
        envelope["signatures"][0]["sig"] = sig[:20] + ("A" if sig[20] != "A" else "B") + sig[21:]
    elif damage == "payload":
        payload = envelope["payload"]
        envelope["payload"] = payload[:60] + ("A" if payload[60] != "A" else "B") + payload[61:]
    elif damage == "hint of the key alone":
        # What someone without the private key can do: sign with a key of their own, and name the operator's.
        new_key(tmp_path / "others")
        hint = bundle["verificationMaterial"]
        assert sign_null.main([str(signed_null), "--key", str(tmp_path / "others" / PRIVATE_NAME)]) == 0
        bundle = json.loads(path.read_bytes()) | {"verificationMaterial": hint}
    content = json.dumps(bundle).encode()
    path.write_bytes({"cut off": content[:300], "no JSON": b"signed by me"}.get(damage, content))
    assert verify(signed_null, key_folder / PUBLIC_NAME) == REFUSED


@pytest.mark.parametrize("missing", ["null.json.sig", "null.json", "the key"])
def test_what_is_missing_is_named(
    signed_null: Path,
    key_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    key = key_folder / PUBLIC_NAME
    if missing == "the key":
        key = tmp_path / "no.pem"
    else:
        (tmp_path / missing).unlink()
    assert verify(signed_null, key) == REFUSED
    assert (key.name if missing == "the key" else missing) in "".join(capsys.readouterr().err.split())


def test_a_renamed_null_and_a_signature_of_a_whole_job_are_refused(
    signed_null: Path,
    signed: Path,
    key_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    renamed = signed_null.rename(tmp_path / "other.json")
    beside = ("--signature", str(tmp_path / "null.json.sig"))
    assert verify(renamed, key_folder / PUBLIC_NAME, *beside) == REFUSED
    assert "is not of a file 'other.json' alone, but of 'null.json'" in " ".join(
        capsys.readouterr().err.split()
    )
    assert verify(renamed, key_folder / PUBLIC_NAME, "--signature", str(signed / "model.sig")) == REFUSED


def test_a_private_key_does_not_verify(
    signed_null: Path, key_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(signed_null, key_folder / PRIVATE_NAME) == REFUSED
    assert "is a private key" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["scan", "sanitize"])
def test_a_scan_refuses_a_null_that_its_key_did_not_sign(
    signed_null: Path, key_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    scan = [command, str(tmp_path / "clip.pt"), "--labelled", str(tmp_path)]
    if command == "sanitize":
        scan += ["--pairs", str(tmp_path), "--out", str(tmp_path / "out")]
    key = ["--null-key", str(key_folder / PUBLIC_NAME)]
    assert main([*scan, "--null", str(signed_null), *key]) != 0
    assert "vouches for the null set" in capsys.readouterr().err, "it goes on; there is no clip.pt"
    edited(signed_null)
    assert main([*scan, "--null", str(signed_null), *key]) == REFUSED
    assert "its SHA-256 differs" in " ".join(capsys.readouterr().err.split())
    assert main([*scan, *key]) == 2, "a key without a null"
    if command == "sanitize":
        assert main([*scan, "--null", str(signed_null), "--no-scan", "--target", "one"]) == 2, "no scan"
        assert "give --scan as well" in " ".join(capsys.readouterr().err.split())


def test_only_a_whole_null_is_signed(
    null: NullSet, key_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(replace(null, name="another")))
    assert sign_null.main([str(path), "--key", str(key_folder / PRIVATE_NAME)]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "null.json.sig").exists()


def test_a_key_with_a_password_signs(null: NullSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_key(tmp_path / "keys", b"open")
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(null))
    order = [str(path), "--key", str(tmp_path / "keys" / PRIVATE_NAME)]
    assert sign_null.main(order) == 1
    monkeypatch.setenv("CLEANCLIP_SIGNING__KEY_PASSWORD", "open")
    assert sign_null.main(order) == 0
    assert verify(path, tmp_path / "keys" / PUBLIC_NAME) == 0
