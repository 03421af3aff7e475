"""What `doctor` looks at, each a function that tells one or more lines. Prints nothing."""

import ipaddress
import os
import shutil
import ssl
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import httpx

from cleanclip import places
from cleanclip.command.formats import size
from cleanclip.errors import ApiError, CleanClipError
from cleanclip.sync.client import Client
from cleanclip.unreachable import why_unreachable

State = Literal["ok", "warn", "fail"]
CERTIFICATE_DAYS = 14
SKEW_WARN_S, SKEW_FAIL_S = 30.0, 300.0
SPACE_WARN_BYTES, SPACE_FAIL_BYTES = 10 * 1000**3, 100 * 1000**2
_PROBES = {
    "read": ("GET", "/v1/jobs?limit=1"),
    "upload": ("POST", "/v1/uploads"),
    "run": ("POST", "/v1/jobs"),
    "admin": ("GET", "/v1/keys?limit=1"),
}
"""A request of each scope. The POSTs have no body and are refused for that, where not for the scope."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; `remedy` says what to do unless it is ok."""

    name: str
    state: State
    message: str
    remedy: str = ""


def configuration() -> Iterator[Line]:
    """Who may read the file with the keys."""
    path = places.config_path()
    if not path.exists():
        yield Line("config", "ok", f"{path} does not exist; no profile is saved")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if sys.platform != "win32" and mode & 0o077:
        yield Line(
            "config",
            "warn",
            f"{path} holds keys and has mode {mode:04o}: others on this machine can read it",
            f"chmod 600 {path}",
        )
        return
    yield Line("config", "ok", f"{path}, for this user only")


def space(folder: Path) -> Iterator[Line]:
    """Whether the folder that remembers unfinished transfers can be written, and what is free beside it."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    message = f"{folder}: {size(free := shutil.disk_usage(there).free)} free"
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield Line(
            "cache",
            "fail",
            f"{folder} cannot be written: interrupted uploads would start from the beginning",
            "Set CLEANCLIP_CACHE_DIR to a folder of yours.",
        )
    elif free < SPACE_WARN_BYTES:
        yield Line(
            "cache",
            "fail" if free < SPACE_FAIL_BYTES else "warn",
            message,
            "Make room, or set CLEANCLIP_CACHE_DIR; downloads need room for the model as well.",
        )
    else:
        yield Line("cache", "ok", message)


def reachable(http: httpx.Client) -> tuple[list[Line], httpx.Response | None]:
    """Whether anything answers at the address; the answer, for those who look at its headers."""
    where = str(http.base_url).rstrip("/")
    try:
        with http.stream("GET", "/healthz") as answer:
            answer.read()
            lines = [*_transport(http.base_url, answer)]
    except httpx.RequestError as cause:
        is_tls = "certificate" in str(cause).lower() or "ssl" in str(cause).lower()
        why, remedy, _ = why_unreachable(http.base_url, cause)
        message = f"{where} does not answer: {why}".rstrip(".")
        remedy = remedy or (
            "Check the address (`cleanclip login --url …`) and whether a proxy or VPN is needed."
        )
        return [Line("tls" if is_tls else "address", "fail", message, remedy)], None
    if answer.status_code != 200:
        message = f"{where} answers {answer.status_code} to GET /healthz"
        remedy = "Another program may answer at this address, or a proxy in between."
        return [Line("address", "fail", message, remedy), *lines], None
    return [Line("address", "ok", f"{where} answers"), *lines], answer


def _transport(url: httpx.URL, answer: httpx.Response) -> Iterator[Line]:
    if url.scheme == "http":
        yield (
            Line("tls", "ok", "none, on this machine")
            if _is_local(url.host)
            else Line(
                "tls", "warn", "none: the key is sent unencrypted", "Use the https:// address of the service."
            )
        )
        return
    stream = answer.extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream is not None else None
    days = None if connection is None else _days_left(connection.getpeercert())
    if days is not None and days < CERTIFICATE_DAYS:
        message = f"the certificate ends in {days:.0f} days"
        yield Line("tls", "warn", message, "Tell the service's operator.")
    else:
        message = "verified" if days is None else f"verified; the certificate is valid for {days:.0f} days"
        yield Line("tls", "ok", message)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _days_left(certificate: dict[str, Any] | None) -> float | None:
    ends = (certificate or {}).get("notAfter")
    if not isinstance(ends, str):
        return None
    return (ssl.cert_time_to_seconds(ends) - datetime.now(UTC).timestamp()) / 86_400


def clock(answer: httpx.Response, now: datetime) -> Iterator[Line]:
    """This machine's clock against the service's."""
    try:
        there = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return
    skew_s = (now - there.replace(tzinfo=there.tzinfo or UTC)).total_seconds()
    message = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the service's"
    if abs(skew_s) <= SKEW_WARN_S:
        yield Line("clock", "ok", message)
        return
    yield Line(
        "clock",
        "fail" if abs(skew_s) > SKEW_FAIL_S else "warn",
        message,
        "Set this machine's clock (NTP): certificates and waits depend on it.",
    )


def version(http: httpx.Client, own: str) -> Iterator[Line]:
    """Whether it is this service, and of which version."""
    try:
        document = http.get("/v1/openapi.json").raise_for_status().json()
        there, paths = str(document["info"]["version"]), document["paths"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        message = "there is no OpenAPI document of this service at /v1/openapi.json"
        remedy = "Check the address; a path may be missing from it."
        yield Line("version", "fail", message, remedy)
        return
    message = f"service {there}, this command {own}"
    if "/v1/jobs" not in paths:
        yield Line("version", "fail", "this is another service", "Check the address.")
    elif there.split(".")[:2] == own.split(".")[:2]:
        yield Line("version", "ok", message)
    else:
        remedy = "Most will work. To be sure, install the client of the service's version."
        yield Line("version", "warn", message, remedy)


def parts(http: httpx.Client) -> Iterator[Line]:
    """What the service says of its own parts."""
    try:
        answer = http.get("/readyz")
        health = {str(name): str(value) for name, value in answer.json().items()}
    except (httpx.HTTPError, ValueError, AttributeError) as cause:
        yield Line("service", "fail", str(cause), "Tell the service's operator.")
        return
    failing = [name for name, value in health.items() if value == "failing"]
    if answer.status_code == 200 and not failing:
        yield Line("service", "ok", "database, object store and queue answer")
    else:
        yield Line(
            "service",
            "warn" if answer.status_code == 200 else "fail",
            f"not working: {', '.join(failing) or answer.status_code}",
            "Tell the service's operator.",
        )


def key(http: httpx.Client) -> tuple[list[Line], set[str]]:
    """Whether the key is valid, and which scopes it has."""
    found: set[str] = set()
    try:
        for scope, (method, path) in _PROBES.items():
            answer = http.request(method, path, json={} if method == "POST" else None)
            if answer.status_code == 401:
                remedy = "Ask for a new one, then: cleanclip login"
                return [Line("key", "fail", "it is not valid", remedy)], found
            if answer.status_code >= 500 or answer.status_code == 429:
                message = f"not known: the service answers {answer.status_code}"
                return [Line("key", "warn", message, "Try again later.")], found
            if answer.status_code != 403:
                found.add(scope)
    except httpx.HTTPError as cause:
        return [Line("key", "fail", str(cause), "Run doctor again.")], found
    named = ", ".join(sorted(found)) or "none"
    missing = {"read", "upload", "run"} - found
    if not missing:
        return [Line("key", "ok", f"valid; scopes: {named}")], found
    remedy = f"To upload, order and read, create a key with {', '.join(sorted(missing))} as well."
    return [Line("key", "warn", f"valid; scopes: {named}", remedy)], found


def object_store(client: Client, http: httpx.Client, scopes: set[str]) -> Iterator[Line]:
    """Sends one byte to the store by a presigned address, and takes the upload back."""
    if "upload" not in scopes:
        message = "not tested: this needs a key with scope upload"
        yield Line("store", "warn", message, "Use another key to test it.")
        return
    try:
        upload = client.uploads.create(filename="cleanclip-doctor", size_bytes=1, purpose="dataset")
        try:
            url = client.uploads.parts(upload.id, [1]).parts[0].url
            yield (stored := _stored(http, url))
            if stored.state == "ok":
                yield from _from_pages(http, url)
        finally:
            client.uploads.cancel(upload.id)
    except CleanClipError as cause:
        is_ours = isinstance(cause, ApiError) and cause.status < 500
        yield Line(
            "store",
            "warn" if is_ours else "fail",
            f"not tested: {cause}",
            "See `cleanclip usage`." if is_ours else "Tell the service's operator.",
        )


def _stored(http: httpx.Client, url: str) -> Line:
    host = httpx.URL(url).netloc.decode("ascii", "replace").rpartition("@")[2]
    try:
        answer = http.put(url, content=b"\0")
    except httpx.HTTPError as cause:
        message = f"{host} does not answer: {str(cause) or type(cause).__name__}"
        remedy = "Let this machine reach it: downloads need it. Until then uploads go through the service."
        return Line("store", "fail", message, remedy)
    if answer.status_code == 200:
        return Line("store", "ok", f"{host} accepts bytes at a presigned URL")
    message = f"{host} answers {answer.status_code} to a presigned URL"
    remedy = "A proxy may change requests, or clocks may differ: tell the service's operator."
    return Line("store", "fail", message, remedy)


def _from_pages(http: httpx.Client, url: str) -> Iterator[Line]:
    """Whether a browser may send parts, asked as browsers ask before. Nothing where there are no pages."""
    origin = f"{http.base_url.scheme}://{http.base_url.netloc.decode('ascii', 'replace')}"
    host = httpx.URL(url).netloc.decode("ascii", "replace").rpartition("@")[2]
    try:
        if http.get("/ui/sign-in").status_code != 200:
            return
        asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        answer = http.request("OPTIONS", url, headers=asked)
    except httpx.HTTPError as cause:
        message = f"not known whether pages may upload: {str(cause) or type(cause).__name__}"
        yield Line("browser", "warn", message, "Run doctor again.")
        return
    allowed = {name: answer.headers.get(f"access-control-allow-{name}", "") for name in ("origin", "methods")}
    methods = {method.strip() for method in allowed["methods"].split(",")}
    if answer.is_success and allowed["origin"] in {"*", origin} and methods & {"*", "PUT"}:
        yield Line("browser", "ok", f"{host} accepts uploads from pages of {origin}")
        return
    yield Line(
        "browser",
        "warn",
        f"{host} refuses uploads from pages of {origin}: its CORS rule does not allow them",
        "Use `cleanclip upload`; the operator finds the rule in docs/how-to/operating/deployment.md.",
    )
