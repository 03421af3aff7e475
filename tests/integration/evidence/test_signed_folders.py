"""Signed by the worker, read by three: the client, the format's own library, and thirty plain lines below."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import model_signing
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cleanclip.evidence import public_keys, signature, sums
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.evidence.reading import Malformed
from cleanclip.evidence.verification import Verification, verify
from tests.fixtures.evidence import JOB_ID, UPLOAD, edit_json, packed, sum_again
from worker.publishing.signing import ModelSigner
from worker.signing_keys import PUBLIC_NAME, new_key

NAMES = (
    "SHA256SUMS",
    "config.json",
    "model.safetensors",
    "model.sig",
    "model.sig.pub.pem",
    "report.html",
    "report.json",
    "report.md",
    "statement.json",
    "training_curve.json",
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_independently(folder: Path, public_pem: bytes) -> dict[str, Any]:
    """DSSE and in-toto by hand: what was signed, by the holder of that key. Raises InvalidSignature."""
    envelope = json.loads((folder / "model.sig").read_text())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    public_key = load_pem_public_key(public_pem)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), message, ec.ECDSA(hashes.SHA256()))
    read: dict[str, Any] = json.loads(payload)
    return read


def reported(found: Verification) -> list[str]:
    return [str(one) for one in found.findings]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_signed_folder_holds_and_says_who_signed_what_was_made_from_what(
    signed: Path, public_key: PublicKey, tmp_path: Path
) -> None:
    original = tmp_path / "original.pt"
    original.write_bytes(UPLOAD)
    found = verify(signed, keys=[public_key], input_file=original)
    assert reported(found) == []
    assert (found.signature, found.key_sha256, found.input) == ("signed", public_key.sha256, True)
    assert found.statement is not None
    facts = found.statement.predicate.observed
    assert (facts.job.id, facts.job.attempt, facts.signing_key_sha256) == (JOB_ID, 2, public_key.sha256)
    assert facts.checkpoint.upload.digest.sha256 == hashlib.sha256(UPLOAD).hexdigest()
    claimed = found.statement.predicate.claimed
    assert claimed.canonical_of == hashlib.sha256(UPLOAD).hexdigest()
    assert [one.num_samples is None for one in claimed.data] == [False] * 3
    assert [one.role for one in facts.data] == ["pairs", "labelled", "retrieval"]


def test_an_independent_reader_finds_every_file_but_the_signature_signed(
    signed: Path, key_folder: Path
) -> None:
    read = read_independently(signed, (key_folder / PUBLIC_NAME).read_bytes())
    assert read["_type"] == "https://in-toto.io/Statement/v1"
    vouched = {one["name"]: one["digest"] for one in read["predicate"]["resources"]}
    assert vouched == {path.name: sha256(path) for path in signed.iterdir() if path.name != "model.sig"}
    assert set(vouched) == set(NAMES) - {"model.sig"}


def test_the_formats_own_library_accepts_the_folder_and_refuses_it_changed(
    signed: Path, key_folder: Path
) -> None:
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=key_folder / PUBLIC_NAME)
    config.verify(signed, signed / "model.sig")
    flip(signed / "report.json", 40)
    with pytest.raises(ValueError, match=r"report\.json"):
        config.verify(signed, signed / "model.sig")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_signed", [True, False])
def test_one_byte_flipped_in_a_file_is_noticed_wherever_it_is(
    signed: Path, unsigned: Path, public_key: PublicKey, name: str, is_signed: bool
) -> None:
    folder = signed if is_signed else unsigned
    if name.startswith("model.sig") and not is_signed:
        pytest.skip("an unsigned folder has none")
    size = (folder / name).stat().st_size
    for at in {0, 1, size // 3, size // 2, size - 2, size - 1}:
        flip(folder / name, at)
        found = verify(folder, keys=[public_key] if is_signed else [])
        assert not found.holds, at
        assert any(name in one for one in reported(found)), (at, reported(found))
        assert found.signature != "signed"
        assert not verify(folder).holds, f"nobody needs a key to notice that byte {at} was changed"
        flip(folder / name, at)
    assert verify(folder).holds, "each flip was taken back"


def test_no_bit_of_a_signature_can_be_flipped(signed: Path, public_key: PublicKey) -> None:
    content = (signed / "model.sig").read_bytes()
    files = {path.name: sha256(path) for path in signed.iterdir()}
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        try:
            read = signature.parse(bytes(changed))
            is_refused = read.key_of([public_key]) is None or bool(list(read.compare(files)))
        except Malformed:
            is_refused = True
        assert is_refused, (at, changed[max(0, at - 20) : at + 20])


@pytest.mark.parametrize("place", ["hint", "sig"])
def test_a_changed_signature_is_noticed_without_a_key(signed: Path, place: str) -> None:
    content = (signed / "model.sig").read_bytes()
    start = content.index(f'"{place}":"'.encode()) + len(place) + 4
    for at in (start, start + 30, start + 60):
        flip(signed / "model.sig", at)
        found = verify(signed)
        assert (found.signature, found.holds) == ("invalid", False), at
        flip(signed / "model.sig", at)
    assert verify(signed).signature == "unchecked"


def test_another_spelling_of_the_same_signature_says_the_same(signed: Path, public_key: PublicKey) -> None:
    """As signing.md says: blanks, an escape, and the twin (r, n - s) that anybody can work out."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    path = signed / "model.sig"
    bundle = json.loads(path.read_bytes())
    made = bundle["dsseEnvelope"]["signatures"][0]
    r, s = decode_dss_signature(base64.b64decode(made["sig"]))
    made["sig"] = base64.b64encode(encode_dss_signature(r, order - s)).decode()
    path.write_text(json.dumps(bundle, indent=2).replace('"mediaType"', '"\\u006dediaType"') + "\n")
    found = verify(signed, keys=[public_key])
    assert (reported(found), found.signature, found.key_sha256) == ([], "signed", public_key.sha256)
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key.path).verify(
        signed, path
    )


def test_another_key_beside_the_files_is_noticed_even_if_every_digest_is_made_anew(
    signed: Path, tmp_path: Path
) -> None:
    new_key(tmp_path / "forger")
    shutil.copy(tmp_path / "forger" / PUBLIC_NAME, signed / "model.sig.pub.pem")
    sum_again(signed)
    assert "model.sig: was made with a key that is not the one in model.sig.pub.pem" in reported(
        verify(signed)
    )
    (signed / "model.sig.pub.pem").unlink()
    sum_again(signed)
    assert any(
        one.startswith("model.sig.pub.pem: is missing; without it") for one in reported(verify(signed))
    )


def test_a_key_beside_files_that_nobody_signed_is_no_signature(unsigned: Path, public_key: PublicKey) -> None:
    shutil.copy(public_key.path, unsigned / "model.sig.pub.pem")
    sum_again(unsigned)
    assert reported(verify(unsigned)) == ["model.sig.pub.pem: belongs to a signature; none is there"]


def test_no_bit_of_the_list_of_digests_can_be_flipped(unsigned: Path) -> None:
    content = (unsigned / "SHA256SUMS").read_bytes()
    files = {path.name: sha256(path) for path in unsigned.iterdir()}
    assert list(sums.compare(sums.parse(content), files)) == []
    for at in range(8 * len(content)):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        try:
            is_refused = bool(list(sums.compare(sums.parse(bytes(changed)), files)))
        except Malformed:
            is_refused = True
        assert is_refused, at


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_is_named(signed: Path, public_key: PublicKey, name: str) -> None:
    (signed / name).unlink()
    found = verify(signed, keys=[public_key])
    assert any(one.file == name for one in found.findings), reported(found)


def test_a_signature_taken_away_is_missed_even_without_a_key(signed: Path) -> None:
    (signed / "model.sig").unlink()
    assert [one.file for one in verify(signed).findings] == ["model.sig"]


@pytest.mark.parametrize("name", ["notes.txt", ".gitattributes", ".git"])
def test_a_file_that_was_added_is_named(signed: Path, public_key: PublicKey, name: str) -> None:
    (signed / name).write_text("x")
    found = verify(signed, keys=[public_key])
    assert {one.file for one in found.findings} == {name}


def test_the_files_of_another_job_do_not_fit_even_if_every_digest_is_made_anew(
    signed: Path, public_key: PublicKey, signer: ModelSigner, tmp_path: Path
) -> None:
    other = packed(tmp_path / "other", signer=signer, filename="another.pt")
    shutil.copy(other / "statement.json", signed / "statement.json")
    assert "is not the file that was signed" in "".join(reported(verify(signed, keys=[public_key])))
    sum_again(signed)
    found = verify(signed, keys=[public_key])
    assert {one.file for one in found.findings} == {"report.json", "statement.json", "SHA256SUMS"}
    assert found.signature == "invalid"
    shutil.copy(other / "model.sig", signed / "model.sig")
    assert not verify(signed, keys=[public_key]).holds


def test_another_key_is_not_trusted_and_a_former_one_is_as_long_as_it_is_given(
    signed: Path, public_key: PublicKey, tmp_path: Path
) -> None:
    new_key(tmp_path / "new")
    current = public_keys.load(tmp_path / "new" / PUBLIC_NAME)
    found = verify(signed, keys=[current])
    assert reported(found) == ["model.sig: was made with a key that is not among those given"]
    assert found.signature == "invalid"
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    shutil.copy(public_key.path, trusted / "2025.pem")
    shutil.copy(current.path, trusted / "2026.pem")
    rotated = packed(tmp_path / "rotated", signer=ModelSigner(tmp_path / "new" / "signing-key.pem"))
    for folder, key in ((signed, public_key), (rotated, current)):
        found = verify(folder, keys=public_keys.load_folder(trusted))
        assert (found.holds, found.signature, found.key_sha256) == (True, "signed", key.sha256)


def test_a_forger_who_signs_with_a_key_of_his_own_convinces_nobody(
    signed: Path, public_key: PublicKey, tmp_path: Path
) -> None:
    new_key(tmp_path / "forger")
    forger = ModelSigner(tmp_path / "forger" / "signing-key.pem")
    (signed / "model.sig").unlink()
    edit_json(
        signed / "statement.json",
        lambda s: s["predicate"]["observed"].update(signing_key_sha256=forger.key_sha256),
    )
    sum_again(signed)
    forger.sign(signed, {path.name: sha256(path) for path in signed.iterdir()})
    assert verify(signed, keys=[public_keys.load(tmp_path / "forger" / PUBLIC_NAME)]).holds
    assert verify(signed, keys=[public_key]).signature == "invalid"
    # And with the trusted key's name on it: the arithmetic tells.
    edit = json.loads((signed / "model.sig").read_text())
    edit["verificationMaterial"]["publicKey"]["hint"] = public_key.hint
    (signed / "model.sig").write_text(json.dumps(edit))
    assert f"model.sig: does not fit the key {public_key.sha256} that it names" in reported(
        verify(signed, keys=[public_key])
    )
    with pytest.raises(InvalidSignature):
        read_independently(signed, public_key.path.read_bytes())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_signature_is_no_signature(signed: Path, public_key: PublicKey, share: float) -> None:
    content = (signed / "model.sig").read_bytes()
    (signed / "model.sig").write_bytes(content[: int(share * len(content))])
    found = verify(signed, keys=[public_key])
    assert found.signature == "invalid"
    assert [one.file for one in found.findings] == ["model.sig"]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["serialization"]["ignore_paths"].append("report.json"),
        lambda p: p["serialization"].update(allow_symlinks=True),
        lambda p: p["serialization"].update(hash_type="blake2"),
        lambda p: p["resources"].pop(),
        lambda p: p["resources"].append(p["resources"][0]),
        lambda p: p.update(more=1),
    ],
)
def test_what_the_format_allows_beyond_whole_folders_is_refused_even_if_signed(
    signed: Path, signer: ModelSigner, key_folder: Path, public_key: PublicKey, change: Any
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    bundle = json.loads((signed / "model.sig").read_text())
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(payload["predicate"])
    resources = payload["predicate"]["resources"]
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    payload["subject"][0]["digest"]["sha256"] = root
    raw = json.dumps(payload).encode()
    kind = bundle["dsseEnvelope"]["payloadType"]
    private = load_pem_private_key((key_folder / "signing-key.pem").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    message = f"DSSEv1 {len(kind)} {kind} {len(raw)} ".encode() + raw
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(raw).decode()
    made = private.sign(message, ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(made).decode()
    (signed / "model.sig").write_text(json.dumps(bundle, separators=(",", ":")))
    read_independently(signed, public_key.path.read_bytes())
    found = verify(signed, keys=[public_key])
    assert found.signature == "invalid"


def test_the_original_is_recognised_and_another_file_is_not(signed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(UPLOAD[:-1] + b"!")
    found = verify(signed, input_file=other)
    assert found.input is False
    assert reported(found) == [f"{other}: is not the input in the statement: size or SHA-256 differ"]
