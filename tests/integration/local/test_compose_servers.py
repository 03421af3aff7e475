"""What docker-compose.yml tells Valkey and PostgreSQL, told to the same servers without a container."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml
from psycopg import sql
from sqlalchemy.engine import make_url

from app.db.roles import Role
from app.local import postgres, valkey
from app.local.processes import free_ports
from app.local.stack import Stack
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


def service(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name])


def test_valkey_takes_its_password_from_stdin_and_shows_it_on_no_command_line(tmp_path: Path) -> None:
    [port] = free_ports(1)
    shell, flag, script = service("valkey")["command"]
    script = script.replace("$$", "$").replace("valkey-server -", f"valkey-server - --port {port}", 1)
    folder = valkey._binary().parent
    server = subprocess.Popen(
        [shell, flag, script],
        cwd=tmp_path,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "VALKEYCLI_AUTH": "a-password"},
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(port=port, password="a-password") as broker, redis.Redis(port=port) as stranger:
            deadline = time.monotonic() + 20
            while True:
                try:
                    broker.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            with pytest.raises(redis.AuthenticationError):
                stranger.ping()
            assert broker.config_get("proto-max-bulk-len") == {"proto-max-bulk-len": "1048576"}
            assert broker.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        shown = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"valkey-server" in shown, "the shell became the server: signals reach it"
        assert b"a-password" not in shown
    finally:
        server.terminate()
        server.wait()


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
        "PATH": f"{postgres._binary('psql').parent}:{os.environ['PATH']}",
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
