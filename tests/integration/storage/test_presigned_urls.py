"""Presigned URLs over real HTTP: one key, one method, one part, for a while, as an attachment."""

import time
from urllib.parse import urlsplit

import httpx
import pytest

from app.settings import StorageSettings
from app.storage.errors import AccessDenied, StoreUnavailable
from app.storage.s3 import S3Store

pytestmark = pytest.mark.stack


def test_a_part_goes_to_the_store_without_us(object_store: S3Store, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = object_store.create_multipart(key)
    answer = httpx.put(
        object_store.presign_part(key, upload_id, 1, size_bytes=12, expires_s=60), content=b"from outside"
    )
    assert answer.status_code == 200
    (part,) = object_store.list_parts(key, upload_id)
    assert answer.headers["ETag"].strip('"') == part.etag
    object_store.complete_multipart(key, upload_id, [part], size_bytes=12)
    assert object_store.read_bytes(key, max_bytes=12) == b"from outside"


def test_a_download_is_an_attachment_with_ranges_and_an_etag(object_store: S3Store, prefix: str) -> None:
    stored = object_store.put_bytes(f"{prefix}model", b"0123456789")
    url = object_store.presign_get(f"{prefix}model", expires_s=60, filename='we"ights é.safetensors')
    whole = httpx.get(url)
    assert whole.content == b"0123456789"
    assert whole.headers["ETag"].strip('"') == stored.etag
    assert whole.headers["Content-Type"] == "application/octet-stream"
    disposition = whole.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="we_ights _.safetensors"')
    assert "filename*=UTF-8''we%22ights%20%C3%A9.safetensors" in disposition
    part = httpx.get(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    unchanged = httpx.get(url, headers={"If-None-Match": whole.headers["ETag"]})
    assert unchanged.status_code == 304


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_a_download_url_serves_no_other_method(object_store: S3Store, prefix: str, method: str) -> None:
    object_store.put_bytes(f"{prefix}a", b"kept")
    url = object_store.presign_get(f"{prefix}a", expires_s=60, filename="a")
    assert httpx.request(method, url, content=b"other").status_code in (400, 403, 405)
    assert object_store.read_bytes(f"{prefix}a", max_bytes=10) == b"kept"


def test_a_url_for_one_key_opens_no_other(object_store: S3Store, prefix: str) -> None:
    object_store.put_bytes(f"{prefix}mine", b"mine")
    object_store.put_bytes(f"{prefix}theirs", b"theirs")
    url = object_store.presign_get(f"{prefix}mine", expires_s=60, filename="a")
    assert httpx.get(url.replace("/mine", "/theirs")).status_code == 403


def test_a_url_for_one_part_stores_no_other(object_store: S3Store, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = object_store.create_multipart(key)
    url = object_store.presign_part(key, upload_id, 1, size_bytes=1, expires_s=60)
    assert httpx.put(url.replace("partNumber=1", "partNumber=2"), content=b"x").status_code == 403
    assert object_store.list_parts(key, upload_id) == []


@pytest.mark.parametrize("num_bytes", [0, 9, 11, 3_000_000])
def test_a_url_of_a_part_takes_bytes_of_its_size_only(
    object_store: S3Store, prefix: str, num_bytes: int
) -> None:
    key = f"{prefix}up"
    upload_id = object_store.create_multipart(key)
    url = object_store.presign_part(key, upload_id, 1, size_bytes=10, expires_s=60)
    assert httpx.put(url, content=bytes(num_bytes)).status_code == 403
    in_chunks = httpx.put(url, content=iter([bytes(num_bytes)]))  # its length is not told at all
    assert in_chunks.status_code in {400, 403, 411}
    assert object_store.list_parts(key, upload_id) == []
    assert httpx.put(url, content=bytes(10)).status_code == 200


def test_a_url_expires(object_store: S3Store, prefix: str) -> None:
    object_store.put_bytes(f"{prefix}a", b"1")
    long, short = (object_store.presign_get(f"{prefix}a", expires_s=s, filename="a") for s in (60, 1))
    time.sleep(2.1)
    assert httpx.get(short).status_code == 403
    assert httpx.get(long).status_code == 200


def test_without_a_signature_nothing_is_served(object_store: S3Store, prefix: str) -> None:
    object_store.put_bytes(f"{prefix}a", b"1")
    url = object_store.presign_get(f"{prefix}a", expires_s=60, filename="a")
    assert httpx.get(url.partition("?")[0]).status_code == 403


def test_urls_carry_the_public_address(storage_settings: StorageSettings) -> None:
    public = storage_settings.model_copy(update={"public_endpoint_url": "https://files.example.org"})
    url = urlsplit(S3Store(public).presign_get("a", expires_s=60, filename="a"))
    assert (url.scheme, url.netloc, url.path) == ("https", "files.example.org", f"/{public.bucket}/a")


def test_a_wrong_secret_is_said_to_be_that(storage_settings: StorageSettings) -> None:
    wrong = StorageSettings(**{**storage_settings.model_dump(), "secret_key": "wrong"})
    with pytest.raises(AccessDenied) as caught:
        S3Store(wrong).put_bytes("a", b"1")
    assert "wrong" not in str(caught.value)


def test_a_store_that_is_away_is_unavailable_and_worth_a_retry() -> None:
    away = StorageSettings(endpoint_url="http://127.0.0.1:9", max_attempts=1, connect_timeout_s=1.0)
    with pytest.raises(StoreUnavailable) as caught:
        S3Store(away).head("a")
    assert caught.value.retryable
