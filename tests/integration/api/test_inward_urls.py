"""Presigned URLs name the configured store, one key, method and part, whatever a request says of itself."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.integration.api.service import MIB, Service

LIES = {
    "Host": "169.254.169.254",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-For": "127.0.0.1",
    "X-Original-URL": "/v1/keys",
    "X-Host": "evil.example",
    "Forwarded": "host=evil.example;proto=http",
    "Origin": "http://evil.example",
}
UPLOAD = {"filename": "clip.pt", "size_bytes": 40 * MIB}


@pytest.mark.parametrize("header", sorted(LIES))
def test_no_header_of_a_request_gets_into_an_address(
    service: Service, api: httpx.Client, header: str
) -> None:
    answer = api.post("/v1/uploads", json=UPLOAD, headers={header: LIES[header]})
    assert answer.status_code == 201, answer.text
    assert "evil.example" not in answer.text + str(answer.headers)
    assert "169.254" not in answer.text + str(answer.headers)
    upload = answer.json()
    more = api.post(f"{upload['links']['parts']}", json={"numbers": [1, 2]}, headers={header: LIES[header]})
    storage = service.ports.settings.storage
    store = urlsplit(storage.public_endpoint_url or storage.endpoint_url or "")
    for part in [*upload["parts"], *more.json()["parts"]]:
        url = urlsplit(part["url"])
        assert (url.scheme, url.netloc) == (store.scheme, store.netloc)


def test_each_url_is_for_one_key_and_one_part_only(service: Service, api: httpx.Client) -> None:
    upload = api.post("/v1/uploads", json=UPLOAD).json()
    for part in upload["parts"]:
        url = urlsplit(part["url"])
        query = parse_qs(url.query)
        assert url.path == f"/{service.store.bucket}/uploads/{service.ours.project_id}/{upload['id']}"
        assert query["partNumber"] == [str(part["number"])]
        assert "host" in query["X-Amz-SignedHeaders"][0]
        assert int(query["X-Amz-Expires"][0]) <= 900
        for method in ("GET", "DELETE", "POST"):
            assert httpx.request(method, part["url"]).status_code in {400, 403, 404, 405}
        elsewhere = part["url"].replace(f"partNumber={part['number']}", "partNumber=9")
        assert httpx.put(elsewhere, content=b"x").status_code == 403
        assert httpx.put(part["url"].replace(upload["id"], "x" * 30), content=b"x").status_code == 403


HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_html_in_names_is_text_in_every_answer_and_no_browser_guesses_otherwise(
    api: httpx.Client,
) -> None:
    created = api.post("/v1/uploads", json=UPLOAD | {"filename": "<img src=x onerror=alert(1)>.pt"})
    refused = api.post("/v1/uploads", json=UPLOAD | {"filename": HTML})
    unknown = api.get(f"/v1/uploads/{HTML}")
    query = api.get("/v1/uploads", params={"after": HTML})
    for answer in (created, refused, unknown, query, api.get(f"/{HTML}")):
        assert answer.headers["content-type"].split(";")[0] in {
            "application/json",
            "application/problem+json",
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert created.json()["filename"] == "<img src=x onerror=alert(1)>.pt"
