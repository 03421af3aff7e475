"""Which software and which machine made a figure, as far as they can be told without torch."""

import json
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
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


def machine() -> str:
    """The system, the processor and the number of its cores."""
    return hardware(f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores")


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def hardware(name: str) -> str:
    """A name as a report may have it."""
    return re.sub(r"[^A-Za-z0-9 ()@,._+/-]|\.(?![A-Za-z0-9])", "", name[:200])


def device(*, uses_cuda: bool) -> str:
    """What a job computes on: "cpu", or the first GPU as its driver names it, else "CUDA"."""
    if not uses_cuda:
        return "cpu"
    for place in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in place.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Model:"):
                return hardware(line.removeprefix("Model:").strip())
    return "CUDA"
