"""Where this machine keeps the client's configuration and its memory of unfinished uploads."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

_NAME = "cleanclip"


def cache_dir() -> Path:
    """CLEANCLIP_CACHE_DIR, else the platform's cache folder of this user."""
    if given := os.environ.get("CLEANCLIP_CACHE_DIR"):
        return Path(given)
    if sys.platform == "win32":
        return _env_dir("LOCALAPPDATA", "AppData/Local") / _NAME / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches" / _NAME
    return _env_dir("XDG_CACHE_HOME", ".cache") / _NAME


def config_path() -> Path:
    """CLEANCLIP_CONFIG, else config.json in the platform's configuration folder of this user."""
    if given := os.environ.get("CLEANCLIP_CONFIG"):
        return Path(given)
    if sys.platform == "win32":
        return _env_dir("APPDATA", "AppData/Roaming") / _NAME / "config.json"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support" / _NAME / "config.json"
    return _env_dir("XDG_CONFIG_HOME", ".config") / _NAME / "config.json"


def _env_dir(name: str, below_home: str) -> Path:
    value = os.environ.get(name, "")
    return Path(value) if os.path.isabs(value) else Path.home() / below_home


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only this user can read (0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """The object in that file; empty where there is no file, or none that can be read as JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
