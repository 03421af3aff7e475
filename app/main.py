"""The composition root of the API: settings in, application out. Nothing is built at import.

`python -m app.main` serves as the settings in the environment say, with as many processes on one port; tests
call `create_app`.
"""

import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.metadata import version
from types import FrameType

import uvicorn
from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from app.api import (
    artifacts,
    bodies,
    checkpoints,
    datasets,
    deletions,
    docs,
    dry_runs,
    event_streams,
    health,
    jobs,
    key_routes,
    methods,
    nulls,
    openapi,
    policies,
    problems,
    trail,
    uploads,
    usage,
    webhook_routes,
)
from app.api.auth import KeyFirstMiddleware
from app.api.heads import HeadMiddleware
from app.api.middleware import BodyLimitMiddleware, RequestMiddleware
from app.db.models.job import Job
from app.db.roles import Role
from app.db.sealing import Sealer
from app.db.session import Database, build_engine
from app.domain.webhook_urls import ReachRules
from app.live.coalescing import Coalesced
from app.live.computing import ComputingPlaces
from app.live.followers import Followers
from app.live.metrics import SHARED_METRICS_VARIABLE, Metrics
from app.live.metrics_port import serving
from app.live.pacing import Pace
from app.live.ports import Ports
from app.live.readiness import Readiness
from app.live.recognised import RecognisedKeys
from app.live.request_rates import RequestRates
from app.live.upload_slots import UploadSlots
from app.live.written_jobs import WrittenJobs
from app.logs import configure_logging
from app.queue.publisher import BrokerPublisher, JobPublisher
from app.queue.rates import BrokerRates, Rates
from app.server.serving_options import Lifespan, allow_open_files, server_options
from app.services.webhook_management import WebhookRules
from app.settings import ApiSettings, MetricsSettings, Settings, load_settings
from app.settings_groups import WebhookSettings
from app.storage.bulkhead import Bulkhead
from app.storage.guarded import guarded
from app.storage.port import ObjectStore
from app.storage.s3 import S3Store
from app.web.application import PREFIX, build_pages

_PING_AFTER_IDLE_S = 1.0
_SWITCH_INTERVAL_S = 0.001
"""So long the event loop waits for a thread that computes, several times in a request; usually it is 5 ms."""
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_MOST_WAITING = 32
"""Dry runs, and lists, of a project that wait in each process; each takes milliseconds."""


def create_app(
    settings: Settings,
    *,
    store: ObjectStore | None = None,
    publisher: JobPublisher | None = None,
    rates: Rates | None = None,
) -> FastAPI:
    """The application for these settings. `store`, `publisher`, `rates` replace the real ones in tests.

    Connections are made lazily and closed when the application shuts down.
    """
    ports = _ports(settings, store=store, publisher=publisher, rates=rates)
    app = FastAPI(
        title="CleanCLIP as a service",
        version=version("cleanclip-service"),
        openapi_url=None,  # see app.api.openapi
        docs_url=None,  # see app.api.docs: the stock pages load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(bodies.refuse_repeated_keys)],
        generate_unique_id_function=lambda route: route.name,  # the operation's id is its function's name
        lifespan=_closing(ports),
    )
    app.state.ports = ports
    for module in (
        uploads,
        checkpoints,
        datasets,
        jobs,
        dry_runs,
        event_streams,
        artifacts,
        methods,
        nulls,
        policies,
        key_routes,
        trail,
        usage,
        webhook_routes,
        deletions,
        health,
    ):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app)
    docs.install(app)
    if settings.web.is_enabled:
        _add_pages(app, ports)
    _wrap(app, settings.api, ports)
    return app


def _add_pages(app: FastAPI, ports: Ports) -> None:
    async def first_page() -> Response:
        return RedirectResponse(f"{PREFIX}/", status_code=307)

    app.add_api_route("/", first_page, include_in_schema=False)
    app.add_api_route(PREFIX, first_page, include_in_schema=False)
    app.mount(PREFIX, build_pages(ports))


def _wrap(app: FastAPI, api: ApiSettings, ports: Ports) -> None:
    app.add_middleware(KeyFirstMiddleware, ports=ports)
    app.add_middleware(
        BodyLimitMiddleware,
        max_bytes=api.max_body_bytes,
        max_values=api.max_body_values,
        timeout_s=api.body_timeout_s,
        pages=PREFIX,
    )
    app.add_middleware(HeadMiddleware, used_up_by_get={f"{PREFIX}/sign-in/once"})
    app.add_middleware(  # added last: outermost
        RequestMiddleware, metrics=ports.metrics, send_timeout_s=api.send_timeout_s
    )


def _ports(
    settings: Settings, *, store: ObjectStore | None, publisher: JobPublisher | None, rates: Rates | None
) -> Ports:
    engine = build_engine(
        settings.database.url,
        role=Role.API,
        pool_size=settings.database.pool_size,
        max_overflow=0,  # a connection that is opened for a moment costs more than waiting for one
        ping_after_idle_s=_PING_AFTER_IDLE_S,
        statement_timeout_s=settings.database.statement_timeout_s,
    )
    database = Database(engine)

    def job_versions(project_id: str, ids: Sequence[str]) -> dict[str, int]:
        with database.unit_of_work(project_id) as unit:
            return unit.jobs.versions(project_id, ids)

    def several_jobs(project_id: str, ids: Sequence[str]) -> dict[str, Job]:
        with database.unit_of_work(project_id) as unit:
            return unit.jobs.several(project_id, ids)

    publisher = publisher or _publisher(settings)
    metrics = Metrics(lambda: _job_counts(database), publisher.num_refused)
    store = _guarded(settings, store, metrics)
    return Ports(
        settings=settings,
        database=database,
        store=store,
        publisher=publisher,
        metrics=metrics,
        keys=RecognisedKeys(settings.api.key_cache_s),
        rates=RequestRates(rates or _rates(settings, metrics), database, settings.quotas),
        job_versions=Coalesced(job_versions),
        jobs=Coalesced(several_jobs),
        followers=Followers(database, settings, metrics.open_streams),
        upload_slots=UploadSlots(settings.uploads.max_streams),
        computing=ComputingPlaces(
            1,
            code="checks_busy",
            what="dry runs",
            most_waiting=_MOST_WAITING,
            refused_after_s=settings.quotas.refused_after_s,
        ),
        listing=ComputingPlaces(
            1,
            code="lists_busy",
            what="lists",
            rests=1.0,
            most_waiting=_MOST_WAITING,
            refused_after_s=settings.quotas.refused_after_s,
        ),
        written_jobs=WrittenJobs(),
        pace=Pace(refused_after_s=settings.quotas.refused_after_s),
        readiness=Readiness(
            {"database": database.check_writes, "store": store.check, "broker": publisher.check_writes}
        ),
        webhook_rules=_webhook_rules(settings.webhooks),
    )


def _guarded(settings: Settings, store: ObjectStore | None, metrics: Metrics) -> ObjectStore:
    """The store behind its bulkhead. The client gives a call up soon after those who waited for it did."""
    api, storage = settings.api, settings.storage
    impatient = {
        "read_timeout_s": min(storage.read_timeout_s, api.store_timeout_s),
        "max_attempts": min(storage.max_attempts, 2),
    }
    bulkhead = Bulkhead(
        num_calls=api.store_calls,
        timeout_s=api.store_timeout_s,
        on_refused=lambda reason: metrics.store_refusals.labels(reason).inc(),
    )
    return guarded(store or S3Store(storage.model_copy(update=impatient)), bulkhead)


def _webhook_rules(webhooks: WebhookSettings) -> WebhookRules:
    keys = [key.get_secret_value() for key in webhooks.encryption_keys]
    return WebhookRules(
        sealer=Sealer(keys) if keys else None,
        reach=ReachRules(allow_loopback=webhooks.allow_loopback, denied_networks=webhooks.denied_networks),
        max_per_project=webhooks.max_per_project,
    )


def _publisher(settings: Settings) -> JobPublisher:
    return BrokerPublisher(
        settings.broker.url, key_prefix=settings.broker.key_prefix, timeout_s=settings.jobs.publish_timeout_s
    )


def _rates(settings: Settings, metrics: Metrics) -> Rates:
    return BrokerRates(
        settings.broker.url,
        key_prefix=settings.broker.key_prefix,
        timeout_s=settings.quotas.rate_timeout_s,
        on_outage=metrics.rate_outages.inc,
    )


def _job_counts(database: Database) -> dict[tuple[str, str], int]:
    with database.unit_of_work() as unit:
        return unit.jobs.num_by_state()


def _closing(ports: Ports) -> Callable[[FastAPI], AbstractAsyncContextManager[Lifespan]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[Lifespan]:
        with (
            _metrics_port(ports.settings.metrics, ports.metrics),
            _on_stopping(ports.followers.end_all),
        ):
            yield {"metrics": ports.metrics}
        await ports.followers.close()
        await ports.rates.close()
        await run_in_threadpool(ports.publisher.close)
        await run_in_threadpool(ports.database.dispose)

    return lifespan


@contextmanager
def _metrics_port(settings: MetricsSettings, metrics: Metrics) -> Iterator[None]:
    if settings.port is None:
        yield
        return
    with serving(metrics.render, settings.host, settings.port):
        yield


@contextmanager
def _on_stopping(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block, `tell` is called at SIGTERM and SIGINT, before whoever handles them already.

    A server that has to stop closes its ports, waits for the answers under way, and only then tells the
    application (lifespan). A stream that does not know would keep it waiting until it is cut off.
    Handlers belong to the main thread; in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOPPING}

    def handle(number: int, frame: FrameType | None) -> None:
        tell()
        earlier = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)

    ours = {number: signal.signal(number, handle) for number in _STOPPING if callable(before[number])}
    try:
        yield
    finally:
        for number, earlier in ours.items():
            signal.signal(number, earlier)


def build() -> FastAPI:
    """One process's application: settings from the environment, logs as they say."""
    settings = load_settings()
    configure_logging(level=settings.log.level, json_lines=settings.log.json_lines)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    app = create_app(settings)
    gc.freeze()  # what lives as long as the process is not looked through again and again
    return app


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way get `api.stop_grace_s` to end."""
    settings = load_settings()
    api = settings.api
    allow_open_files(settings.connections.max_open)
    with tempfile.TemporaryDirectory(prefix="cleanclip-metrics-") as folder:
        if api.num_processes > 1:
            os.environ[SHARED_METRICS_VARIABLE] = folder  # before the processes that count are started
        uvicorn.run(
            "app.main:build",
            factory=True,
            host=api.host,
            port=api.port,
            workers=api.num_processes,
            **server_options(settings),
        )


if __name__ == "__main__":
    main()
