"""Remembers which upload a file belongs to, so that a crash or a restart does not send it all again.

One small file per upload in the user's cache folder, named by the identity of the file and of the service.
Holds no key and no URL.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleanclip import places


class UploadMemory:
    """`recall` and `remember` the id of one file's unfinished upload."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._path = folder / "uploads" / f"{identity}.json"

    @classmethod
    def of(
        cls, base_url: str, path: Path, *, purpose: str, declared: Mapping[str, Any] | None
    ) -> UploadMemory:
        """The memory of this file, as it is now, at this service: another size or time is another file."""
        facts = os.stat(path)
        identity = json.dumps(
            [
                base_url,
                str(path.resolve()),
                facts.st_size,
                facts.st_mtime_ns,
                facts.st_ino,
                purpose,
                dict(declared or {}),
            ],
            sort_keys=True,
        )
        return cls(places.cache_dir(), hashlib.sha256(identity.encode()).hexdigest()[:40])

    def recall(self) -> str | None:
        try:
            upload_id = places.read_json(self._path).get("upload_id")
        except OSError:
            return None
        return upload_id if isinstance(upload_id, str) else None

    def remember(self, upload_id: str) -> None:
        """A cache that cannot be written costs the resume, not the upload."""
        try:
            places.write_private(self._path, {"upload_id": upload_id})
        except OSError:
            return

    def forget(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return
