"""How the command gets at the database: its schema, its rows, and who is at work."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command as alembic
from alembic.config import Config as AlembicConfig

from app.db.roles import Role
from app.db.session import Database, build_engine, shown_url
from app.domain.errors import Unavailable
from app.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie, `migrations` among them: the sources, or wherever they are installed."""


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`. Safe while the service runs and when run twice."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    alembic.upgrade(config, revision)


@contextmanager
def operators_database(url: str | None = None, *, role: Role | None = Role.OPERATOR) -> Iterator[Database]:
    """In the operators' role, closed at the end; None: the one of the settings, or the login itself.

    Raises Unavailable, which says where the database was looked for.
    """
    if url is None:
        url = load_settings().database.url
    where = shown_url(url)
    database = Database(build_engine(url, role=role))
    try:
        yield database
    except Unavailable as error:
        is_set = "CLEANCLIP_DATABASE__URL" in os.environ
        source = "CLEANCLIP_DATABASE__URL" if is_set else "the default, as CLEANCLIP_DATABASE__URL is not set"
        raise Unavailable(
            error.code,
            f"{error.message} The address is {where} ({source}).",
            f"{error.remedy} Check that it is the service's own database and that it is "
            "running. For a service of `serve` load its environment first: `. var/serve/environment`. "
            "With a key of scope admin, `cleanclip keys create` makes keys over the API.",
        ) from error
    finally:
        database.dispose()


def account() -> str:
    """Who works here, for the trail."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
