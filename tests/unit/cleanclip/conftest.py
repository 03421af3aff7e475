"""No test of the client touches this user's files or environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cleanclip import service


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEANCLIP_CONFIG", str(tmp_path / "config" / "config.json"))
    monkeypatch.delenv("CLEANCLIP_URL", raising=False)
    monkeypatch.delenv("CLEANCLIP_API_KEY", raising=False)
    monkeypatch.delenv("CLEANCLIP_PROFILE", raising=False)
    monkeypatch.delenv("CLEANCLIP_DEBUG", raising=False)


@pytest.fixture
def either_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    """`client_on` makes the client of this kind; see `pytest_generate_tests`."""
    token = service.kind.set(request.param)
    yield
    service.kind.reset(token)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of a module that says BOTH_CLIENTS is run with the synchronous and the asynchronous one."""
    if getattr(metafunc.module, "BOTH_CLIENTS", False):
        metafunc.fixturenames.append("either_kind")
        metafunc.parametrize("either_kind", ["sync", "async"], indirect=True)
