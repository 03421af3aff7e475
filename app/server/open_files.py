"""Room for connections among the files that a process may hold open: each connection is one."""

import resource

from app.logs import get_logger

_OWN = 256
"""Database, broker, store, log, modules."""

log = get_logger(__name__)


def allow_open_files(num_connections: int) -> None:
    """Raise this process's soft limit as far as that needs and the hard limit lets it; children inherit it.

    A service that cannot open a file can no longer reach its database.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = num_connections + _OWN
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("too_few_open_files", allowed=allowed, wanted=wanted)
