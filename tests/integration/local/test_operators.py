"""The operators' commands against a real database."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.fernet import Fernet

from app.cli.access import migrate
from app.cli.main import main
from app.db.models.job import Job
from app.db.models.webhook import Webhook
from app.db.roles import Role
from app.db.sealing import Sealer
from app.db.session import Database, build_engine
from app.domain.errors import NotFound
from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from app.services import api_keys, operators

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = "tests@here"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(build_engine(database_url, role=Role.OPERATOR))
    yield database
    database.dispose()


def run(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "CLEANCLIP_DATABASE__URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )


class Said(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def inside(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command without a process of its own, which is quicker."""
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", database_url)

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(arguments)
        return Said(code, *capsys.readouterr())

    return command


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


def test_a_key_is_printed_once_on_stdout_and_works(database_url: str, database: Database) -> None:
    shown = run(database_url, "create-key", "--project", "lab", "--scopes", "read,run")
    assert shown.returncode == 0, shown.stderr
    text = shown.stdout.strip()
    assert text not in shown.stderr
    with database.unit_of_work() as unit:
        presented = api_keys.read_key(text)
        caller = api_keys.recognise(unit, presented, request_id="r", remote_addr=None)
    assert caller.scopes == {"read", "run"}


def test_two_keys_of_one_name_are_of_one_project(database_url: str) -> None:
    first = json.loads(run(database_url, "create-key", "--project", "two", "--json").stdout)
    second = json.loads(run(database_url, "create-key", "--project", "two", "--json").stdout)
    assert first["project_id"] == second["project_id"]
    assert first["key"] != second["key"]


def test_an_unknown_scope_is_refused_in_one_sentence_and_nothing_is_made(
    database_url: str, database: Database
) -> None:
    shown = run(database_url, "create-key", "--project", "none", "--scopes", "everything")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "everything" in shown.stderr
    assert "Traceback" not in shown.stderr
    with database.unit_of_work() as unit:
        assert unit.projects.by_name("none") is None


def test_a_job_that_does_not_exist_cannot_be_requeued(database: Database) -> None:
    operators.create_project(database, "p", account=ACCOUNT)
    with pytest.raises(NotFound):
        operators.requeue(database, "job_00000000000000000000000000", account=ACCOUNT)


@pytest.mark.parametrize(
    ("before", "after"), [("failed", "queued"), ("paused", "queued"), ("queued", "queued")]
)
def test_a_job_of_any_project_can_be_queued_again(database: Database, before: str, after: str) -> None:
    project_id = operators.create_project(database, f"jobs {before}", account=ACCOUNT).id
    with database.unit_of_work() as unit:
        job = unit.jobs.enqueue(
            Job(
                id=new_id("job"),
                project_id=project_id,
                kind=JobKind.SANITIZE,
                spec={"version": 1},
                seed=0,
                job_metadata={},
            )
        )
        job.state = JobState(before)
    assert operators.requeue(database, job.id, account=ACCOUNT) == after
    with database.unit_of_work() as unit:
        assert unit.jobs.get(project_id, job.id).state is JobState.QUEUED
        lines, _ = unit.trail.page(project_id, None, 10, action="job.requeue")
    assert [(line.target_id, line.actor, line.key_id) for line in lines] == [(job.id, ACCOUNT, None)]


def test_a_key_is_listed_rotated_and_revoked_and_every_step_leaves_its_line(
    inside: Command, database: Database
) -> None:
    assert inside("projects", "--create", "line").code == 0
    again = inside("projects", "--create", "line")
    assert (again.code, "already" in again.err) == (1, True)
    first = json.loads(inside("create-key", "--project", "line", "--json").out)
    rotated = inside("rotate-key", first["key_id"], "--overlap-hours", "1", "--json")
    second = json.loads(rotated.out)
    assert inside("revoke-key", first["key_id"]).code == 0
    revoked = inside("revoke-key", second["key_id"])
    assert revoked.code == 0, "operators may revoke the last one with scope admin"
    shown = [json.loads(line) for line in inside("keys", "--project", "line", "--json").out.splitlines()]
    assert [(row["key_id"], row["revoked_at"] is not None) for row in shown] == [
        (second["key_id"], True),
        (first["key_id"], True),
    ]
    assert first["key"] not in str(shown)
    assert "line" in inside("projects").out
    with database.unit_of_work() as unit:
        lines, _ = unit.trail.page(first["project_id"], None, 10)
    assert [(line.action, line.target_id) for line in reversed(lines)] == [
        ("project.create", first["project_id"]),
        ("key.create", first["key_id"]),
        ("key.rotate", first["key_id"]),
        ("key.create", second["key_id"]),
        ("key.revoke", first["key_id"]),
        ("key.revoke", second["key_id"]),
    ]
    assert all(line.actor and "@" in line.actor and line.key_id is None for line in lines)


@pytest.mark.parametrize("days", ["nan", "inf", "1e9", "-1", "soon"])
def test_an_expiry_that_is_no_number_of_days_is_wrong_usage(inside: Command, days: str) -> None:
    with pytest.raises(SystemExit) as ended:
        inside("create-key", "--project", "days", "--expires-days", days)
    assert ended.value.code == 2


@pytest.mark.parametrize("name", ["", "x" * 101, "two\nlines", "prj_01k0000000000000000000000a"])
def test_a_name_that_no_project_can_have_is_refused(inside: Command, name: str) -> None:
    for arguments in (["projects", "--create", name], ["create-key", "--project", name]):
        shown = inside(*arguments)
        assert (shown.code, shown.out) == (1, "")
        assert "100 printable characters" in shown.err


def test_trail_and_receipts_are_shown_also_of_a_project_that_was_deleted(inside: Command) -> None:
    made = json.loads(inside("create-key", "--project", "past", "--json").out)
    actions = [line.split("\t")[3] for line in inside("trail", "--project", "past").out.splitlines()]
    assert actions == ["key.create", "project.create"]
    receipt = inside("delete-project", "past", "--yes").out.strip()
    assert inside("trail", "--project", "past").code == 1, "the name is free again"
    first, *rest = inside("trail", "--project", made["project_id"], "--json").out.splitlines()
    assert json.loads(first)["action"] == "project.delete"
    assert "@" in json.loads(first)["actor"]
    assert len(rest) == 2
    only = inside("trail", "--project", made["project_id"], "--action", "key.create", "--limit", "1").out
    assert made["key_id"] in only
    assert receipt in inside("deletions", "--project", made["project_id"]).out


def test_a_key_or_project_that_does_not_exist_is_refused_in_one_sentence(inside: Command) -> None:
    nobody = "key_00000000000000000000000000"
    for arguments in (["revoke-key", nobody], ["rotate-key", nobody], ["keys", "--project", "nowhere"]):
        shown = inside(*arguments)
        assert (shown.code, shown.out) == (1, ""), arguments
        assert "There is no" in shown.err


def test_a_database_that_is_away_is_said_in_one_sentence(tmp_path: Path) -> None:
    shown = run(f"postgresql+psycopg://nobody@/x?host={tmp_path}", "create-key", "--project", "lab")
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    assert "database" in shown.stderr


def test_wrong_usage_exits_with_two(tmp_path: Path) -> None:
    assert run(f"postgresql://x@/x?host={tmp_path}", "create-key").returncode == 2


def test_the_commands_never_load_torch() -> None:
    never = {"torch", "open_clip", "worker", "celery.app"}
    code = f"import sys, app.cli.main; assert not {never!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_secrets_of_webhooks_are_sealed_anew_so_that_an_old_key_can_go(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    webhook = Webhook(
        id=new_id("wh"),
        project_id=operators.create_project(database, "sealed", account=ACCOUNT).id,
        url="https://example.org/",
        events=["job.failed"],
        sealed_secret=Sealer([old]).seal("whsec_new"),
        sealed_previous_secret=Sealer([old]).seal("whsec_old"),
    )
    with database.unit_of_work() as unit:
        unit.webhooks.add(webhook)
    monkeypatch.setenv("CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS", json.dumps([new]))
    refused = run(database_url, "reseal-webhooks")
    assert (refused.returncode, webhook.id in refused.stderr) == (1, True)
    monkeypatch.setenv("CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS", json.dumps([new, old]))
    done = run(database_url, "reseal-webhooks")
    assert done.returncode == 0, done.stderr
    with database.unit_of_work() as unit:
        (row,) = unit.webhooks.hold_every()
    sealer = Sealer([new])
    assert row.sealed_previous_secret is not None
    assert sealer.unseal(row.sealed_secret) == "whsec_new"
    assert sealer.unseal(row.sealed_previous_secret) == "whsec_old"


def test_a_deleted_project_tells_its_webhooks_nothing_more(database: Database) -> None:
    project = operators.create_project(database, "quiet", account=ACCOUNT)
    with database.unit_of_work() as unit:
        unit.webhooks.add(
            Webhook(
                id=new_id("wh"),
                project_id=project.id,
                url="https://example.org/",
                events=["job.cancelled"],
                sealed_secret="sealed",
            )
        )
        unit.jobs.enqueue(
            Job(id=new_id("job"), project_id=project.id, kind=JobKind.AUDIT, spec={"version": 1}, seed=1)
        )
    operators.delete_project(database, "quiet", account=ACCOUNT)
    with database.unit_of_work() as unit:
        assert unit.webhooks.count(project.id) == 0
