"""Gigabytes through both ways in: parts straight to the store, and one stream through the API.

Against the raw store (boto3, the same parts, four at a time). The API's memory must not grow with the file,
and what the store holds in the end must have the file's digest. Every file is deleted again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig

from app.domain.object_keys import upload_key
from app.local.stack import Stack
from app.storage.s3_client import make_client
from cleanclip.sync.client import Client
from lab.drills.drill import Place, Row
from lab.drills.load_api import Api, running
from lab.drills.processes import sampled_memory

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

NAME = "uploads"
TITLE = "Large uploads"
MIB = 1024 * 1024
SIZE_BYTES, SIZE_BYTES_QUICK = 5 * 1024 * MIB, 200 * MIB
MAX_GROWTH_MIB = 100.0
_PART_BYTES = 16 * MIB
_CHUNK = 4 * MIB


def run(place: Place, *, quick: bool) -> list[Row]:
    size = SIZE_BYTES_QUICK if quick else SIZE_BYTES
    path = place.folder / "checkpoint.bin"
    digest = make_file(path, size, seed=place.seed)
    sent: dict[str, dict[str, Any]] = {}
    try:
        with running(place.folder) as (api, stack):
            for what, send in (("raw", _raw), ("parts", _parts), ("stream", _stream)):
                place.say(f"{what}: {size / 1e9:.1f} GB")
                sent[what] = place.piece(what, partial(_measured, api, stack, path, digest, send))
    finally:
        path.unlink()
    return [_row(what, size, sent) for what in ("parts", "stream")]


def make_file(path: Path, size_bytes: int, *, seed: int) -> str:
    """Bytes that do not repeat within a part; returns their SHA-256."""
    block = os.urandom(_CHUNK)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(-(-size_bytes // _CHUNK)):
            chunk = (b"%020d%020d" % (seed, number) + block)[: min(_CHUNK, size_bytes - number * _CHUNK)]
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


Send = Callable[[Api, Stack, Path, str], str]
"""Sends the file with that digest; returns the key of the object."""


def _measured(api: Api, stack: Stack, path: Path, digest: str, send: Send) -> dict[str, Any]:
    with sampled_memory(api.api_pid, every_s=0.05) as memory:
        time.sleep(0.3)
        began = time.monotonic()
        key = send(api, stack, path, digest)
        seconds = time.monotonic() - began
    stored = _stored_digest(stack, key)
    _s3(stack).delete_object(Bucket=stack.settings().storage.bucket, Key=key)
    return {
        "seconds": seconds,
        "growth_mib": max(memory) - memory[0],
        "peak_mib": max(memory),
        "digest_is_right": stored == digest,
    }


def _raw(_api: Api, stack: Stack, path: Path, _digest: str) -> str:
    config = TransferConfig(
        multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4
    )
    _s3(stack).upload_file(str(path), stack.settings().storage.bucket, "raw", Config=config)
    return "raw"


def _parts(api: Api, _stack: Stack, path: Path, digest: str) -> str:
    """By the client: it hashes the file, asks for URLs and sends four parts at a time."""
    with Client(f"http://127.0.0.1:{api.port}", api.key) as client:
        sent = client.uploads.upload_file(path, sha256=digest, resume=False)
    if sent.is_streamed:
        raise RuntimeError("the client could not reach the store")
    return upload_key(api.ground.project_id, sent.id)


def _stream(api: Api, _stack: Stack, path: Path, digest: str) -> str:
    headers = api.headers(**{"Content-Type": "application/json"})
    size = path.stat().st_size
    announced = json.dumps({"filename": path.name, "size_bytes": size, "sha256": digest})
    upload = api.reported("POST", "/v1/uploads", headers, announced)
    with path.open("rb") as file:
        octets = api.headers(**{"Content-Type": "application/octet-stream", "Content-Length": str(size)})
        api.reported("PUT", f"/v1/uploads/{upload['id']}/content", octets, file)
    api.reported("POST", f"/v1/uploads/{upload['id']}/complete", headers, "{}")
    return upload_key(api.ground.project_id, upload["id"])


def _stored_digest(stack: Stack, key: str) -> str:
    digest = hashlib.sha256()
    body = _s3(stack).get_object(Bucket=stack.settings().storage.bucket, Key=key)["Body"]
    for chunk in body.iter_chunks(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _s3(stack: Stack) -> S3Client:
    storage = stack.settings().storage
    return make_client(storage, endpoint_url=storage.endpoint_url)


def _row(what: str, size_bytes: int, sent: dict[str, dict[str, Any]]) -> Row:
    one, raw = sent[what], sent["raw"]
    how = {"parts": "in presigned parts by the client", "stream": "streamed through the API"}[what]

    def rate(sending: dict[str, Any]) -> float:
        return float(size_bytes / 1e6 / sending["seconds"])

    is_flat = one["growth_mib"] <= MAX_GROWTH_MIB
    return Row(
        broken=f"nothing: {size_bytes / 1e9:.1f} GB {how}",
        times=1,
        expected=f"the digest is right; the API's memory grows by at most {MAX_GROWTH_MIB:g} MiB",
        happened=f"{rate(one):.0f} MB/s against {rate(raw):.0f} MB/s to the store alone; "
        f"API +{one['growth_mib']:.0f} MiB, at most {one['peak_mib']:.0f} MiB; "
        + ("digest right" if one["digest_is_right"] else "DIGEST WRONG"),
        lost=0 if one["digest_is_right"] else 1,
        ok=one["digest_is_right"] and is_flat,
    )
