"""Entry point: settings from the environment, until SIGTERM or Ctrl-C."""

import signal
import threading

from app.db.roles import Role
from app.db.sealing import Sealer
from app.db.session import Database, build_engine
from app.domain.webhook_urls import ReachRules
from app.logs import configure_logging, get_logger
from app.settings import Settings, load_settings
from worker import metrics
from worker.health import keep_touching
from worker.webhooks.delivering import Deliverer, DelivererOptions, Post
from worker.webhooks.sending import Sender

_LOG = get_logger(__name__)
_DAY_S = 86_400.0


def build_deliverer(settings: Settings, database: Database, post: Post | None = None) -> Deliverer:
    """`post` replaces the network in tests. Raises ValueError without a key: what is sealed cannot be
    read."""
    webhooks = settings.webhooks
    reach = ReachRules(allow_loopback=webhooks.allow_loopback, denied_networks=webhooks.denied_networks)
    return Deliverer(
        database,
        Sealer([key.get_secret_value() for key in webhooks.encryption_keys]),
        post or Sender(reach, timeout_s=webhooks.timeout_s).post,
        DelivererOptions(
            lease_s=webhooks.lease_s,
            poll_every_s=webhooks.poll_every_s,
            max_parallel=webhooks.max_parallel,
            failing_for_s=webhooks.disable_failing_after_days * _DAY_S,
        ),
    )


def main() -> None:
    """Without a key there is nothing to send, and it waits: a process that ends would be started again and
    again."""
    settings = load_settings()
    configure_logging(level=settings.log.level, json_lines=settings.log.json_lines)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    keep_touching(ended)
    metrics.start(settings.metrics, deliverer=True)
    if not settings.webhooks.encryption_keys:
        _LOG.warning("webhooks_off", reason="no_encryption_key")
        ended.wait()
        return
    database = Database(build_engine(settings.database.url, role=Role.WORKER, pool_size=4))
    _LOG.info("deliverer_started", max_parallel=settings.webhooks.max_parallel)
    build_deliverer(settings, database).run(ended)
    database.dispose()


if __name__ == "__main__":
    main()
