"""No test of the client touches this user's files or environment."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEANCLIP_CONFIG", str(tmp_path / "config" / "config.json"))
    monkeypatch.delenv("CLEANCLIP_URL", raising=False)
    monkeypatch.delenv("CLEANCLIP_API_KEY", raising=False)
    monkeypatch.delenv("CLEANCLIP_DEBUG", raising=False)
