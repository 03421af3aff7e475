"""The digest of source files: which code made a figure, where a version is the same for many commits."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sources_sha256(*folders: Path) -> str:
    """Over the names and bytes of all Python files below each of the folders, in order; some milliseconds."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
