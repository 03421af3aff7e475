"""How requests are served, for `app.main`, containers and tests; and room for their connections."""

import asyncio
import resource
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.live.metrics import Metrics
from app.logs import get_logger
from app.server.connections import OpenConnections
from app.server.protocol import LimitedProtocol
from app.settings import ApiSettings, Settings
from app.settings_groups import ConnectionSettings

_OWN_FILES = 256
"""Database, broker, store, log, modules: what a process holds open beside its connections."""

log = get_logger(__name__)


class Lifespan(TypedDict):
    """What an application that starts hands to the server that runs it."""

    metrics: Metrics


class ProxyOptions(TypedDict):
    proxy_headers: bool
    forwarded_allow_ips: list[str]


@dataclass(kw_only=True)
class LimitedConnections:
    """Makes the protocol of each connection, as uvicorn asks; those of a process share what is open."""

    limits: ConnectionSettings
    trusted_proxies: tuple[str, ...]
    send_timeout_s: float
    _connections: OpenConnections | None = field(default=None, init=False, repr=False)

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> LimitedProtocol:
        if self._connections is None:  # not before: processes get this pickled
            self._connections = OpenConnections(
                self.limits, self.trusted_proxies, cast(Lifespan, app_state)["metrics"]
            )
        return LimitedProtocol(
            self._connections,
            self.limits,
            self.send_timeout_s,
            config=config,
            server_state=server_state,
            app_state=app_state,
            _loop=_loop,
        )


def proxy_options(api: ApiSettings) -> ProxyOptions:
    """uvicorn's options. Its own default believes whatever is said from 127.0.0.1, a proxy or not."""
    return {"proxy_headers": bool(api.trusted_proxies), "forwarded_allow_ips": list(api.trusted_proxies)}


def server_options(settings: Settings) -> dict[str, Any]:
    """Arguments of `uvicorn.run` and `uvicorn.Config`: all but the application and where it listens."""
    return {
        "http": LimitedConnections(
            limits=settings.connections,
            trusted_proxies=settings.api.trusted_proxies,
            send_timeout_s=settings.api.send_timeout_s,
        ),
        "ws": "none",  # we have none; uvicorn would log the address of each that is asked for
        "timeout_keep_alive": settings.connections.keep_alive_s,
        "timeout_graceful_shutdown": settings.api.stop_grace_s,
        "timeout_worker_healthcheck": 60,  # of a process; at uvicorn's 5 s a busy machine starts none
        "server_header": False,
        "access_log": False,
        **proxy_options(settings.api),
    }


def allow_open_files(num_connections: int) -> None:
    """Raise this process's soft limit as far as that needs and the hard limit lets it; children inherit it.

    A service that cannot open a file can no longer reach its database.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = num_connections + _OWN_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("too_few_open_files", allowed=allowed, wanted=wanted)
