"""Styles, scripts and pictures of the pages. An address carries a digest of its content: kept for ever."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

FOLDER = Path(__file__).parent / "static"
PREFIX = "/ui/static"
_FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter()


@cache
def static_url(name: str) -> str:
    """The address of a file below `static/`."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    return f"{PREFIX}/{name}?v={digest}"


@cache
def _names() -> frozenset[str]:
    return frozenset(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file())


@router.get("/static/{name:path}")
def static_file(name: str) -> Response:
    """Of the known files only: no path is made of what was asked for."""
    if name not in _names():
        raise HTTPException(404)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return FileResponse(FOLDER / name, media_type=kind, headers={"Cache-Control": _FOR_EVER})
