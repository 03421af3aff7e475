"""Styles, scripts and images of the pages. An address that carries the digest of its content is kept
for ever."""

import hashlib
import mimetypes
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from cleanclip.face.html import SHEET

_FOLDER = Path(__file__).parent / "static"
_PATHS = {str(path.relative_to(_FOLDER)): path for path in _FOLDER.rglob("*") if path.is_file()}
_PATHS["sections.css"] = SHEET
PREFIX = "/ui/static"
_FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter()


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_PATHS[name].read_bytes()).hexdigest()[:12]


@cache
def static_url(name: str) -> str:
    """The address of a file below `static/`."""
    return f"{PREFIX}/{name}?v={_digest(name)}"


@router.get("/static/{name:path}")
def static_file(name: str, request: Request, v: str = "") -> Response:
    """Of the known files only: no path is made of what was asked for. What a module imports is asked for
    without a digest: the browser asks each time whether it has changed."""
    if name not in _PATHS:
        raise HTTPException(404)
    etag = f'"{_digest(name)}"'
    headers = {"Cache-Control": _FOR_EVER if v == _digest(name) else "no-cache", "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return FileResponse(_PATHS[name], media_type=kind, headers=headers)
