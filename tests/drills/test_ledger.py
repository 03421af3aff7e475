"""The ledger check finds every kind of violation that is planted, and nothing where nothing is wrong.

One clean world (two jobs of each kind that have ended, one that waits); every test gets a copy of its
database. What is planted in the object store is taken away again.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.ids import new_id
from app.domain.states import DatasetKind, JobKind, JobState
from app.ledger.check import MUST_HAVE, check
from app.local.stack import Stack
from app.settings import DatasetSettings, Settings
from app.storage.s3 import S3Store
from tests.drills.planted import ROWS, Clean
from tests.fixtures.buckets import own_bucket
from tests.fixtures.databases import own_database, plain
from tests.integration.worker.stand_in_child import CLASSES
from tests.integration.worker.world import AUDIT, RECIPE, World
from worker.sweeper import SweepOptions, sweep_once

SOMEWHERE_ELSE = "outputs/prj_nobody/job_nobody/attempt-1/model.safetensors"


def test_the_files_of_every_kind_are_known() -> None:
    assert set(MUST_HAVE) == set(JobKind)


@pytest.fixture(scope="module")
def data_store(stack: Stack) -> Iterator[S3Store]:
    """A customer's bucket: not ours, and not in the ledger."""
    with own_bucket(stack.settings().storage, "customer") as store:
        yield store


@pytest.fixture(scope="module")
def ended(
    database_url: str, object_store: S3Store, data_store: S3Store, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Everything went its way through real runners; then a sweep."""
    database = Database(build_engine(database_url, role=Role.WORKER))
    hands = Database(build_engine(database_url, role=Role.OPERATOR))
    world = World(database, data_store, tmp_path_factory.mktemp("world"), hands=hands)
    names = {"classnames.txt": "\n".join(CLASSES).encode()}
    datasets = {
        kind: world.dataset(kind, {"0.tar": b"shard"} | (names if kind is DatasetKind.LABELLED else {}))
        for kind in DatasetKind
    }
    world.store = object_store
    checkpoint, inspect = world.checkpoint()
    allowed = DatasetSettings(allowed_prefixes=(f"s3://{data_store.bucket}/",))
    for job in (inspect, *(job for _, job in datasets.values())):
        assert world.runner(datasets=allowed).run(job.id) is JobState.SUCCEEDED
    jobs = [
        world.enqueued(
            JobKind.SANITIZE,
            spec={"version": 1, "recipe": RECIPE, "audit": AUDIT},
            checkpoint_id=checkpoint.id,
            dataset_id=datasets[DatasetKind.PAIRS][0].id,
            labelled_dataset_id=datasets[DatasetKind.LABELLED][0].id,
        )
        for _ in range(3)
    ]
    with hands.unit_of_work() as unit:
        for job in jobs:
            unit.trail.add(
                project_id=world.project_id,
                key_id=None,
                action="job.create",
                target_id=job.id,
                request_id=None,
                remote_addr=None,
            )
    assert world.runner().run(jobs[0].id) is JobState.SUCCEEDED
    while world.job(jobs[1].id).state is not JobState.FAILED:
        with hands.unit_of_work() as unit:
            unit.jobs.get(world.project_id, jobs[1].id, for_update=True).not_before = None
        world.runner("crash").run(jobs[1].id)
    sweep_once(
        database,
        object_store,
        world.publisher,
        SweepOptions(leftovers_after_s=0, failed_leftovers_after_s=0),
    )
    database.dispose()
    hands.dispose()
    return {"succeeded": jobs[0].id, "failed": jobs[1].id, "waiting": jobs[2].id}


@pytest.fixture
def clean(
    ended: dict[str, str], database_url: str, object_store: S3Store, service_settings: Settings
) -> Iterator[Clean]:
    original = make_url(database_url)
    server = original.set(database="cleanclip")  # nobody may be connected to what is copied
    with own_database(server, "copy", template=str(original.database)) as copy:
        with psycopg.connect(plain(copy)) as connection:  # what is planted here no policy would let through
            for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                name = sql.Identifier(table)
                connection.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name))
                connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
        database = service_settings.database.model_copy(update={"url": copy})
        settings = service_settings.model_copy(update={"database": database})
        yield Clean(settings=settings, store=object_store, url=copy, **ended)


def test_a_clean_stack_has_no_violation_and_the_check_says_what_it_looked_at(clean: Clean) -> None:
    ledger = check(clean.settings, grace_s=0.0, failed_grace_s=0.0)
    assert ledger.violations == ()
    assert ledger.num_jobs == 6
    assert ledger.num_artifacts >= 3 + 2 + 2 + 3, "of the inspection, the validations and the job"
    assert ledger.num_objects == ledger.num_artifacts + 1, "and the upload itself"
    assert ledger.num_events > 30


@pytest.mark.parametrize("planted", ROWS)
def test_a_planted_violation_in_the_rows_is_found(clean: Clean, planted: str) -> None:
    plant, sentence = ROWS[planted]
    plant(clean)
    found = clean.violations()
    assert any(sentence in line for line in found), found


def test_what_a_first_audit_found_out_is_no_published_result(clean: Clean) -> None:
    clean.execute("""UPDATE jobs SET result = '{"outcome": "passed"}' WHERE id = %s""", clean.waiting)
    assert clean.violations() == ()


def test_a_row_whose_object_is_gone_is_found(clean: Clean) -> None:
    key = clean.only("SELECT object_key FROM artifacts WHERE job_id = %s LIMIT 1", clean.succeeded)
    body = clean.store.read_bytes(key, max_bytes=10**7)
    clean.store.delete(key)
    found = clean.violations()
    clean.store.put_bytes(key, body)
    assert len(found) == 1
    assert found[0].startswith("The object of artifact ")
    assert found[0].endswith(f"is not there: {key}.")


def test_bytes_that_changed_under_a_row_are_found(clean: Clean) -> None:
    key = clean.only(
        "SELECT object_key FROM artifacts WHERE job_id = %s AND name = 'model.safetensors'", clean.succeeded
    )
    body = clean.store.read_bytes(key, max_bytes=10**7)
    clean.store.put_bytes(key, body[:-1] + bytes([body[-1] ^ 1]))
    found = clean.violations()
    clean.store.put_bytes(key, body)
    assert len(found) == 1
    assert "has other bytes than its row's digest says" in found[0]


@pytest.mark.parametrize("key", [SOMEWHERE_ELSE, "states/p/job_x/attempt-1/step-00000001/a", "uploads/stray"])
def test_an_object_without_a_row_is_found_once_the_grace_is_over(clean: Clean, key: str) -> None:
    clean.store.put_bytes(key, b"left behind")
    young, old = clean.violations(grace_s=60.0), clean.violations()
    clean.store.delete(key)
    assert young == ()
    assert len(old) == 1
    assert old[0].startswith(f"Object {key} has lain there since ")


def test_the_leftovers_of_a_losing_attempt_are_found_unless_the_job_still_runs(clean: Clean) -> None:
    project = clean.only("SELECT project_id FROM jobs LIMIT 1")
    keys = [f"outputs/{project}/{job}/attempt-9/x" for job in (clean.succeeded, clean.waiting)]
    for key in keys:
        clean.store.put_bytes(key, b"x")
    found = clean.violations()
    for key in keys:
        clean.store.delete(key)
    assert len(found) == 1
    assert keys[0] in found[0]


def test_what_customers_keep_beside_the_services_folders_is_not_ours_to_judge(clean: Clean) -> None:
    clean.store.put_bytes("data/prj_x/pairs/shard-00000.tar", b"theirs")
    found = clean.violations()
    clean.store.delete("data/prj_x/pairs/shard-00000.tar")
    assert found == ()


def test_an_unfinished_upload_without_a_row_is_found(clean: Clean) -> None:
    upload_id = clean.store.create_multipart(f"uploads/prj_x/{new_id('upl')}")
    found = clean.violations()
    (key,) = [line.split(" ")[7] for line in found if "unfinished upload" in line]
    clean.store.abort_multipart(key, upload_id)
    assert len(found) == 1


def test_the_program_prints_a_sentence_for_each_violation_and_exits_with_1(
    clean: Clean, service_environment: dict[str, str]
) -> None:
    environment = service_environment | {"CLEANCLIP_DATABASE__URL": clean.url}
    command = [sys.executable, "-m", "app.cli", "ledger", "--grace-s", "0", "--failed-grace-s", "0"]

    def ledger() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=False,
        )

    before = ledger()
    clean.execute("UPDATE jobs SET error = NULL WHERE id = %s", clean.failed)
    after = ledger()
    assert (before.returncode, before.stdout.count("\n")) == (0, 1), before.stdout + before.stderr
    assert after.returncode == 1
    assert after.stdout.splitlines()[0] == f"Job {clean.failed} is failed but has no error."
    environment["CLEANCLIP_DATABASE__URL"] = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    assert ledger().returncode == 2, "not to be able to look is not a clean bill"
