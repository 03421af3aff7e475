"""Folders made to harm whoever checks them: refused in a moment, and nothing outside is looked at."""

import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.command.verify import plain_text
from cleanclip.errors import Unreadable
from cleanclip.evidence import kinds, public_keys, scans, signature, vetted_files, vettings
from cleanclip.evidence.claims import sections
from cleanclip.evidence.reading import Malformed
from cleanclip.evidence.verification import Verification, verify
from tests.fixtures.evidence import edit_json, sum_again

DIGEST = "0" * 64
TERABYTE = 10**12


def messages(found: Verification) -> str:
    return "\n".join(str(one) for one in found.findings)


@pytest.mark.parametrize("name", ["model.safetensors", "report.json", "statement.json", "SHA256SUMS", "x"])
def test_a_link_is_not_followed(unsigned: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    if (unsigned / name).exists():
        (unsigned / name).rename(outside)  # even if it leads to the right bytes
    (unsigned / name).symlink_to(outside)
    found = verify(unsigned)
    assert f"{name}: is a link; it was not followed" in messages(found)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_pipes_folders_and_devices_are_named_and_never_opened(
    unsigned: Path, make: Callable[[Path], None]
) -> None:
    (unsigned / "report.json").unlink()
    make(unsigned / "report.json")
    assert not verify(unsigned).holds


@pytest.mark.parametrize("name", ["model.safetensors", "more.bin", "report.json", "SHA256SUMS", "model.sig"])
def test_a_file_of_a_terabyte_is_refused_without_being_read(unsigned: Path, name: str) -> None:
    with (unsigned / name).open("wb") as file:
        file.truncate(TERABYTE)
    began = time.monotonic()
    assert name in messages(verify(unsigned))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "content",
    [
        f"{DIGEST}  ../../etc/passwd\n".encode(),
        f"{DIGEST}  /etc/passwd\n".encode(),
        f"{DIGEST}  a/b\n".encode(),
        f"{DIGEST}  report.json\r\n".encode(),
        f"{DIGEST.upper()}  report.json".encode(),
        f"{DIGEST} *report.json\n".encode(),
        f"\\{DIGEST}  report.json\n".encode(),
        f"{DIGEST}  report.json\n{DIGEST}  report.json\n".encode(),
        f"{DIGEST}  \xff\xfe\n".encode("latin-1"),
        b"\x00" * 100,
        b"\n",
        b"".join(b"%064x  f%d\n" % (number, number) for number in range(100_000)),
    ],
    ids=range(12),
)
def test_a_list_of_digests_in_any_other_form_is_refused(unsigned: Path, content: bytes) -> None:
    (unsigned / "SHA256SUMS").write_bytes(content)
    found = verify(unsigned)
    assert any(one.file == "SHA256SUMS" for one in found.findings), messages(found)


DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe{}",
        b"null",
        b"[]",
        DEEP,
        b'{"a": ' * 100_000,
        b'{"kind": "sanitize", "kind": "audit"}',
        b'{"seed": NaN}',
        b'{"seed": 1e999}',
        b'{"seed": ' + b"9" * 100_000 + b"}",
        b'"' + b"\\ud800" * 10 + b'"',
    ],
    ids=range(11),
)
@pytest.mark.parametrize("name", ["report.json", "statement.json", "training_curve.json", "model.sig"])
def test_json_that_is_none_is_refused(unsigned: Path, name: str, content: bytes) -> None:
    (unsigned / name).write_bytes(content)
    found = verify(unsigned)
    assert any(one.file == name for one in found.findings), messages(found)
    assert plain_text(found)


MANY = b"[" + b"[]," * (32 * 2**20 // 3 - 3) + b"0]"


@pytest.mark.parametrize("name", ["report.json", "statement.json", "training_curve.json", "config.json"])
def test_a_file_of_ten_million_parts_is_refused_before_any_is_made(unsigned: Path, name: str) -> None:
    (unsigned / name).write_bytes(MANY)
    tracemalloc.start()
    found = verify(unsigned)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"{name}: cannot be read: it has more than" in messages(found)
    assert peak < 100 * 2**20, "a fortieth of what its values take"


@pytest.mark.parametrize(
    "parse",
    [kinds.parse, scans.parse, vettings.parse, scans.parse_null, vetted_files.parse_list, signature.parse],
)
@pytest.mark.parametrize("head", [b"", b'{"kind": "scan", "of": ', b'{"kind": "vet", "of": '])
def test_no_file_of_a_folder_is_parsed_that_has_millions_of_parts(
    parse: Callable[[bytes], object], head: bytes
) -> None:
    content = head + MANY + b"}" * bool(head)
    tracemalloc.start()
    with pytest.raises(Malformed, match="it has more than"):
        parse(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.parametrize("value", ["1", None, True, [], {}, -1, 2**60, 1e300])
@pytest.mark.parametrize("name", ["n", "successes", "value", "low"])
def test_figures_of_a_wrong_kind_are_findings_and_no_crash(unsigned: Path, name: str, value: object) -> None:
    edit_json(unsigned / "report.json", lambda report: report["before"]["ca"].update({name: value}))
    sum_again(unsigned)
    assert not verify(unsigned).holds


def test_a_thousand_files_are_too_many(unsigned: Path) -> None:
    for number in range(1_000):
        (unsigned / f"f{number}").touch()
    found = verify(unsigned)
    assert "holds more than 256 things" in messages(found)
    assert len(found.findings) < 2000


def test_names_and_texts_cannot_steer_a_terminal(unsigned: Path) -> None:
    name = "\x1b[31m\u202egpj.exe\n"

    def called(statement: Any) -> None:
        origin = json.loads((unsigned / "report.json").read_bytes())["origin"]
        statement["predicate"]["observed"]["checkpoint"].update(filename=name)
        statement["predicate"]["claimed"]["sections"] |= sections({"origin": origin})

    edit_json(unsigned / "report.json", lambda report: report["origin"].update(filename=name))
    edit_json(unsigned / "statement.json", called)
    sum_again(unsigned)
    text = plain_text(verify(unsigned))
    assert "made them from the upload" in text
    assert not {"\x1b", "\u202e"} & set(text)
    (unsigned / "\x1b[2Jgone\n\u202etxt").touch()
    os.mkdir(os.fsencode(unsigned) + b"/\xff\xfe")
    text = plain_text(verify(unsigned))
    assert "gone" in text
    assert not {"\x1b", "\u202e"} & set(text)


def test_checking_a_large_file_takes_little_memory(unsigned: Path) -> None:
    with (unsigned / "model.safetensors").open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    sum_again_without_reading(unsigned)
    tracemalloc.start()
    found = verify(unsigned)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "model.safetensors: is not the file" in messages(found), "it was read"
    assert peak < 20 * 1024 * 1024


def sum_again_without_reading(folder: Path) -> None:
    def restate(statement: dict[str, object]) -> None:
        for one in statement["subject"]:  # type: ignore[attr-defined]
            one["annotations"]["size_bytes"] = (folder / one["name"]).stat().st_size

    edit_json(folder / "statement.json", restate)


def test_what_cannot_be_read_is_told_apart_from_what_is_wrong(unsigned: Path, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        verify(tmp_path / "nowhere")
    with pytest.raises(Unreadable, match="cannot be read"):
        verify(unsigned / "report.json")
    with pytest.raises(Unreadable, match="cannot be read"):
        verify(unsigned, input_file=tmp_path / "nowhere")


def test_keys_that_are_none_are_refused_with_a_sentence(key_folder: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    with pytest.raises(Unreadable, match="private key"):
        public_keys.load(key_folder / "signing-key.pem")
    others = {
        "ed25519.pem": ed25519.Ed25519PrivateKey.generate().public_key(),
        "p384.pem": ec.generate_private_key(ec.SECP384R1()).public_key(),
    }
    for name, key in others.items():
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / name).write_bytes(pem)
        with pytest.raises(Unreadable, match="P-256"):
            public_keys.load(tmp_path / name)
    (tmp_path / "nonsense.pem").write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(Unreadable, match="not a public key"):
        public_keys.load(tmp_path / "nonsense.pem")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Unreadable, match="holds 0"):
        public_keys.load_folder(tmp_path / "empty")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda claimed: claimed.update(canonical_of=DIGEST), "checkpoint.upload_sha256"),
        (lambda claimed: claimed["data"][1].update(num_samples=7), "data[1].num_samples"),
        (lambda claimed: claimed["sections"].update(drift=DIGEST), "drift"),
        (lambda claimed: claimed["sections"].pop("warnings"), "warnings"),
        (lambda claimed: claimed["verdict"].update(reason="Clean."), "verdict"),
    ],
)
def test_what_a_statement_repeats_as_claimed_is_what_the_report_says(
    unsigned: Path, change: Callable[[dict[str, Any]], None], where: str
) -> None:
    assert verify(unsigned).holds
    edit_json(unsigned / "statement.json", lambda s: change(s["predicate"]["claimed"]))
    sum_again(unsigned)
    assert where in [one.where for one in verify(unsigned).findings]


def test_a_statement_may_gain_fields_but_lose_none(unsigned: Path) -> None:
    edit_json(unsigned / "statement.json", lambda s: s["predicate"]["observed"].update(later=1))
    sum_again(unsigned)
    assert verify(unsigned).holds
    statement = json.loads((unsigned / "statement.json").read_bytes())
    parts = [(part, name) for part, said in statement["predicate"].items() for name in said]
    for part, name in parts:
        if name != "later":
            less = {key: value for key, value in statement["predicate"][part].items() if key != name}
            predicate = statement["predicate"] | {part: less}
            (unsigned / "statement.json").write_text(json.dumps(statement | {"predicate": predicate}))
            assert "is not a statement about a job" in messages(verify(unsigned)), name
