"""What a browser asks of the store before it sends a part, and the CORS rule of the operators' guide."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import StorageSettings
from app.storage.s3 import S3Store
from app.storage.s3_client import make_client

pytestmark = pytest.mark.stack
GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "operating" / "deployment.md"
PAGES = "https://cleanclip.example"


def preflight(store: S3Store, prefix: str, origin: str) -> httpx.Response:
    key = f"{prefix}up"
    url = store.presign_part(key, store.create_multipart(key), 1, size_bytes=1, expires_s=60)
    return httpx.options(url, headers={"Origin": origin, "Access-Control-Request-Method": "PUT"})


def test_the_embedded_store_takes_parts_from_pages_of_this_machine_by_whatever_name(
    object_store: S3Store, prefix: str
) -> None:
    for origin in ("http://127.0.0.1:8000", "http://localhost:8000", "http://192.168.1.7:8000"):
        answer = preflight(object_store, prefix, origin)
        assert answer.headers["access-control-allow-origin"] in {"*", origin}
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in answer.headers


def test_the_rule_of_the_guide_lets_its_pages_send_and_no_others(
    object_store: S3Store, storage_settings: StorageSettings, prefix: str
) -> None:
    found = re.search(r"```json\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    rule: Any = json.loads(found[1])
    client = make_client(storage_settings, endpoint_url=storage_settings.endpoint_url)
    client.put_bucket_cors(Bucket=object_store.bucket, CORSConfiguration=rule)
    try:
        ours = preflight(object_store, prefix, PAGES)
        assert ours.headers["access-control-allow-origin"] == PAGES
        assert ours.headers["access-control-allow-methods"] == "PUT"
        assert (
            "access-control-allow-origin"
            not in preflight(object_store, prefix, "https://evil.example").headers
        )
    finally:
        client.delete_bucket_cors(Bucket=object_store.bucket)
