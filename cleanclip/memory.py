"""What an earlier run did, so that the same call or command continues instead of doing it again.

Small files in the user's cache folder. Holds no key; the service is asked before what it says is believed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleanclip import places


class Memory:
    """What is known of one thing; `identity` is whatever makes it that and no other."""

    def __init__(self, kind: str, *identity: object) -> None:
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:40]
        self._path = places.cache_dir() / kind / f"{name}.json"

    def recall(self) -> dict[str, Any]:
        """Empty where nothing is known."""
        try:
            return places.read_json(self._path)
        except OSError:
            return {}

    def remember(self, **facts: object) -> None:
        """A cache that cannot be written costs the going on, not the work."""
        try:
            places.write_private(self._path, facts)
        except OSError:
            return

    def forget(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return


def of_file(path: Path) -> Mapping[str, object]:
    """A file as it is now: another size or time is another file."""
    facts = path.stat()
    return {
        "path": str(path.resolve()),
        "size_bytes": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
        "inode": facts.st_ino,
    }
