"""A model hub's protocol, as far as a checkpoint needs it: what a revision is, and where a file of it lies.

    GET /api/models/OWNER/NAME/revision/REVISION?blobs=true    commit, and files with sizes and digests
    GET /OWNER/NAME/resolve/COMMIT/PATH                        the file; X-Repo-Commit, X-Linked-Etag, -Size

A branch or tag is looked up once. From then on its commit is asked for, and the file's digest is compared.
"""

import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from app.domain.sources import WEIGHTS, HubSource, is_plain_path
from worker.fetching.errands import CONFIGURATIONS, Pinned
from worker.fetching.web import Got, Refused, Web

_MAX_INFO_BYTES = 8 * 2**20
_NAMED = 5
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
_PINNED = TypeAdapter(Pinned)


def resolve(web: Web, hub_url: str, source: HubSource) -> Pinned:
    """Raises Refused."""
    revision = quote(source.revision, safe="")
    with web.get(f"{hub_url.rstrip('/')}/api/models/{source.repo}/revision/{revision}?blobs=true") as got:
        raw = b"".join(got.chunks(_MAX_INFO_BYTES))
    try:
        info = json.loads(raw)
        files = {str(one["rfilename"]): one for one in info["siblings"]}
        path = source.path or next((name for name in WEIGHTS if name in files), None)
        if path is None or path not in files:
            raise Refused("source_without_weights", _has(list(files)))
        return _pinned(info["sha"], path, files)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError) as error:
        raise Refused("source_not_understood", "The answer is not a hub's description of a model.") from error


def _pinned(commit: Any, path: str, files: dict[str, dict[str, Any]]) -> Pinned:
    """Raises ValidationError and others for what is not a hub's word."""
    file, folder = files[path], path[: path.rfind("/") + 1]
    return _PINNED.validate_python(
        {
            "commit": commit,
            "path": path,
            **_digests(file),
            "beside": [
                {"name": name, **_digests(files[folder + name])}
                for name in CONFIGURATIONS
                if folder + name in files
            ],
        }
    )


def _digests(file: dict[str, Any]) -> dict[str, Any]:
    lfs = file.get("lfs") or {}
    return {
        "size_bytes": lfs.get("size", file.get("size")),
        "sha256": lfs.get("sha256"),
        "git_sha1": None if lfs else file.get("blobId"),
    }


def url_of(hub_url: str, source: HubSource, pinned: Pinned) -> str:
    """Where the pinned file lies. Raises Refused."""
    if pinned.commit is None or pinned.path is None or not is_plain_path(pinned.path):
        raise Refused("source_not_understood", "No plain name of a file is pinned.")
    return f"{hub_url.rstrip('/')}/{source.repo}/resolve/{pinned.commit}/{quote(pinned.path)}"


def check_headers(got: Got, pinned: Pinned) -> Pinned:
    """`pinned` with the digest that stands beside the file, where the description had none. Only the hub's
    own answer counts: a redirect leads to another server. Raises Refused where the two differ."""
    said = got.headers[0]
    linked = _SHA256.fullmatch(said.get("x-linked-etag", ""))
    pairs = [(said.get("x-repo-commit"), pinned.commit), (linked and linked[1], pinned.sha256)]
    if any(reported is not None and known is not None and reported != known for reported, known in pairs):
        raise Refused("source_changed", "The hub now names another commit or digest.")
    if linked is None or pinned.sha256 is not None or pinned.git_sha1 is not None:
        return pinned
    return replace(pinned, sha256=linked[1])


def _has(names: list[str]) -> str:
    shown = ", ".join(name for name in names[:_NAMED] if is_plain_path(name))
    return f"The model has {len(names)} files: {shown}" + (", …" if len(names) > _NAMED else "")
