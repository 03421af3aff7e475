"""What docker-compose.yml tells Valkey and PostgreSQL, told to the same servers without a container."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from celery import Celery
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from app.db.roles import Role
from app.domain.ids import new_id
from app.domain.states import JobKind
from app.local import postgres, seaweedfs, valkey
from app.local.processes import free_ports
from app.local.stack import Stack
from app.queue.celery_config import celery_settings
from app.queue.names import LIGHT_QUEUE
from app.queue.publisher import BrokerPublisher
from app.queue.rates import BrokerRates
from app.settings import BrokerSettings, StorageSettings
from app.storage.errors import AccessDenied, StorageError
from app.storage.s3 import S3Store
from tests.fixtures.databases import plain

ROOT = Path(__file__).resolve().parents[3]
LOGINS = {
    "owner": set(Role),
    "api": {Role.API},
    "worker": {Role.WORKER},
    "sweeper": {Role.WORKER},
    "webhooks": {Role.WORKER},
    "operator": {Role.OPERATOR},
}


VALKEY_PASSWORDS = {name: f"{name}'s @#:\"pass\\word%" for name in ("default", "api", "worker", "sweeper")}


@pytest.fixture(scope="module")
def valkey_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that docker/valkey.sh started, without a container."""
    [port] = free_ports(1)
    variables = {f"VALKEY_{name.upper()}_PASSWORD": password for name, password in VALKEY_PASSWORDS.items()}
    server = subprocess.Popen(
        [ROOT / "docker/valkey.sh", "--port", str(port)],
        cwd=tmp_path_factory.mktemp("valkey"),
        env={
            "PATH": f"{valkey.binary().parent}:{os.environ['PATH']}",
            "VALKEYCLI_AUTH": VALKEY_PASSWORDS["default"],
            **variables,
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(port=port, password=VALKEY_PASSWORDS["default"]) as broker:
            deadline = time.monotonic() + 20
            while True:
                try:
                    broker.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        shown = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"valkey-server" in shown, "the shell became the server: signals reach it"
        assert not any(password.encode() in shown for password in VALKEY_PASSWORDS.values())
        yield port
    finally:
        server.terminate()
        server.wait()


def broker_url(port: int, name: str) -> str:
    """As the process of that name makes it of its settings."""
    given = {"url": f"redis://{name}@127.0.0.1:{port}/0", "password": VALKEY_PASSWORDS[name]}
    return BrokerSettings.model_validate(given).url


def as_user(port: int, name: str) -> redis.Redis:
    return redis.Redis.from_url(broker_url(port, name))


def test_valkey_answers_nobody_without_a_password_and_is_bounded(valkey_port: int) -> None:
    with redis.Redis(port=valkey_port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with as_user(valkey_port, "default") as broker:
        assert broker.config_get("proto-max-bulk-len") == {"proto-max-bulk-len": "1048576"}
        assert broker.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert broker.config_get("appendonly") == {"appendonly": "yes"}


def test_each_process_does_its_work_with_valkey_as_its_own_user(valkey_port: int) -> None:
    job_id = new_id("job")
    api, sweeper, worker = (
        BrokerPublisher(broker_url(valkey_port, name)) for name in ("api", "sweeper", "worker")
    )
    for publisher in (api, sweeper, worker):
        assert publisher.job_ready(job_id, JobKind.INSPECT)
        assert publisher.depth() is not None
    api.check_writes()
    heard: list[str] = []
    app = Celery("test", set_as_current=False)
    app.conf.update(
        celery_settings(broker_url(valkey_port, "worker")), broker_transport="worker.hints:HintTransport"
    )
    with as_user(valkey_port, "api") as stranger:
        stranger.lpush(LIGHT_QUEUE, "not a hint")
    with app.connection() as connection, app.amqp.TaskConsumer(connection, callbacks=[]) as consumer:
        consumer.register_callback(lambda body, message: heard.append(body[1]["job_id"]))
        for _ in range(20):
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=1)
            if len(heard) == 3 and api.num_refused() == 1:
                break
    with as_user(valkey_port, "default") as broker:
        assert broker.acl_log() == []
    assert heard == [job_id] * 3
    assert api.num_refused() == 1

    async def counted() -> None:
        outages: list[int] = []
        rates = BrokerRates(broker_url(valkey_port, "api"), timeout_s=5, on_outage=lambda: outages.append(1))
        assert (await rates.spend("requests/prj_a", 2)).is_allowed
        assert (await rates.spend("requests/prj_a", 2)).is_allowed
        assert not (await rates.look("requests/prj_a", 2)).is_allowed
        assert outages == []
        await rates.close()

    asyncio.run(counted())
    with as_user(valkey_port, "default") as broker:
        assert broker.acl_log() == []


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((name, command) for name in ("api", "worker", "sweeper") for command in (
            "GET other", "SET other 1", "KEYS *", "FLUSHALL", "CONFIG GET *", "ACL LIST", "MONITOR",
            "SHUTDOWN", "CLIENT LIST", "SUBSCRIBE all", "EVAL return(1) 0", "REPLICAOF 127.0.0.1 1",
        )),
        ("api", "BRPOP cleanclip.light 1"),
        ("api", "RPOP cleanclip.light"),
        ("api", "DEL cleanclip.light"),
        ("api", "SET cleanclip.hints_refused 0"),
        ("worker", "GET cleanclip.rates:x"),
        ("worker", "SET cleanclip.readiness 1"),
        ("sweeper", "BRPOP cleanclip.light 1"),
        ("sweeper", "INCRBY cleanclip.hints_refused 1"),
    ],
)  # fmt: skip
def test_a_user_of_valkey_can_do_nothing_else(valkey_port: int, name: str, command: str) -> None:
    with as_user(valkey_port, name) as broker, pytest.raises(redis.exceptions.NoPermissionError):
        broker.execute_command(*command.split())


STORE_NAMES = ("owner", "api", "worker", "sweeper", "operator")
STORE_SECRETS = {name: f"{name}'s \"secret\\ @#" for name in STORE_NAMES}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, S3Store]]:
    """The store as each process sees it; a server that docker/seaweedfs.sh started, without a container."""
    folder = tmp_path_factory.mktemp("store")
    names = [f"{role}.port{kind}" for role in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = [f"-{name}={port}" for name, port in ports.items()]
    server = subprocess.Popen(
        [ROOT / "docker/seaweedfs.sh", f"-dir={folder}", "-s3.ip.bind=127.0.0.1", *options],
        cwd=folder,
        env={
            "PATH": f"{seaweedfs.binary().parent}:{os.environ['PATH']}",
            "GOMEMLIMIT": "256MiB",
            "STORAGE_IDENTITIES": str(folder / "identities.json"),
            **{f"STORAGE_{name.upper()}_SECRET": secret for name, secret in STORE_SECRETS.items()},
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    settings = {
        name: StorageSettings(
            endpoint_url=endpoint, access_key=name, secret_key=SecretStr(secret), max_attempts=1
        )
        for name, secret in STORE_SECRETS.items()
    }
    try:
        found = {name: S3Store(given) for name, given in settings.items()}
        deadline = time.monotonic() + 60
        while True:
            try:
                found["owner"].ensure_bucket()
                found["owner"].set_policy((ROOT / "docker/store-policy.json").read_text())
                found["owner"].put_bytes("data/prj_a/shard.tar", b"x")
                break
            except StorageError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield found
    finally:
        server.kill()  # asked to, it takes 25 s to end
        server.wait()


def test_each_process_does_its_work_at_the_store_as_its_own_identity(stores: dict[str, S3Store]) -> None:
    api, worker, sweeper, operator = (stores[name] for name in STORE_NAMES[1:])
    for store in (api, worker, sweeper, operator):
        store.check()
    key = "uploads/prj_a/upl_a"
    upload = api.create_multipart(key)
    part = api.upload_part(key, upload, 1, b"abc")
    assert api.list_parts(key, upload) == [part]
    assert sweeper.list_unfinished("uploads/") == [(key, upload)]
    api.complete_multipart(key, upload, [part], size_bytes=3)
    assert [item.key for item in api.list_prefix("data/prj_a/")] == ["data/prj_a/shard.tar"]
    assert worker.read_bytes("data/prj_a/shard.tar", max_bytes=9) == b"x"
    assert worker.read_bytes(key, max_bytes=9) == b"abc"
    for folder in ("checkpoints", "datasets", "outputs", "states"):
        worker.put_bytes(f"{folder}/prj_a/x/file", b"made")
    for folder in ("datasets", "outputs"):
        assert api.read_bytes(f"{folder}/prj_a/x/file", max_bytes=9) == b"made"
    url = api.presign_get("outputs/prj_a/x/file", expires_s=60, filename="file")
    assert httpx.get(url, trust_env=False).content == b"made"
    assert operator.read_bytes("states/prj_a/x/file", max_bytes=9) == b"made"
    operator.put_bytes("nulls/null_a.json", b"null")
    assert [item.key for item in operator.list_prefix("nulls/")] == ["nulls/null_a.json"]
    assert worker.read_bytes("nulls/null_a.json", max_bytes=9) == b"null"
    operator.delete("nulls/null_a.json")
    assert sweeper.purge("states/prj_a/x/")
    assert sweeper.delete_prefix("outputs/prj_a/") == 1
    assert api.purge(key)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("api", ("checkpoints", "states", "nulls")),
        ("worker", ("elsewhere",)),
        ("sweeper", ("data", "elsewhere", "nulls")),
        ("operator", ("data", "elsewhere")),
    ],
)
def test_an_identity_reaches_no_other_folder(
    stores: dict[str, S3Store], name: str, folders: tuple[str, ...]
) -> None:
    for folder in folders:
        key = f"{folder}/prj_a/kept"
        stores["owner"].put_bytes(key, b"kept")
        for attempt in (
            lambda key=key: stores[name].read_bytes(key, max_bytes=9),
            lambda folder=folder: list(stores[name].list_prefix(f"{folder}/")),
            lambda key=key: stores[name].put_bytes(key, b"changed"),
            lambda key=key: stores[name].delete(key),
        ):
            with pytest.raises(AccessDenied):
                attempt()
        assert stores["owner"].read_bytes(key, max_bytes=9) == b"kept"


@pytest.mark.parametrize(
    ("name", "key"),
    [("api", "outputs/prj_a/kept"), ("api", "data/prj_a/kept"), ("api", "datasets/prj_a/kept"),
     ("worker", "data/prj_a/kept"), ("worker", "nulls/prj_a/kept"), ("operator", "outputs/prj_a/kept")],
)  # fmt: skip
def test_an_identity_that_reads_a_folder_may_change_nothing_there(
    stores: dict[str, S3Store], name: str, key: str
) -> None:
    stores["owner"].put_bytes(key, b"kept")
    assert stores[name].read_bytes(key, max_bytes=9) == b"kept"
    for attempt in (lambda: stores[name].put_bytes(key, b"changed"), lambda: stores[name].delete(key)):
        with pytest.raises(AccessDenied):
            attempt()


def test_each_login_of_the_database_becomes_its_own_role_and_nothing_else(stack: Stack) -> None:
    if not any(server.name == "postgres" for server in stack.servers):
        pytest.skip("the server is not ours")
    superuser = make_url(stack.settings().database.url).set(username="postgres")
    mark = secrets.token_hex(4)
    script = (ROOT / "docker/postgres-logins.sh").read_text().replace("_login", f"_{mark}")
    made = [role.replace("cleanclip", f"r{mark}") for role in Role]
    script = script.replace("ALTER DATABASE", "-- ").replace("cleanclip_", f"r{mark}_")
    passwords = {f"DB_{name.upper()}_PASSWORD": f"{name}-'quoted'" for name in LOGINS}
    environment = {
        "PATH": f"{postgres.binary('psql').parent}:{os.environ['PATH']}",
        "PGHOST": str(superuser.query["host"]),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "postgres",
        **passwords,
    }
    with psycopg.connect(plain(superuser), autocommit=True) as connection:
        try:
            subprocess.run(["sh", "-c", script], env=environment, check=True, timeout=60)
            for name, roles in LOGINS.items():
                query = (
                    "SELECT rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls,"
                    " ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m"
                    "       WHERE m.member = r.oid AND m.set_option AND NOT m.inherit_option)"
                    " FROM pg_roles r WHERE rolname = %s"
                )
                row = connection.execute(query, (f"{name}_{mark}",)).fetchone()
                assert row is not None
                assert row[:2] == (True, False), name
                assert set(row[2]) == {role.replace("cleanclip", f"r{mark}") for role in roles}, name
        finally:
            for name in (*(f"{login}_{mark}" for login in LOGINS), *made):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def test_the_sweeper_lists_and_deletes_and_neither_reads_nor_writes(stores: dict[str, S3Store]) -> None:
    """SeaweedFS' own words cannot say that: listing an upload's parts is reading, deleting is writing."""
    key = "uploads/prj_b/upl_b"
    stores["api"].put_bytes(key, b"a customer's")
    sweeper = stores["sweeper"]
    for attempt in (
        lambda: sweeper.read_bytes(key, max_bytes=99),
        lambda: sweeper.put_bytes("outputs/prj_b/report.json", b"forged"),
        lambda: sweeper.upload_part(key, sweeper.create_multipart(key), 1, b"forged"),
    ):
        with pytest.raises(AccessDenied):
            attempt()
    url = sweeper.presign_get(key, expires_s=60, filename="file")
    assert httpx.get(url, trust_env=False).status_code == 403
    assert [item.key for item in sweeper.list_prefix("uploads/prj_b/")] == [key]
    assert sweeper.purge(key)
