"""The operator's key: how it is made, and with which sentence a key that cannot be used is refused."""

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from app.settings import SigningSettings
from worker.signing_keys import PRIVATE_NAME, PUBLIC_NAME, SigningKeyUnusable, load_private_key, main, new_key
from worker.wiring import signer_of


def test_a_new_key_is_private_and_its_id_is_the_digest_of_its_public_key(tmp_path: Path) -> None:
    path, key_id = new_key(tmp_path / "keys")
    assert path == tmp_path / "keys" / PRIVATE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    public = load_pem_public_key((tmp_path / "keys" / PUBLIC_NAME).read_bytes())
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key_id == hashlib.sha256(der).hexdigest()
    assert load_private_key(path, None).public_key() == public


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    path, _ = new_key(tmp_path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        new_key(tmp_path)
    assert path.read_bytes() == before


def test_a_service_makes_its_key_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["ensure", str(tmp_path / "keys")]) == 0
    first, second = capsys.readouterr().out.split("private key")[1:]
    assert first == second
    (tmp_path / "keys" / PRIVATE_NAME).write_text("no key")
    assert main(["ensure", str(tmp_path / "keys")]) == 1


def test_a_key_with_a_password_opens_with_that_and_no_other(tmp_path: Path) -> None:
    path, _ = new_key(tmp_path, b"right")
    assert b"ENCRYPTED" in path.read_bytes()
    load_private_key(path, b"right")
    for password in (b"wrong", None):
        with pytest.raises(SigningKeyUnusable, match="CLEANCLIP_SIGNING__KEY_PASSWORD"):
            load_private_key(path, password)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path, _ = new_key(tmp_path)
    path.chmod(mode)
    with pytest.raises(SigningKeyUnusable, match="chmod 600"):
        load_private_key(path, None)


@pytest.mark.parametrize("kind", ["rsa", "p384", "public", "nonsense", "empty", "folder", "missing"])
def test_what_is_no_p256_key_is_refused_with_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(_content(kind))
        path.chmod(0o600)
    with pytest.raises(SigningKeyUnusable) as refused:
        signer_of(SigningSettings(key_file=path)) if kind == "missing" else load_private_key(path, None)
    assert str(path) in str(refused.value) or "pip install" in str(refused.value)


def _content(kind: str) -> bytes:
    ours = ec.generate_private_key(ec.SECP256R1())
    if kind == "public":
        return ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if kind in {"nonsense", "empty"}:
        return b"-----BEGIN PRIVATE KEY-----\nnope\n" if kind == "nonsense" else b""
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_no_key_configured_means_no_signer() -> None:
    assert signer_of(SigningSettings()) is None


def test_an_empty_path_is_no_way_to_say_that_there_is_no_key() -> None:
    with pytest.raises(SigningKeyUnusable):
        signer_of(SigningSettings(key_file=Path()))


def test_the_command_makes_a_key_and_shows_its_public_part_and_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", str(tmp_path)]) == 0
    made = capsys.readouterr().out
    assert "PRIVATE" not in made
    for name in (PRIVATE_NAME, PUBLIC_NAME):
        assert main(["show", str(tmp_path / name)]) == 0
        shown = capsys.readouterr().out
        assert "BEGIN PUBLIC KEY" in shown
        assert "PRIVATE" not in shown
        assert shown.splitlines()[-1] == made.splitlines()[-1], "the same id"
    assert main(["new", str(tmp_path)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "nowhere")]) == 1
