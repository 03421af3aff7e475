"""Changes to tables that are in use, for migrations: what may lock, for how long, and indexes without a lock.

Rules, which a test holds every migration after the first to: an index on a table that exists is built with
`build_index`, alone in its migration; a constraint on a table that exists is added NOT VALID and validated by
a later migration with `validate_constraint`, alone as well; a column of it changes neither type nor
nullability; no migration sets its own timeouts.
"""

from collections.abc import Sequence
from typing import Any

from alembic import op

LOCK_TIMEOUT = "500ms"
"""How long a statement of a migration waits for a lock, while requests wait behind it."""
_PATIENCE = "10min"


def take_tables(*tables: str) -> None:
    """Lock all tables that a migration changes, at once, before it changes any; those that refer come first.

    Taken one by one, between other work, they meet writers who hold the second and wait for the first: the
    migration gives way each time, and may never get through.
    """
    op.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")


def build_index(name: str, table: str, columns: Sequence[Any], **options: Any) -> None:
    """CREATE INDEX CONCURRENTLY: reads and writes go on meanwhile. What a cut build left is replaced.

    It waits for transactions that began before it, which holds nobody up, so it may wait long.
    """
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{_PATIENCE}'")
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")


def drop_index(name: str, table: str) -> None:
    """DROP INDEX CONCURRENTLY, if it is there."""
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{_PATIENCE}'")
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")


def validate_constraint(name: str, table: str) -> None:
    """VALIDATE CONSTRAINT: reads the whole table while reads and writes go on. Again: nothing to do.

    It waits for other changes of the table's schema and for vacuum, which holds nobody up.
    """
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{_PATIENCE}'")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
