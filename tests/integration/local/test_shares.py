"""Operators' commands for shares and projects, in this process, on a real database."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.cli.main import main
from app.db.models.job import Job
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.errors import Unauthorized
from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from app.services import api_keys
from app.settings import QuotaSettings


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", database_url)
    engine = build_engine(database_url, role=Role.OPERATOR)
    yield engine
    engine.dispose()


def made(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, str]:
    """A project with a key."""
    assert main(["create-key", "--project", name, "--json"]) == 0
    found: dict[str, str] = json.loads(capsys.readouterr().out)
    return found


def test_an_operator_sets_limits_and_takes_them_back(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    project = made(capsys, "limited")["project_id"]
    assert main(["set-quota", "--project", "limited", "--waiting-jobs", "5", "--stored-bytes", "0"]) == 0
    reported = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    defaults = QuotaSettings()
    assert reported == {
        "running_jobs": str(defaults.running_jobs),
        "waiting_jobs": "5",
        "stored_bytes": "0",
        "bytes_in_flight": str(defaults.bytes_in_flight),
        "open_uploads": str(defaults.open_uploads),
        "row_bytes": str(defaults.row_bytes),
        "requests_per_minute": str(defaults.requests_per_minute),
    }
    assert main(["set-quota", "--project", "limited", "--waiting-jobs", "default"]) == 0
    reported = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert (reported["waiting_jobs"], reported["stored_bytes"]) == (str(defaults.waiting_jobs), "0")
    with engine.connect() as connection:
        query = text("SELECT action FROM trail_entries WHERE project_id = :id ORDER BY id DESC LIMIT 1")
        assert connection.scalar(query, {"id": project}) == "quota.set"
    assert main(["set-quota", "--project", "nobody", "--waiting-jobs", "1"]) == 1


def test_a_deleted_project_has_no_key_no_waiting_job_and_its_name_is_free(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    project = made(capsys, "leaving")
    database = Database(engine)
    with database.unit_of_work() as unit:
        values = {"project_id": project["project_id"], "kind": JobKind.AUDIT, "spec": {}}
        job = unit.jobs.enqueue(Job(id=new_id("job"), **values))
    assert main(["delete-project", "leaving"]) == 1, "not without --yes"
    assert main(["delete-project", "leaving", "--yes"]) == 0
    deletion = capsys.readouterr().out.strip()
    assert main(["deletion", deletion, "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert (receipt["subject"], receipt["subject_id"]) == ("project", project["project_id"])
    assert receipt["finished_at"] is None
    with database.unit_of_work() as unit:
        assert unit.jobs.get(project["project_id"], job.id).state is JobState.CANCELLED
        with pytest.raises(Unauthorized):
            api_keys.recognise(unit, api_keys.read_key(project["key"]), request_id="r", remote_addr=None)
    assert made(capsys, "leaving")["project_id"] != project["project_id"]
