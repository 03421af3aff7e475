"""Which code made a figure: the digest of source files, and the versions of what they call."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict


class Software(TypedDict):
    """The fields of a report's `Environment` that no machine decides, but for torch, which says more itself
    than its package does (which CUDA it was built for)."""

    code_version: str
    code_sha256: str
    python: str
    open_clip: str
    numpy: str
    pillow: str
    torchvision: str


def software() -> Software:
    """This library's sources, and the versions that decide figures."""
    return Software(
        code_version=_version("cleanclip-service"),
        code_sha256=sources_sha256(Path(__file__).parent),
        python=platform.python_version(),
        open_clip=_version("open_clip_torch"),
        numpy=_version("numpy"),
        pillow=_version("pillow"),
        torchvision=_version("torchvision"),
    )


def sources_sha256(*folders: Path) -> str:
    """Over the names and bytes of all Python files below each of the folders, in order; some milliseconds."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
