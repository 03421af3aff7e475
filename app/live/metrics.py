"""What Prometheus scrapes: requests by route template, and jobs by state, read when it asks.

Labels are route templates, methods and statuses only: never an id, a project or an untrusted path.
Each application has a registry of its own. Where several processes serve one port, each scrape reaches one of
them and must speak for all: they count in files of a shared folder, named by SHARED_METRICS_VARIABLE.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from app.domain.states import JobKind, JobState
from app.logs import get_logger

SHARED_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is imported."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

JobCounts = Callable[[], Mapping[tuple[str, str], int]]
"""(kind, state) → number of jobs, over all projects."""

log = get_logger(__name__)


class _JobsByState(Collector):
    """Asks the database at scrape time; a database that does not answer leaves the family out."""

    def __init__(self, counts: JobCounts) -> None:
        self._counts = counts

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily("cleanclip_jobs", "Jobs by kind and state.", labels=["kind", "state"])]

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("cleanclip_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        try:
            counts = self._counts()
        except Exception as error:  # noqa: BLE001 - the other metrics must still be served
            log.warning("job_counts_failed", cause=repr(error))
            return
        for kind, state in product(JobKind, JobState):  # zeros, too: nothing can be said of what is absent
            family.add_metric([kind.value, state.value], counts.get((kind.value, state.value), 0))
        yield family


class _RefusedHints(Collector):
    """Asks the broker at scrape time; one that does not answer leaves the family out."""

    def __init__(self, num_refused: Callable[[], int | None]) -> None:
        self._num_refused = num_refused

    def describe(self) -> Iterable[Metric]:
        return [self._family(None)]

    def collect(self) -> Iterator[Metric]:
        number = self._num_refused()
        if number is not None:
            yield self._family(number)

    def _family(self, number: int | None) -> CounterMetricFamily:
        return CounterMetricFamily(
            "cleanclip_hints_refused", "Messages that workers dropped: not a job's id.", value=number
        )


class Metrics:
    """The request metrics of one application."""

    def __init__(self, counts: JobCounts, num_refused_hints: Callable[[], int | None] = lambda: None) -> None:
        self.registry = CollectorRegistry()
        self._read_when_asked = (_JobsByState(counts), _RefusedHints(num_refused_hints))
        self._shared_folder = os.environ.get(SHARED_METRICS_VARIABLE)
        if self._shared_folder is None:
            for collector in self._read_when_asked:
                self.registry.register(collector)
        else:
            _forget_dead_processes(Path(self._shared_folder))
        self._requests = Counter(
            "cleanclip_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "cleanclip_http_request_duration_seconds",
            "From the first byte read to the last byte handed to the server.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "cleanclip_http_requests_in_flight",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.open_streams = Gauge(
            "cleanclip_event_streams",
            "Live event streams that are open.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.store_refusals = Counter(
            "cleanclip_store_refusals",
            "Calls of the object store not made (busy, open) or not waited for (late).",
            ["reason"],
            registry=self.registry,
        )
        self.open_connections = Gauge(
            "cleanclip_connections",
            "Connections of clients that are open.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.ended_connections = Counter(
            "cleanclip_connections_ended",
            "Connections that the server ended or refused, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.rate_outages = Counter(
            "cleanclip_rate_limit_outages",
            "Times the broker was away and a process counted requests alone for five seconds.",
            registry=self.registry,
        )

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """The exposition text, of all processes that serve this port."""
        if self._shared_folder is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=self._shared_folder)  # type: ignore[no-untyped-call]
        for collector in self._read_when_asked:
            together.register(collector)
        return generate_latest(together)


def _forget_dead_processes(folder: Path) -> None:
    """What a process that was killed had in flight is not in flight; what it had counted stays."""
    for path in folder.glob("gauge_live*_*.db"):
        if (number := re.search(r"_(\d+)\.db$", path.name)) and not Path(f"/proc/{number[1]}").exists():
            mark_process_dead(int(number[1]), path=str(folder))  # type: ignore[no-untyped-call]
