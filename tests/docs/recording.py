"""Calls of a running service, written down in a form that is the same whenever they are made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from tests.docs.conftest import Served

SHOWN_HEADERS = ("idempotency-key", "if-none-match", "last-event-id", "content-type")
SHOWN_ANSWER_HEADERS = ("etag", "location", "retry-after", "ratelimit")
_ULID = re.compile(
    r"\b(prj|upl|ckpt|ds|job|art|key|del|aud|wh|whd|msg|req|pol|evt|[a-z]{2,5})_[0-9a-hjkmnp-tv-z]{26}\b"
)
_TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_SECRETS = re.compile(r"(?:cclip_live_[\w-]{8,}|whsec_[\w+/=-]+)")
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
COMPUTED = frozenset(
    {"result", "progress", "phases", "verdict", "warnings", "environment", "training", "scanners", "last_try"}
)
_URL = re.compile(r"http://127\.0\.0\.1:\d+[^\s\"]*")


def shown(text: str) -> str:
    """A text of a call with what is made again each time in one form."""
    text = _SECRETS.sub(lambda found: found.group()[:6].rstrip("_") + "_…", text)
    text = _URL.sub("https://store.example.org/…", text)
    text = text.replace("127.0.0.1", "192.0.2.1")
    text = _ULID.sub(lambda found: f"{found.group(1)}_01k00000000000000000000000", text)
    text = _TIME.sub("2026-11-26T08:00:00Z", text)
    return _DIGEST.sub("0" * 64, text)


def cut(value: Any) -> Any:
    """Of a long list the beginning: the rest is more of the same."""
    if isinstance(value, dict):
        return {name: cut(one) for name, one in value.items()}
    if isinstance(value, list):
        return [cut(one) for one in value] if len(value) <= 3 else [*(cut(one) for one in value[:2]), "…"]
    return value


def differences(made: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Where two calls are not of one form. Numbers are numbers; null may stand for what came too early.

    Sentences are compared but for their numbers, and not at all where they say what a machine computed.
    """
    if made is None or kept is None or (_is_number(made) and _is_number(kept)):
        return
    if type(made) is not type(kept):
        yield f"{place}: {made!r} is not of the kind of {kept!r}"
    elif isinstance(made, dict):
        yield from (f"{place}/{name}" for name in made.keys() ^ kept.keys())
        for name in made.keys() & kept.keys():
            yield from differences(made[name], kept[name], f"{place}/{name}")
    elif isinstance(made, list):
        if made and kept:
            yield from differences(made[0], kept[0], f"{place}/0")
    elif not COMPUTED.intersection(place.split("/")) and _told(made) != _told(kept):
        yield f"{place}: {made!r} was {kept!r}"


def _told(value: Any) -> Any:
    return _NUMBER.sub("0", value) if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Recorder:
    """Makes calls and keeps the first of each operation."""

    def __init__(self, served: Served) -> None:
        self.calls: dict[str, Any] = {}
        self._http = httpx.Client(base_url=served.url, timeout=60)
        self._key = {"Authorization": f"Bearer {served.key}"}

    def __call__(
        self, name: str, *, status: int, headers: Mapping[str, str] | None = None, **given: Any
    ) -> Any:
        method, template = name.split(" ")
        ids = given.pop("ids", {})
        answer = self._http.request(
            method, template.format(**ids), headers={**self._key, **(headers or {})}, **given
        )
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        self.calls.setdefault(name, self._told(answer, given))
        return answer.json() if answer.headers.get("content-type", "").endswith("json") else answer.text

    def _told(self, answer: httpx.Response, given: Mapping[str, Any]) -> dict[str, Any]:
        request, text = answer.request, shown(answer.text)
        sent = [
            f"{name.title()}: {request.headers[name]}" for name in SHOWN_HEADERS if name in request.headers
        ]
        got = [
            f"{name.title()}: {answer.headers[name]}"
            for name in SHOWN_ANSWER_HEADERS
            if name in answer.headers
        ]
        told: dict[str, Any] = {
            "method": request.method,
            "path": shown(request.url.raw_path.decode()),
            "headers": [shown(one) for one in sent],
            "status": answer.status_code,
            "answer_headers": [re.sub(r'(?<=Etag: )"[^"]*"', '"…"', shown(one)) for one in got],
        }
        if "json" in given:
            told["body"] = json.loads(shown(json.dumps(given["json"])))
        elif "content" in given:
            told["body"] = f"… {len(given['content'])} bytes …"
        if text:
            is_json = answer.headers.get("content-type", "").split(";")[0].endswith("json")
            told["answer"] = cut(json.loads(text)) if is_json else text
        return told
