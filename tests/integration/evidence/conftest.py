"""Keys, and folders as customers download them, signed and unsigned; each test gets its own copy."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="what signs is in the worker's environment only")

from cleanclip.evidence import public_keys
from cleanclip.evidence.public_keys import PublicKey
from tests.fixtures.evidence import packed
from worker.publishing.signing import ModelSigner
from worker.signing_keys import PUBLIC_NAME, new_key


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operator's: signing-key.pem and signing-key.pub.pem."""
    folder = tmp_path_factory.mktemp("operator")
    new_key(folder)
    return folder


@pytest.fixture(scope="session")
def signer(key_folder: Path) -> ModelSigner:
    return ModelSigner(key_folder / "signing-key.pem")


@pytest.fixture(scope="session")
def public_key(key_folder: Path) -> PublicKey:
    return public_keys.load(key_folder / PUBLIC_NAME)


@pytest.fixture(scope="session")
def _signed_once(tmp_path_factory: pytest.TempPathFactory, signer: ModelSigner) -> Path:
    return packed(tmp_path_factory.mktemp("signed"), signer=signer)


@pytest.fixture(scope="session")
def _unsigned_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("unsigned"))


@pytest.fixture
def signed(_signed_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_signed_once, tmp_path / "signed"))


@pytest.fixture
def unsigned(_unsigned_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_unsigned_once, tmp_path / "unsigned"))
