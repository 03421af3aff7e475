"""Keeps what is held out closed until a committed file says what was decided before. Knows no measurement.

Such a file counts only as HEAD holds it: one that was only written, or edited since, opens nothing. It names
digests of what it was decided with (a plan, code); if one of these is another now, it opens nothing either.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError


class HeldOut(Exception):
    """Something held out was asked for before the decision was committed; the message says what."""


SomeFrozen = TypeVar("SomeFrozen")


def read_frozen(
    root: Path,
    path: Path,
    adapter: TypeAdapter[SomeFrozen],
    versions: Mapping[str, Callable[[], str]],
) -> SomeFrozen:
    """The committed decision at `path`, relative to the repository `root`.

    `versions`: fields of it that hold a SHA-256, each with what gives today's. Raises HeldOut if the file is
    missing, edited or damaged, or if a version is another.
    """
    committed = _committed(root, path)
    if committed is None:
        raise HeldOut(f"{path} is not committed: write it and commit it alone first.")
    if not (root / path).is_file() or (root / path).read_bytes() != committed:
        raise HeldOut(f"{path} differs from the committed file: commit or restore it.")
    try:
        frozen = adapter.validate_json(committed)
    except ValidationError as error:
        raise HeldOut(f"{path} is damaged: {error}") from error
    for field, today in versions.items():
        then, now, what = getattr(frozen, field), today(), field.removesuffix("_sha256")
        if then != now:
            raise HeldOut(
                f"{path} was made with another version of the {what}: {then}, now {now}. Run this in a "
                f"checkout of the commit that froze it: git worktree add ../frozen {_last_commit(root, path)}"
            )
    return frozen


def _committed(root: Path, path: Path) -> bytes | None:
    found = subprocess.run(
        ["git", "show", f"HEAD:{path.as_posix()}"], cwd=root, capture_output=True, check=False
    )
    return found.stdout if found.returncode == 0 else None


def _last_commit(root: Path, path: Path) -> str:
    log = ("git", "log", "-1", "--format=%h", "--", path.as_posix())
    return subprocess.run(log, cwd=root, capture_output=True, check=True, text=True).stdout.strip()
