"""The database roles that the service's processes take on. None of them owns a table; each sees what it must.

A login becomes one by `SET ROLE` (`build_engine(url, role=…)`), so one login can serve every process, and a
login that is a member of one role only can become nothing else.
"""

from enum import StrEnum


class Role(StrEnum):
    API = "cleanclip_api"
    """One project at a time: the one that its transaction names."""
    WORKER = "cleanclip_worker"
    """Workers and the sweeper: the jobs of all projects, and what they are about; no key."""
    OPERATOR = "cleanclip_operator"
    """The operators' command: everything but the schema, and but changing the trail."""


PROJECT_SETTING = "cleanclip.project_id"
"""Set for one transaction: the project whose rows the API's role sees."""

KEY_SETTING = "cleanclip.key_sha256"
"""Set for one transaction: the digest of the presented key, whose one row the API's role sees."""

SESSION_SETTING = "cleanclip.session_sha256"
"""Set for one transaction: the digest of the presented session's token, whose one row the role sees."""


def roles_sql(login: str) -> str:
    """What an administrator of the server runs once where the migrating login may not make roles.

    Not inherited: a login sees nothing until it takes one of them on.
    """
    made = "\n".join(f"CREATE ROLE {role} NOLOGIN;" for role in Role)
    quoted = login.replace('"', '""')
    return f'{made}\nGRANT {", ".join(Role)} TO "{quoted}" WITH INHERIT FALSE, SET TRUE;'
