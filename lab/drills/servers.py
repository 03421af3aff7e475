"""The servers of an embedded stack, broken: stopped, killed, emptied, restarted, connections cut."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import redis
from sqlalchemy.engine import make_url

from app.local.processes import wait_until
from app.local.stack import READY_TIMEOUT_S, Server, Stack


class Servers:
    """Works on one running stack, from the thread that started it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def _server(self, name: str) -> Server:
        return next(server for server in self._stack.servers if server.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL; the guard takes the rest of it along."""
        process = self._server(name).process
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20.0)

    def stop(self, name: str) -> None:
        """As an operator stops it."""
        process = self._server(name).process
        if process is not None:
            process.stop()

    def up(self, name: str) -> None:
        """Start it again, and wait until it answers."""
        server = self._server(name)
        if server.process is not None:
            server.process.stop()
        wait_until(server.is_ready, server.launch(), timeout_s=READY_TIMEOUT_S)

    @contextmanager
    def away(self, name: str, seconds: float, *, killed: bool = False) -> Iterator[None]:
        """Within the block, and until `seconds` have passed, it is not there."""
        began = time.monotonic()
        (self.kill if killed else self.stop)(name)
        try:
            yield
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        finally:
            self.up(name)


def plain_url(url: str, **changes: Any) -> str:
    """For psycopg and PostgreSQL's own programs."""
    return make_url(url).set(drivername="postgresql", **changes).render_as_string(hide_password=False)


def empty_broker(url: str) -> None:
    """Every hint is gone."""
    with redis.Redis.from_url(url) as broker:
        broker.flushdb()


def cut_connections(url: str) -> int:
    """pg_terminate_backend for every connection of this login to this database but our own; how many."""
    query = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return 0 if row is None else int(row[0])
