"""What an operator does with the stack, as docs/how-to/operating has it: look, dump, restore, upgrade."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import httpx

from cleanclip.sync.client import Client
from tests.containers.jobs import in_training
from tests.containers.stack import PATIENCE_S, PROCESSES, Compose, wait_until

_NEXT_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "trial", "{head}", None, None

def upgrade():
    op.add_column("jobs", sa.Column("of_the_trial", sa.Text(), nullable=True))

def downgrade():
    op.drop_column("jobs", "of_the_trial")
"""


def look_at_the_walls(compose: Compose) -> None:
    """Who reaches what, from inside; what is published, from outside."""
    reaches = (
        "import socket\n"
        "def reaches(host, port):\n"
        " try: socket.create_connection((host, port), 3).close(); return True\n"
        " except OSError: return False\n"
    )
    for service in ("api", "worker", "sweeper"):
        for port in (18333, 8888, 9333, 8080):
            asked = f"print(reaches('seaweedfs', {port}), reaches('store', {port}))"
            assert compose.python(service, reaches + asked) == "False False", (service, port)
    asked = "print(reaches('valkey', 6379), reaches('store', 8333), reaches('postgres', 5432))"
    assert compose.python("webhooks", reaches + asked) == "False False True"
    login = (
        "import os, psycopg\n"
        "from app.settings import load_settings\n"
        "from sqlalchemy import make_url\n"
        "url = make_url(load_settings().database.url)\n"
        "given = url.translate_connect_args(database='dbname', username='user')\n"
        "c = psycopg.connect(**given, autocommit=True)\n"
    )
    tried = 'try: c.execute("""{}"""); print("done")\nexcept psycopg.Error as e: print(type(e).__name__)\n'
    for statement in (
        "SET ROLE NONE; COPY (SELECT 1) TO PROGRAM 'true'",
        "SET ROLE cleanclip_operator",
        "SELECT * FROM pg_authid",
    ):
        assert compose.python("webhooks", login + tried.format(statement)) == "InsufficientPrivilege", (
            statement
        )
    metrics = httpx.get(f"http://127.0.0.1:{compose.api_port}/metrics", trust_env=False)
    assert metrics.status_code == 404
    asked = (
        "import urllib.request as u; print(u.urlopen('http://{}:9464/metrics', timeout=9).read().decode())"
    )
    for service in PROCESSES:
        assert "cleanclip_" in compose.python("webhooks", asked.format(service)), service


def restore(compose: Compose) -> None:
    """As docs/how-to/operating/backups.md has it, with the bucket left as it is."""
    local = ("--host", "/var/run/postgresql", "--username", "postgres")
    dump, place = ("exec", "-T", "postgres"), "/var/lib/postgresql/cleanclip.dump"
    compose(*dump, "pg_dump", *local, "--format", "custom", "--file", place, "cleanclip")
    compose("stop", "api", "sweeper", "webhooks", "worker", "worker-light")
    compose(*dump, "dropdb", *local, "cleanclip")
    compose(*dump, "createdb", *local, "--owner", "owner_login", "cleanclip")
    restored = ("--dbname", "cleanclip", "--exit-on-error", "--single-transaction", place)
    compose(*dump, "pg_restore", *local, *restored)
    compose.up()


def make_next_images(tag: str) -> None:
    """Both images with one more migration, as a later version has them."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "trial.py").write_text(_NEXT_MIGRATION.format(head="0001"))
        for image in ("api", "worker"):
            (place / "Dockerfile").write_text(
                f"FROM cleanclip/{image}:dev\nCOPY trial.py /opt/cleanclip/migrations/versions/\n"
            )
            command = ["docker", "build", "--quiet", "--tag", f"cleanclip/{image}:{tag}", name]
            subprocess.run(command, check=True, capture_output=True)


def upgrade(compose: Compose, client: Client, order: dict[str, Any]) -> str:
    """As docs/how-to/operating/upgrades.md has it, with a job in training; the job's id."""
    make_next_images("next")
    job = client.jobs.create(**order)
    wait_until(lambda: in_training(client.jobs.get(job.id)), "training begins")
    compose.variables["TAG"] = "next"
    compose("run", "--rm", "-T", "migrate")
    assert client.jobs.get(job.id).id == job.id, "the old API serves with the new schema"
    compose.up("sweeper", "webhooks", "worker", "worker-light")
    compose.up("api")
    ended = client.jobs.wait(job.id, timeout_s=PATIENCE_S)
    assert ended.state == "succeeded", ended.error
    assert "handed_back" in [event.type for event in client.jobs.all_events(job.id)]
    images = compose("images", "--format", "json")
    assert images.count('"Tag":"next"') >= len(PROCESSES), images
    local = ("--host", "/var/run/postgresql", "--username", "postgres", "--dbname", "cleanclip")
    asked = "SELECT version_num FROM alembic_version"
    assert "trial" in compose("exec", "-T", "postgres", "psql", *local, "--command", asked)
    return job.id
