"""Operators add nulls that a key signed; the service shows which, and takes no other where a key is given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.main import main
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.schemas.nulls import NullOut
from app.settings import Settings
from app.storage.s3 import S3Store
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.vocabulary.null_set import dump_null, load_null, sealed
from cleanclip.vocabulary.scan_options import ScanOptions
from tests.fixtures.scans import a_null
from worker import sign_null
from worker.signing_keys import PRIVATE_NAME, PUBLIC_NAME, new_key

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def _environment(service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service_environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def signed_null(key_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "null.json"
    path.write_bytes(dump_null(a_null(ScanOptions(), ("zero", "one", "two"), images_sha256="1" * 64)))
    assert sign_null.main([str(path), "--key", str(key_folder / PRIVATE_NAME)]) == 0
    return path


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["nulls", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_null_that_the_key_signed_is_added_and_shown_with_the_key(
    signed_null: Path,
    key_folder: Path,
    public_key: PublicKey,
    service_settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    assert main(["add-null", str(signed_null), "--key", str(key_folder / PUBLIC_NAME)]) == 0
    said = capsys.readouterr()
    assert f"The key {public_key.sha256} vouches for it." in said.err
    null_id = said.out.strip()
    try:
        [row] = listed(capsys)
        assert (row["id"], row["signing_key_sha256"]) == (null_id, public_key.sha256)
        database = Database(build_engine(service_settings.database.url, role=Role.OPERATOR))
        with database.unit_of_work() as unit:
            shown = NullOut.of(unit.nulls.get(null_id))
        database.dispose()
        assert shown.signing_key_sha256 == public_key.sha256
    finally:
        assert main(["remove-null", null_id]) == 0


def test_without_a_key_it_says_that_no_signature_was_checked(
    signed_null: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["add-null", str(signed_null)]) == 0
    said = capsys.readouterr()
    try:
        assert "No signature was checked." in said.err
        [row] = listed(capsys)
        assert row["signing_key_sha256"] is None
    finally:
        assert main(["remove-null", said.out.strip()]) == 0


@pytest.mark.parametrize("wrong", ["edited", "another key", "no signature", "damaged", "no key"])
def test_any_other_is_refused_and_nothing_is_added(
    *,
    signed_null: Path,
    key_folder: Path,
    tmp_path: Path,
    object_store: S3Store,
    capsys: pytest.CaptureFixture[str],
    wrong: str,
) -> None:
    key, signature = key_folder / PUBLIC_NAME, tmp_path / "null.json.sig"
    if wrong == "edited":
        null = load_null(signed_null.read_bytes())
        signed_null.write_bytes(dump_null(sealed(replace(null, models=null.models[:-1]))))
    elif wrong == "another key":
        new_key(tmp_path / "others")
        key = tmp_path / "others" / PUBLIC_NAME
    elif wrong == "no signature":
        signature.unlink()
    elif wrong == "damaged":
        signature.write_bytes(signature.read_bytes()[:-9])
    checked_by = ["--signature", str(signature)] if wrong == "no key" else ["--key", str(key)]
    assert main(["add-null", str(signed_null), *checked_by]) == 1
    assert "add-null: The null is not verified and was not added." in capsys.readouterr().err
    assert listed(capsys) == []
    assert [*object_store.list_prefix("nulls/")] == []
