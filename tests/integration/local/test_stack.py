"""The embedded stack: starts, keeps its data through any kill, and never outlives its parent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

from app.local import guard, postgres, seaweedfs, valkey
from app.local.processes import CannotStart, Launch, free_ports, is_free, plain_environment, start
from app.local.stack import Stack
from app.settings import Settings
from app.storage.errors import AccessDenied, StoreUnavailable
from app.storage.s3 import S3Store
from tests.integration.local.processes import assert_all_gone, processes_below
from tests.suites import mostly_full

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[3]


def embedded(folder: Path, *, fsync: bool = False) -> Stack:
    """A stack of servers of its own, whatever the environment of the test run says."""
    return Stack(folder, fsync=fsync, environ={})


def connect(settings: Settings) -> psycopg.Connection[tuple[object, ...]]:
    url = make_url(settings.database.url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def shared_by(folder: Path) -> list[str]:
    """What the servers of this folder have mapped of /dev/shm."""
    pids = [line.split()[0] for line in processes_below(folder)]
    assert len(pids) > 3
    maps = [line for pid in pids for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return [line for line in maps if "/dev/shm/" in line]


def write_everywhere(settings: Settings) -> None:
    with connect(settings) as database:
        database.execute("CREATE TABLE kept (id int)")
        database.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    with redis.Redis.from_url(settings.broker.url) as broker:
        for number in range(100):
            broker.rpush("kept", number)
    store = S3Store(settings.storage)
    for number in range(20):
        store.put_bytes(f"kept/{number}", bytes([number]) * 10_000)


def assert_kept_everywhere(settings: Settings) -> None:
    with connect(settings) as database:
        row = database.execute("SELECT count(*), sum(id) FROM kept").fetchone()
    assert row == (1000, 500_500)
    with redis.Redis.from_url(settings.broker.url) as broker:
        assert broker.lrange("kept", 0, -1) == [str(number).encode() for number in range(100)]
    store = S3Store(settings.storage)
    assert len(list(store.list_prefix("kept/"))) == 20
    assert store.read_bytes("kept/7", max_bytes=10_000) == bytes([7]) * 10_000


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a stack in tmp_path/stack and has said so."""
    code = (
        "import sys, time, json; from pathlib import Path; from app.local.stack import Stack\n"
        "with Stack(Path(sys.argv[1]), fsync=False, environ={}) as stack:\n"
        "    print(json.dumps([s.process.pid for s in stack.servers]), flush=True)\n"
        "    time.sleep(300)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "stack")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert len(json.loads(process.stdout.readline())) == 3
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.full
def test_data_survive_a_clean_stop_also_where_other_ports_must_be_taken(tmp_path: Path) -> None:
    with embedded(tmp_path / "stack", fsync=True) as stack:
        write_everywhere(stack.settings())
        before = stack.settings().storage.endpoint_url
    assert processes_below(tmp_path) == []
    (tmp_path / "stack" / "seaweedfs" / "ports.json").unlink()
    with embedded(tmp_path / "stack", fsync=True) as stack:
        assert stack.dead() == []
        assert stack.settings().storage.endpoint_url != before
        assert_kept_everywhere(stack.settings())


def until_the_store_serves(settings: Settings) -> None:
    """After a kill SeaweedFS answers 500 for a moment, until its volumes have reported to its master."""
    store = S3Store(settings.storage)
    for _ in range(40):
        with suppress(StoreUnavailable):
            store.read_bytes("kept/7", max_bytes=10_000)
            return
        time.sleep(0.5)


def test_data_survive_the_kill_of_every_server(tmp_path: Path) -> None:
    with embedded(tmp_path / "stack", fsync=True) as stack:
        write_everywhere(stack.settings())
        time.sleep(1.1)  # Valkey's everysec
        for server in stack.servers:
            assert server.process is not None
            os.kill(server.process.pid, signal.SIGKILL)
        for server in stack.servers:
            assert server.process is not None
            assert server.process.wait(10.0)
        assert sorted(stack.dead()) == ["postgres", "seaweedfs", "valkey"]
        before = stack.environment
        assert sorted(stack.restart_dead()) == ["postgres", "seaweedfs", "valkey"]
        assert stack.environment == before, "other processes hold these addresses"
        until_the_store_serves(stack.settings())
        assert_kept_everywhere(stack.settings())
    assert processes_below(tmp_path) == []


@pytest.mark.skipif(not guard.IS_LINUX, reason="reads /proc")
@pytest.mark.parametrize(
    "number", mostly_full([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV], daily={signal.SIGKILL})
)
def test_nothing_outlives_the_parent(
    parent: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    assert len(processes_below(tmp_path)) > 6
    parent.send_signal(number)
    parent.wait(30)
    assert_all_gone(tmp_path)


@pytest.mark.full
@pytest.mark.skipif(not guard.IS_LINUX, reason="reads /proc")
def test_after_the_kill_of_the_parent_the_folder_starts_at_once(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    parent.kill()
    parent.wait()
    with embedded(tmp_path / "stack") as stack:
        assert stack.dead() == []


def test_two_stacks_do_not_share_a_folder(
    parent: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.local.stack.LOCK_TIMEOUT_S", 0.3)
    assert parent.poll() is None
    with pytest.raises(CannotStart, match="Another stack"):
        embedded(tmp_path / "stack").start()


def test_a_server_that_is_given_is_not_started(tmp_path: Path, stack: Stack) -> None:
    given = {
        name: value
        for name, value in stack.environment.items()
        if name.startswith(("CLEANCLIP_DATABASE", "CLEANCLIP_STORAGE"))
    }
    with Stack(tmp_path / "stack", fsync=False, environ=given) as other:
        assert [server.name for server in other.servers] == ["valkey"]
        assert other.settings().database.url == stack.settings().database.url
        S3Store(other.settings().storage).check()
        with connect(other.settings()) as database:
            assert database.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.full
def test_a_failed_start_shows_the_log_and_leaves_nothing(tmp_path: Path) -> None:
    with embedded(tmp_path / "stack"):
        pass
    (tmp_path / "stack" / "postgres" / "data" / "global" / "pg_control").write_bytes(b"damaged")
    with pytest.raises(CannotStart, match="pg_control"):
        embedded(tmp_path / "stack").start()
    assert processes_below(tmp_path) == []


def test_the_service_is_no_superuser_and_nobody_else_gets_in(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("down" * 20)  # too deep for the path of a Unix socket
    with embedded(folder) as stack:
        settings = stack.settings()
        with connect(settings) as database:
            row = database.execute(
                "SELECT current_user::text, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
        assert row == ("cleanclip", False, False)
        port = make_url(settings.broker.url).port or 0
        with redis.Redis(port=port, password="guessed") as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        cut_off = (redis.ConnectionError, redis.ResponseError)  # which one is a race with its last words
        with redis.Redis.from_url(settings.broker.url) as broker, pytest.raises(cut_off):
            broker.lpush("a list", bytes(2 * 1024 * 1024))  # more than a reader should have to hold
        wrong = settings.storage.model_copy(update={"access_key": "nobody"})
        with pytest.raises(AccessDenied):
            S3Store(wrong).put_bytes("a", b"1")
        for secret in ("valkey/password", "valkey/valkey.conf", "seaweedfs/identities.json"):
            assert (folder / secret).stat().st_mode & 0o077 == 0
        outside = Path(str(make_url(settings.database.url).query["host"]))
        assert folder not in outside.parents
        assert not guard.IS_LINUX or shared_by(folder) == [], "a worker's child may be the same user"
        assert outside.stat().st_mode & 0o077 == 0
        for secret in (settings.broker.url, settings.storage.secret_key.get_secret_value()):
            assert not any(secret in line for line in processes_below(tmp_path))
    assert not outside.exists()


@pytest.mark.skipif(os.geteuid() != 0 or not guard.IS_LINUX, reason="the other tests run as an ordinary user")
def test_an_ordinary_user_can_run_it_too(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from app.local.stack import Stack\n"
        "with Stack(Path(sys.argv[1]) / 's', fsync=False, environ={}) as stack:\n"
        "    print(os.geteuid(), *{server.process.launch.identity for server in stack.servers})\n"
    )
    process = start(
        Launch(
            name="ordinary user",
            command=[sys.executable, "-c", code, str(tmp_path)],
            environment=plain_environment(tmp_path),
            folder=ROOT,
            log_path=tmp_path / "log",
            identity="user_namespace",
        )
    )
    assert process.wait(60.0)
    assert process.log_tail() == f"{guard.unprivileged_uid()} as_is"
    assert process.exit_code == 0
    process.stop()


@pytest.mark.skipif(not guard.IS_LINUX, reason="Linux only")
def test_the_guards_own_death_takes_the_server_with_it(tmp_path: Path) -> None:
    launch = Launch(
        name="sleeper",
        command=["sleep", "300"],
        environment=plain_environment(tmp_path),
        folder=tmp_path,
        log_path=tmp_path / "log",
    )
    process = start(launch)
    os.kill(process.guard_pid, signal.SIGKILL)
    assert process.wait(5.0)
    assert_all_gone(tmp_path, timeout_s=5.0)
    process.stop()


@pytest.mark.skipif(not guard.IS_LINUX, reason="Linux only")
def test_grandchildren_in_sessions_of_their_own_are_found(tmp_path: Path) -> None:
    launch = Launch(
        name="family",
        command=["sh", "-c", "setsid sleep 301 & setsid sh -c 'sleep 302 & sleep 303' & sleep 300"],
        environment=plain_environment(tmp_path),
        folder=tmp_path,
        log_path=tmp_path / "log",
        grace_s=0.5,
    )
    process = start(launch)
    deadline = time.monotonic() + 5.0
    while len(processes_below(tmp_path)) < 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(5.0)
    assert process.exit_code == 128 + signal.SIGKILL
    assert_all_gone(tmp_path, timeout_s=1.0)
    process.stop()


def test_a_stubborn_process_is_killed_after_its_grace(tmp_path: Path) -> None:
    launch = Launch(
        name="stubborn",
        command=["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"],
        environment=plain_environment(tmp_path),
        folder=tmp_path,
        log_path=tmp_path / "log",
        grace_s=0.3,
    )
    process = start(launch)
    while "ready" not in process.log_tail():
        time.sleep(0.02)
    started = time.monotonic()
    process.stop()
    assert 0.3 <= time.monotonic() - started < 5.0
    assert process.exit_code == 128 + signal.SIGKILL


def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    process = start(
        Launch(
            name="ghost",
            command=["no-such-program-anywhere"],
            environment=plain_environment(tmp_path),
            folder=tmp_path,
            log_path=tmp_path / "log",
        )
    )
    assert process.wait(5.0)
    assert process.exit_code == 127
    assert "no-such-program-anywhere: cannot start" in process.log_tail()
    process.stop()


@pytest.mark.parametrize(("number", "name"), [(0, "s3.port"), (6, "filer.port")])
def test_a_port_that_another_process_took_in_between_is_chosen_anew(
    number: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {
        postgres.VARIABLE: "postgresql+psycopg://u@127.0.0.1/x",
        valkey.VARIABLE: "redis://127.0.0.1/0",
    }
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stolen = taken.getsockname()[1]
        chosen: list[list[int]] = []

        def too_slow(num_ports: int) -> list[int]:
            ports = free_ports(num_ports)
            if not chosen:
                ports[number] = stolen
            chosen.append(ports)
            return ports

        monkeypatch.setattr(seaweedfs, "free_ports", too_slow)
        with Stack(tmp_path / "stack", fsync=False, environ=elsewhere) as stack:
            assert stack.dead() == []
            kept = json.loads((tmp_path / "stack" / "seaweedfs" / "ports.json").read_text())
    assert len(chosen) == 2
    assert chosen[0][number] == stolen
    assert kept[name] != stolen


def test_chosen_ports_are_none_that_an_outgoing_connection_gets() -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first < 32_768:
        pytest.skip("this machine was told to give outgoing connections lower ports")
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(1024 <= port < first for port in ports)


def test_a_port_in_use_is_known() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
