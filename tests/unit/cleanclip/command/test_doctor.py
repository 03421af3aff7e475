"""What `doctor` says of each thing that may be wrong, and the status that it ends with."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from cleanclip import places
from cleanclip.command import checks
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from cleanclip.command.session import Session
from tests.unit.cleanclip.service import KEY, URL, FakeClock, FakeRoutes, FakeService, problem

OWN = version("cleanclip")
UPLOAD = {"id": "upl_1", "state": "open", "size_bytes": 1, "part_size_bytes": 1, "num_parts": 1}
PART = {"number": 1, "size_bytes": 1, "url": "https://store.example.net/k?signature=secret"}
ALLOWED = {"Access-Control-Allow-Methods": "GET, PUT"}


def healthy() -> FakeRoutes:
    document = {"info": {"version": OWN}, "paths": {"/v1/jobs": {}}}
    ready = {"status": "ready", "database": "ok", "store": "ok", "broker": "ok"}
    now = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
    return FakeRoutes(
        {
            ("GET", "/healthz"): lambda _: httpx.Response(200, json={}, headers=now),
            ("GET", "/v1/openapi.json"): httpx.Response(200, json=document),
            ("GET", "/readyz"): httpx.Response(200, json=ready),
            ("GET", "/v1/jobs"): httpx.Response(200, json={"data": []}),
            ("POST", "/v1/jobs"): problem(422, "invalid_request"),
            ("GET", "/v1/keys"): problem(403, "scope_missing"),
            ("POST", "/v1/uploads"): lambda request: (
                problem(422, "invalid_request")
                if json.loads(request.content) == {}
                else httpx.Response(201, json=UPLOAD)
            ),
            ("POST", "/v1/uploads/upl_1/parts"): httpx.Response(
                201, json={"upload_id": "upl_1", "parts": [PART]}
            ),
            ("PUT", "/k"): httpx.Response(200, headers={"ETag": '"x"'}),
            ("POST", "/v1/uploads/upl_1/cancel"): httpx.Response(200, json=UPLOAD | {"state": "cancelled"}),
        }
    )


@pytest.fixture
def reported(capsys: pytest.CaptureFixture[str]) -> Any:
    def reported(service: httpx.BaseTransport, *, url: str = URL) -> dict[str, tuple[str, str]]:
        """Each line's state and text by its name; the status fits them, and no secret is among them."""
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(
                ["--url", url, "--api-key", KEY, "doctor", "--json"],
                session=Session(transport=service, clock=FakeClock().clock()),
            )
        out, err = capsys.readouterr()
        document = json.loads(out)
        is_well = all(line["state"] != "fail" for line in document["checks"])
        assert document["is_well"] is is_well
        assert (caught.value.code or 0) == (ExitCode.OK if is_well else ExitCode.UNEXPECTED)
        assert KEY not in out + err
        assert "secret" not in out + err
        assert all((line["state"] == "ok") == (line["remedy"] is None) for line in document["checks"])
        return {line["name"]: (line["state"], line["message"]) for line in document["checks"]}

    return reported


def test_all_is_well(reported: Any) -> None:
    found = reported(service := healthy())
    names = ["config", "cache", "settings", "address", "tls", "clock", "version", "service", "key", "store"]
    assert list(found) == names
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["key"][1] == "valid; scopes: read, run, upload"
    assert found["store"][1] == "store.example.net accepts bytes at a presigned URL"
    paths = [(request.method, request.url.path) for request in service.requests]
    assert paths[-1] == ("POST", "/v1/uploads/upl_1/cancel"), "the upload is taken back"
    [stored] = [request for request in service.requests if request.url.path == "/k"]
    assert "authorization" not in stored.headers


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (httpx.Response(200, headers={**ALLOWED, "Access-Control-Allow-Origin": URL}), "ok"),
        (httpx.Response(204, headers={**ALLOWED, "Access-Control-Allow-Origin": "*"}), "ok"),
        (
            httpx.Response(200, headers={**ALLOWED, "Access-Control-Allow-Origin": "https://b.example"}),
            "warn",
        ),
        (httpx.Response(200, headers={"Access-Control-Allow-Origin": "*"}), "warn"),
        (httpx.Response(403, headers={**ALLOWED, "Access-Control-Allow-Origin": "*"}), "warn"),
        (httpx.Response(403), "warn"),
        (httpx.ConnectError("refused"), "warn"),
    ],
)
def test_where_there_are_pages_the_store_is_asked_as_a_browser_asks(
    reported: Any, answer: httpx.Response | Exception, state: str
) -> None:
    service = healthy()
    service.routes |= {("GET", "/ui/sign-in"): httpx.Response(200), ("OPTIONS", "/k"): answer}
    assert reported(service)["browser"][0] == state
    [asked] = [request for request in service.requests if request.method == "OPTIONS"]
    assert asked.headers["origin"] == URL
    assert asked.headers["access-control-request-method"] == "PUT"


@pytest.mark.parametrize(
    ("route", "answer", "line"),
    [
        (("GET", "/healthz"), httpx.ConnectError("refused"), ("address", "fail", "refused")),
        (("GET", "/healthz"), httpx.ConnectError("CERTIFICATE_VERIFY_FAILED"), ("tls", "fail", "CERT")),
        (("GET", "/healthz"), httpx.Response(404), ("address", "fail", "404")),
        (("GET", "/v1/openapi.json"), httpx.Response(200, text="<html>"), ("version", "fail", "OpenAPI")),
        (
            ("GET", "/v1/openapi.json"),
            httpx.Response(200, json={"info": {"version": "99.0.0"}, "paths": {"/v1/jobs": {}}}),
            ("version", "warn", "99.0.0"),
        ),
        (
            ("GET", "/v1/openapi.json"),
            httpx.Response(200, json={"info": {"version": OWN}, "paths": {}}),
            ("version", "fail", "another service"),
        ),
        (("GET", "/readyz"), httpx.Response(503, json={"store": "failing"}), ("service", "fail", "store")),
        (("GET", "/readyz"), httpx.Response(200, json={"broker": "failing"}), ("service", "warn", "broker")),
        (("GET", "/v1/jobs"), problem(401, "invalid_key"), ("key", "fail", "not valid")),
        (("GET", "/v1/jobs"), problem(429, "too_many"), ("key", "warn", "429")),
        (("POST", "/v1/jobs"), problem(403, "scope_missing"), ("key", "warn", "read, upload")),
        (("POST", "/v1/uploads"), problem(403, "scope_missing"), ("store", "warn", "scope upload")),
        (("PUT", "/k"), httpx.ConnectError("no route"), ("store", "fail", "no route")),
        (("PUT", "/k"), httpx.Response(403), ("store", "fail", "403")),
        (("POST", "/v1/uploads/upl_1/parts"), problem(409, "upload_state"), ("store", "warn", "not tested")),
        (("POST", "/v1/uploads/upl_1/parts"), problem(500, "internal"), ("store", "fail", "not tested")),
    ],
)
def test_each_fault_has_its_line(
    reported: Any, route: tuple[str, str], answer: Any, line: tuple[str, str, str]
) -> None:
    name, state, says = line
    service = healthy()
    service.routes[route] = answer
    found = reported(service)
    assert found[name][0] == state
    assert says in found[name][1]


@pytest.mark.parametrize(("seconds", "state"), [(-10, "ok"), (100, "warn"), (-1000, "fail")])
def test_clocks_are_compared(reported: Any, seconds: int, state: str) -> None:
    service = healthy()
    there = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
    service.routes["GET", "/healthz"] = httpx.Response(200, json={}, headers={"Date": there})
    assert reported(service)["clock"][0] == state


@pytest.mark.parametrize(
    ("url", "state"), [("http://example.org", "warn"), ("http://127.0.0.1:8000", "ok"), (URL, "ok")]
)
def test_a_key_that_travels_readably_is_told(reported: Any, url: str, state: str) -> None:
    assert reported(healthy(), url=url)["tls"][0] == state


class Stream:
    """A TLS connection whose certificate ends in so many days."""

    def __init__(self, days: float) -> None:
        self._ends = datetime.now(UTC) + timedelta(days=days)

    def get_extra_info(self, name: str) -> Stream:
        assert name == "ssl_object"
        return self

    def getpeercert(self) -> dict[str, str]:
        return {"notAfter": self._ends.strftime("%b %d %H:%M:%S %Y GMT")}


@pytest.mark.parametrize(("days", "state"), [(3, "warn"), (80, "ok")])
def test_a_certificate_that_ends_soon_is_told(reported: Any, days: float, state: str) -> None:
    service = healthy()
    service.routes["GET", "/healthz"] = lambda _: httpx.Response(
        200, json={}, extensions={"network_stream": Stream(days)}
    )
    assert reported(service)["tls"][0] == state


def test_a_file_that_others_can_read_is_told(reported: Any) -> None:
    places.write_private(places.config_path(), {"url": URL})
    assert reported(healthy())["config"][0] == "ok"
    places.config_path().chmod(0o644)
    state, said = reported(healthy())["config"]
    assert state == "warn"
    assert "0644" in said


@pytest.mark.parametrize(("free", "state"), [(1000, "fail"), (10**9, "warn"), (10**12, "ok")])
def test_a_full_disk_is_told(reported: Any, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    assert reported(healthy())["cache"][0] == state


def test_a_cache_folder_that_is_no_folder_is_told(
    reported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert reported(healthy())["cache"][0] == "fail"
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "closed" / "below"))
        assert reported(healthy())["cache"][0] == "fail"


def test_with_nothing_configured_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor"], session=Session(transport=FakeService(RuntimeError("nothing is asked"))))
    out, err = capsys.readouterr()
    assert caught.value.code == ExitCode.UNEXPECTED
    assert "fail  address   none is configured" in out
    assert "cleanclip login" in out
    assert err == ""
