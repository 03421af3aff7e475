"""Keys, through the library and the command, against the real API."""

import json
import re

import httpx
import pytest

from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from cleanclip.errors import Conflict, Forbidden, UnexpectedAnswer
from cleanclip.sync.client import Client
from tests.integration.cleanclip.served import Served
from tests.integration.cleanclip.test_command import cleanclip, ended
from tests.integration.cleanclip.wires import Wires


def test_a_key_is_made_rotated_and_revoked(served: Served, client: Client) -> None:
    made = client.keys.create(name="library", scopes=["read"], expires_in_s=3600)
    assert made.key is not None
    assert made.key not in repr(made), "it does not end up in a log by accident"
    with Client(served.url, made.key) as reader:
        assert reader.jobs.list().data == ()
        with pytest.raises(Forbidden):
            reader.keys.list()
    rotated = client.keys.rotate(made.id, overlap_s=0)
    assert rotated.key is not None
    assert client.keys.get(made.id).state == "expired"
    assert client.keys.revoke(rotated.id).state == "revoked"
    states = {key.id: key.state for key in client.keys.list(limit=100).data}
    assert (states[made.id], states[rotated.id]) == ("expired", "revoked")
    with pytest.raises(Conflict):
        client.keys.rotate(rotated.id)


def test_a_key_whose_answer_was_lost_is_named_so_that_it_can_be_revoked(client: Client, wires: Wires) -> None:
    def answered_to_nobody(request: httpx.Request) -> None:
        wires.rule = lambda _: None
        with httpx.HTTPTransport() as real:
            assert real.handle_request(request).status_code == 201
        raise httpx.ReadError("the connection broke", request=request)

    wires.rule = answered_to_nobody
    with pytest.raises(UnexpectedAnswer) as lost:
        client.keys.create(name=(name := f"lost {id(wires)}"), scopes=["read"])
    [found] = [key for key in client.keys.list(limit=100).data if key.name == name]
    assert found.id in str(lost.value)
    assert found.state == "active"


def test_the_command_prints_a_new_key_on_stdout_and_nothing_else(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANCLIP_URL", served.url)
    monkeypatch.setenv("CLEANCLIP_API_KEY", served.key)
    out, err = ended(cleanclip("keys", "create", "by command", "--scope", "read", "--expires-days", "1"))
    assert re.fullmatch("cclip_live_[0-9a-z]{26}_[0-9A-Za-z]{38}\n", out)
    assert out.strip() not in err
    key_id = err.split()[0]
    rotated = json.loads(ended(cleanclip("keys", "rotate", key_id, "--overlap-hours", "0", "--json"))[0])
    assert rotated["key"].startswith("cclip_live_")
    ended(cleanclip("keys", "rotate", key_id), ExitCode.REFUSED)


def test_the_command_lists_shows_and_revokes(
    served: Served, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["--url", served.url, "--api-key", served.key, "keys", *arguments])
        assert int(left.value.code or 0) == status
        return capsys.readouterr().out

    key_id = client.keys.create(name="to be revoked", scopes=["read", "run"]).id
    assert key_id in run("ls")
    assert "read, run" in run("show", key_id)
    assert f"{key_id} revoked\n" in run("revoke", key_id)
    run("create", "no scope", status=ExitCode.USAGE)
