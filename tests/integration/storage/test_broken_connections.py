"""A download goes on where its connection broke, and never mixes two versions of an object."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.settings import StorageSettings
from app.storage.errors import PreconditionFailed, StoreUnavailable
from app.storage.s3 import S3Store
from tests.fixtures.store_proxy import CuttingProxy

pytestmark = pytest.mark.stack

MIB = 1024 * 1024
BODY = random.Random(0).randbytes(9 * MIB)


@pytest.fixture
def proxy(storage_settings: StorageSettings) -> Iterator[CuttingProxy]:
    address = urlsplit(storage_settings.endpoint_url or "")
    proxy = CuttingProxy((address.hostname or "", address.port or 0))
    yield proxy
    proxy.close()


@pytest.fixture
def behind_proxy(storage_settings: StorageSettings, proxy: CuttingProxy) -> S3Store:
    return S3Store(storage_settings.model_copy(update={"endpoint_url": proxy.url, "read_timeout_s": 5.0}))


def test_a_download_goes_on_where_the_connection_broke(
    object_store: S3Store, behind_proxy: S3Store, proxy: CuttingProxy, prefix: str, tmp_path: Path
) -> None:
    object_store.put_bytes(f"{prefix}big", BODY)
    proxy.limit_bytes = 4 * MIB
    download = behind_proxy.download_to(f"{prefix}big", tmp_path / "big")
    assert proxy.num_cut == 2
    assert download.sha256 == hashlib.sha256(BODY).hexdigest()
    assert (tmp_path / "big").read_bytes() == BODY


def test_many_breaks_are_survived_as_long_as_each_connection_brings_something(
    object_store: S3Store, behind_proxy: S3Store, proxy: CuttingProxy, prefix: str, tmp_path: Path
) -> None:
    object_store.put_bytes(f"{prefix}big", BODY)
    proxy.limit_bytes = MIB + MIB // 2
    download = behind_proxy.download_to(f"{prefix}big", tmp_path / "big")
    assert proxy.num_cut > 5
    assert download.sha256 == hashlib.sha256(BODY).hexdigest()


def test_a_download_that_never_gets_on_gives_up_and_leaves_nothing(
    object_store: S3Store, behind_proxy: S3Store, proxy: CuttingProxy, prefix: str, tmp_path: Path
) -> None:
    object_store.put_bytes(f"{prefix}big", BODY)
    proxy.limit_bytes = 2000  # enough for headers
    with pytest.raises(StoreUnavailable):
        behind_proxy.download_to(f"{prefix}big", tmp_path / "big")
    assert list(tmp_path.iterdir()) == []


def test_an_object_replaced_between_two_connections_is_noticed(
    object_store: S3Store, behind_proxy: S3Store, proxy: CuttingProxy, prefix: str, tmp_path: Path
) -> None:
    object_store.put_bytes(f"{prefix}big", BODY)
    proxy.limit_bytes = 4 * MIB
    proxy.before_cut = lambda: object_store.put_bytes(f"{prefix}big", BODY[::-1])
    with pytest.raises(PreconditionFailed):
        behind_proxy.download_to(f"{prefix}big", tmp_path / "big")
    assert proxy.num_cut == 1
    assert list(tmp_path.iterdir()) == []
