"""Row-level security of one table, as SQL for migrations: who sees which rows, and who may do what with them.

Migrations are made of these texts: what a function returns for given arguments never changes.
"""

from app.db.roles import KEY_SETTING, PROJECT_SETTING, SESSION_SETTING, Role


def _setting(name: str) -> str:
    # A subquery is evaluated once per statement, not once per row, and can be compared with an index. The
    # setting is empty, not unset, once an earlier transaction of the connection had set it.
    return f"(SELECT nullif(current_setting('{name}', true), ''))"


THIS_PROJECT = _setting(PROJECT_SETTING)
PRESENTED_KEY = _setting(KEY_SETTING)
PRESENTED_SESSION = _setting(SESSION_SETTING)

EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"


def protected(
    table: str,
    *,
    api: str | None,
    worker: str | None,
    operator: str = EVERYTHING,
    project_column: str = "project_id",
    check: str | None = None,
) -> list[str]:
    """Forced on the owner too. `api`, `worker` and `operator` are privileges as GRANT takes them.

    The API's role sees rows of its transaction's project; `check` is what rows that it writes must fulfil
    beside that. The others see all rows of the tables that they have privileges on.
    """
    mine = f"{project_column} = {THIS_PROJECT}"
    written = mine if check is None else f"{mine} AND {check}"
    statements = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    ]
    if api is not None:
        statements.append(
            f"CREATE POLICY tenant ON {table} TO {Role.API} USING ({mine}) WITH CHECK ({written})"
        )
        statements.append(f"GRANT {api} ON {table} TO {Role.API}")
    if worker is not None:
        statements.append(f"CREATE POLICY worker ON {table} TO {Role.WORKER} USING (true)")
        statements.append(f"GRANT {worker} ON {table} TO {Role.WORKER}")
    statements.append(f"CREATE POLICY operator ON {table} TO {Role.OPERATOR} USING (true)")
    statements.append(f"GRANT {operator} ON {table} TO {Role.OPERATOR}")
    return statements


def shared(table: str) -> list[str]:
    """Of no project: requests and workers read every row; operators add and remove rows, and change none."""
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY everyone ON {table} FOR SELECT TO {Role.API}, {Role.WORKER} USING (true)",
        f"GRANT SELECT ON {table} TO {Role.API}, {Role.WORKER}",
        f"CREATE POLICY operator ON {table} TO {Role.OPERATOR} USING (true)",
        f"GRANT SELECT, INSERT, DELETE ON {table} TO {Role.OPERATOR}",
    ]


def of_this_project(reference: str, table: str) -> str:
    """A condition for `check`: what `reference` names, if anything, is visible, and so of the same project.

    `reference` is written as table.column. Foreign keys look past row-level security; this does not.
    """
    return f"({reference} IS NULL OR EXISTS (SELECT FROM {table} t WHERE t.id = {reference}))"
