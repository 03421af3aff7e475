"""Which software made a figure: the versions that decide it, and our own commit where it is known."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TypedDict

PACKAGE = "cleanclip-service"


class Software(TypedDict):
    """The fields of a report's `Environment` that no machine decides, but for torch, which says more itself
    than its package does (which CUDA it was built for)."""

    code_version: str
    code_commit: str | None
    python: str
    open_clip: str
    numpy: str
    pillow: str
    torchvision: str


def software() -> Software:
    """Our own version and commit, and the versions of what decides figures."""
    return Software(
        code_version=_version(PACKAGE),
        code_commit=commit_of(PACKAGE),
        python=platform.python_version(),
        open_clip=_version("open_clip_torch"),
        numpy=_version("numpy"),
        pillow=_version("pillow"),
        torchvision=_version("torchvision"),
    )


def commit_of(package: str) -> str | None:
    """The commit that a package was installed from, as its installer noted it (PEP 610); None: not known."""
    try:
        origin = json.loads(distribution(package).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    commit: str | None = origin.get("vcs_info", {}).get("commit_id")
    return commit


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
