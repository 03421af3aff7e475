"""Profiles: which address and key are used, where they are kept, and where a key never goes."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cleanclip import places
from cleanclip.command import settings
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from cleanclip.command.session import Session
from tests.unit.cleanclip.service import FakeRoutes, FakeService

METHODS = httpx.Response(200, json={"methods": [{"name": "cleanclip"}]})
EMPTY = httpx.Response(200, json={"data": []})


def run(*arguments: str, answer: httpx.Response = EMPTY) -> tuple[int, FakeService]:
    service = FakeService(answer)
    with pytest.raises(SystemExit) as caught:
        main([*arguments], session=Session(transport=service))
    return int(caught.value.code or 0), service


def used(*arguments: str) -> tuple[str, str]:
    """(host, key) of a request that the command made."""
    status, service = run(*arguments, "jobs", "ls")
    assert status == ExitCode.OK
    return service.requests[0].url.host, service.requests[0].headers["authorization"].removeprefix("Bearer ")


@pytest.fixture
def kept() -> Path:
    assert run("login", "--url", "https://a", "--api-key", "key-a", answer=METHODS)[0] == 0
    for option in (("login", "--profile", "b"), ("--profile", "b", "login")):
        assert run(*option, "--url", "https://b", "--api-key", "key-b", answer=METHODS)[0] == 0
    return places.config_path()


def test_profiles_lie_in_one_file_that_only_this_user_reads(kept: Path) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text()) == {
        "url": "https://a",
        "api_key": "key-a",
        "profiles": {"b": {"url": "https://b", "api_key": "key-b"}},
    }


@pytest.mark.usefixtures("kept")
def test_an_option_wins_over_the_environment_and_that_over_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert used() == ("a", "key-a")
    assert used("--profile", "b") == ("b", "key-b")
    monkeypatch.setenv("CLEANCLIP_PROFILE", "b")
    assert used() == ("b", "key-b")
    assert used("--profile", "default") == ("a", "key-a")
    monkeypatch.setenv("CLEANCLIP_URL", "https://c")
    monkeypatch.setenv("CLEANCLIP_API_KEY", "key-c")
    assert used() == ("c", "key-c")
    assert used("--profile", "b") == ("b", "key-b")
    assert used("--url", "https://d", "--api-key", "key-d") == ("d", "key-d")
    assert used("--profile", "b", "--api-key", "key-d") == ("b", "key-d")


@pytest.mark.usefixtures("kept")
def test_a_profiles_key_goes_to_its_own_address_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert used("--url", "https://a/") == ("a", "key-a")
    status, service = run("--url", "https://elsewhere", "jobs", "ls")
    assert (status, service.requests) == (ExitCode.NOT_AUTHORISED, [])
    monkeypatch.setenv("CLEANCLIP_URL", "https://elsewhere")
    status, service = run("jobs", "ls")
    assert (status, service.requests) == (ExitCode.NOT_AUTHORISED, [])
    assert "is not sent to https://elsewhere" in capsys.readouterr().err


@pytest.mark.usefixtures("kept")
def test_an_unknown_profile_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("--profile", "c", "jobs", "ls"), ("profiles", "rm", "c")):
        assert run(*arguments)[0] == ExitCode.USAGE, "as where there is no address: nothing is configured"
        assert "there are: b, default" in capsys.readouterr().err


def test_a_file_of_profiles_that_cannot_be_read_is_no_missing_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    places.config_path().mkdir(parents=True)
    for arguments in (("jobs", "ls"), ("profiles", "ls"), ("profiles", "rm", "b")):
        assert run(*arguments)[0] == ExitCode.UNREADABLE
        assert str(places.config_path()) in capsys.readouterr().err
    assert run("doctor")[0] == ExitCode.UNEXPECTED
    assert f"fail  config    {places.config_path()} cannot be read" in capsys.readouterr().out


@pytest.mark.usefixtures("kept")
def test_profiles_are_listed_without_their_keys_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    run("--profile", "b", "profiles", "ls", "--json")
    out = capsys.readouterr().out
    assert [(one["name"], one["is_used"]) for one in json.loads(out)["profiles"]] == [
        ("b", True),
        ("default", False),
    ]
    assert "key-b" not in out
    assert run("profiles", "rm", "b")[0] == 0
    assert run("profiles", "rm", "b")[0] == ExitCode.USAGE
    assert settings.profiles().keys() == {"default"}
    assert run("profiles", "rm", "default")[0] == 0
    assert settings.profiles() == {}


METHODS_AND_HEALTH = FakeRoutes(
    {
        ("GET", "/v1/methods"): METHODS,
        ("GET", "/readyz"): httpx.Response(200, json={"status": "ready"}),
    }
)


@pytest.mark.usefixtures("kept")
def test_a_profile_is_used_where_the_address_or_the_key_is_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reported(*options: str) -> tuple[str | None, str]:
        """(profile, where the key is from), by `check`; `profiles ls` marks the same."""
        documents = []
        for command in (("check",), ("profiles", "ls")):
            capsys.readouterr()
            with pytest.raises(SystemExit):
                main([*options, *command, "--json"], session=Session(transport=METHODS_AND_HEALTH))
            documents.append(json.loads(capsys.readouterr().out))
        checked, listed = documents
        marked = [one["name"] for one in listed["profiles"] if one["is_used"]]
        assert marked == ([] if checked["profile"] is None else [checked["profile"]])
        return checked["profile"], checked["key_from"]

    kept = str(places.config_path())
    assert reported() == ("default", kept)
    assert reported("--profile", "b") == ("b", kept)
    monkeypatch.setenv("CLEANCLIP_API_KEY", "key-c")
    assert reported() == ("default", "environment"), "its address"
    monkeypatch.setenv("CLEANCLIP_URL", "https://c")
    assert reported() == (None, "environment")
    assert reported("--profile", "b") == ("b", kept)
    assert reported("--url", "https://d", "--api-key", "key-d") == (None, "option")


@pytest.mark.parametrize("content", ["", "[]", '{"profiles": 3}', '{"url": 3, "profiles": {"b": 1}}'])
def test_a_file_that_is_something_else_is_as_none(content: str) -> None:
    places.config_path().parent.mkdir(parents=True)
    places.config_path().write_text(content)
    found: Any = settings.profiles()
    assert all(isinstance(one, settings.Profile) for one in found.values())
    assert run("jobs", "ls")[0] == ExitCode.USAGE
