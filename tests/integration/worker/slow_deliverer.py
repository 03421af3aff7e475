"""A deliverer as a process, which claims what is due, says so, and takes for ever to begin to send."""

import threading
from collections.abc import Mapping
from typing import NoReturn

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.settings import load_settings
from worker.webhooks.__main__ import build_deliverer


def never_send(_url: str, headers: Mapping[str, str], _body: bytes) -> NoReturn:
    print("claimed", headers["webhook-id"], flush=True)
    threading.Event().wait()
    raise AssertionError


if __name__ == "__main__":
    settings = load_settings()
    database = Database(build_engine(settings.database.url, role=Role.WORKER))
    build_deliverer(settings, database, never_send).run(threading.Event())
