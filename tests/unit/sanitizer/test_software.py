"""The commit that a package was installed from is the one that its installer noted."""

import json

import pytest

from sanitizer import software


class Installed:
    def __init__(self, origin: object) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._origin is None else json.dumps(self._origin)


@pytest.mark.parametrize(
    ("origin", "commit"),
    [
        ({"vcs_info": {"vcs": "git", "commit_id": "c0de" * 10}}, "c0de" * 10),
        ({"dir_info": {"editable": True}}, None),
        (None, None),
    ],
)
def test_the_commit_is_told_where_it_was_noted(origin, commit, monkeypatch):
    monkeypatch.setattr(software, "distribution", lambda name: Installed(origin))
    assert software.software()["code_commit"] == commit


def test_a_package_that_is_not_installed_has_no_commit():
    assert software.commit_of("no-such-package-here") is None
