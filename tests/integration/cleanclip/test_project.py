"""What the project uses, and what was deleted, by the client and its command against the real API."""

import json
import subprocess
import sys

import pytest

from app.domain.states import DatasetKind
from cleanclip.errors import Conflict, NotFound
from cleanclip.sync.client import Client
from tests.integration.cleanclip.served import Served


def cleanclip(served: Served, *arguments: str) -> str:
    """stdout of the command."""
    command = [sys.executable, "-m", "cleanclip.command.main", "--url", served.url, "--api-key", served.key]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout


def test_a_finished_job_is_deleted_and_its_receipt_can_be_read(served: Served, client: Client) -> None:
    job = client.jobs.create(
        kind="audit",
        checkpoint_id=served.accepted_checkpoint(),
        audit={"dataset_id": served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
    )
    assert client.usage().waiting_jobs.current >= 1
    with pytest.raises(Conflict) as refused:
        client.jobs.delete(job.id)
    assert refused.value.code == "job_not_finished"
    client.jobs.cancel(job.id)
    deletion = client.jobs.delete(job.id)
    assert deletion is not None
    assert deletion.state == "pending"
    with pytest.raises(NotFound):
        client.jobs.get(job.id)
    assert client.deletions.get(deletion.id).subject_id == job.id
    assert deletion.id in [row.id for row in client.deletions.list().data]
    shown = cleanclip(served, "deletions", "show", deletion.id)
    assert job.id in shown


def test_the_trail_says_who_did_what(served: Served, client: Client) -> None:
    key = client.keys.create(name="short", scopes=["read"])
    client.keys.revoke(key.id)
    [row] = client.trail.list(action="key.revoke", target_id=key.id).data
    assert (row.outcome, row.key_id is not None, row.remote_addr) == ("done", True, "127.0.0.1")
    shown = cleanclip(served, "trail", "--target", key.id)
    assert row.key_name in shown
    assert [line.split()[2] for line in shown.splitlines()[1:]] == ["key.revoke", "key.create"]
    assert json.loads(cleanclip(served, "trail", "--limit", "1", "--json"))["data"][0]["id"] == row.id


def test_the_command_says_what_is_used_and_where_a_receipt_will_be(served: Served) -> None:
    usage = json.loads(cleanclip(served, "usage", "--json"))
    assert usage["requests_per_minute"]["limit"] == 6000
    assert "open uploads" in cleanclip(served, "usage")
    checkpoint = served.accepted_checkpoint()
    reported = json.loads(cleanclip(served, "checkpoints", "rm", checkpoint, "--json"))
    assert reported["deleted"] == checkpoint
    assert reported["deletion"].startswith("del_")
