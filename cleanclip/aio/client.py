"""The client: one object with the service's nouns on it.

    from cleanclip import AsyncClient

    async with AsyncClient("http://127.0.0.1:8000", "cclip_live_…") as client:
        sent = await client.uploads.upload_file("clip.pt")
        await client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256)
        pairs = await client.datasets.create(kind="pairs", uri="s3://data/pairs/")
        labelled = await client.datasets.create(kind="labelled", uri="s3://data/test/")
        for dataset in (pairs, labelled):
            await client.datasets.wait(dataset.id)
        job = await client.jobs.create(
            kind="sanitize", checkpoint_id=sent.checkpoint_id, dataset_id=pairs.id,
            audit={"dataset_id": labelled.id, "target": "banana"},
        )
        job = await client.jobs.wait(job.id, on_progress=lambda job: print(job.phase, job.progress.fraction))
        for artifact in await client.jobs.artifacts(job.id):
            await client.artifacts.download(artifact.id, "cleaned/")

Retries, idempotency keys, resumed transfers and verified digests are built in; what can go wrong is drawn in
`cleanclip.errors`.
"""

import re
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from cleanclip.aio.artifacts import Artifacts
from cleanclip.aio.checkpoints import Checkpoints
from cleanclip.aio.datasets import Datasets
from cleanclip.aio.jobs import Jobs
from cleanclip.aio.keys import Keys
from cleanclip.aio.project import Deletions, Nulls, Policies, Trail
from cleanclip.aio.store import Store
from cleanclip.aio.uploads import Uploads
from cleanclip.aio.webhooks import Webhooks
from cleanclip.aio.wire import Wire
from cleanclip.models import Answer, Methods
from cleanclip.project_models import Usage
from cleanclip.retries import ASYNC_SYSTEM_CLOCK, AsyncClock, Retries

_INSIDE = re.compile(r"/(ui|v1|docs)(/|$)")
"""Where pages, routes and documentation are."""


def _user_agent() -> str:
    try:
        return f"cleanclip-client/{version('cleanclip-service')}"
    except PackageNotFoundError:
        return "cleanclip-client"


class AsyncClient:
    """Talks to the service at `base_url` with `api_key`. Close it, or use `async with`.

    Many calls may be under way at once: in threads, where it is synchronous.

    `timeout_s` is for one request's connecting, reading and writing each. `transport` replaces the network,
    for the service and the object store alike. Raises ValueError for an address that is not valid.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
        retries: Retries | None = None,
        clock: AsyncClock = ASYNC_SYSTEM_CLOCK,
    ) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(10.0, timeout_s))
        agent = {"User-Agent": _user_agent()}
        self._http = httpx.AsyncClient(
            base_url=_checked(base_url),
            headers={**agent, "Authorization": f"Bearer {_printable(api_key)}", "Accept": "application/json"},
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
        )
        self._store_http = httpx.AsyncClient(
            headers=agent, timeout=timeout, transport=transport, follow_redirects=False
        )
        retries = retries or Retries()
        wire = Wire(self._http, retries=retries, clock=clock)
        store = Store(self._store_http, retries=retries, clock=clock)
        self._wire = wire
        self.uploads = Uploads(wire, store)
        self.checkpoints = Checkpoints(wire)
        self.datasets = Datasets(wire, self.uploads)
        self.jobs = Jobs(wire)
        self.artifacts = Artifacts(wire, store)
        self.trail = Trail(wire)
        self.deletions = Deletions(wire)
        self.keys = Keys(wire)
        self.nulls = Nulls(wire)
        self.policies = Policies(wire)
        self.webhooks = Webhooks(wire)

    @property
    def base_url(self) -> str:
        """Where the service is.

        Example:
            print(client.base_url)
        """
        return self._wire.base_url

    async def methods(self) -> Methods:
        """What can be ordered, with bounds and defaults. Needs a valid key: also a way to try one.

        Example:
            known = await client.methods()
            print([method["name"] for method in known.methods])
        """
        return await self._wire.get(Methods, "/v1/methods")

    async def usage(self) -> Usage:
        """What the project uses now, and its limits.

        Example:
            usage = await client.usage()
            print(usage.running_jobs.current, "of", usage.running_jobs.limit)
        """
        return await self._wire.get(Usage, "/v1/usage")

    async def health(self) -> dict[str, Any]:
        """Whether the parts that the service needs answer. Raises ServerError where they do not.

        Example:
            print(await client.health())
        """
        answer = await self._wire.get(Answer, "/readyz")
        return answer.to_json()

    async def aclose(self) -> None:
        """Close all connections.

        Example:
            await client.aclose()
        """
        await self._http.aclose()
        await self._store_http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _checked(base_url: str) -> str:
    try:
        url = urlsplit(base_url.strip())
        is_address = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        httpx.URL(base_url.strip())
    except (ValueError, httpx.InvalidURL) as cause:
        raise ValueError(f"{base_url!r} is not an address.") from cause
    if not is_address:
        raise ValueError(f"{base_url!r} is not an address: it must begin with http:// or https://.")
    if inside := _INSIDE.search(url.path):
        own = base_url.strip().partition(url.path)[0] + url.path[: inside.start()]
        raise ValueError(
            f"{base_url.strip()} is an address inside the service. Give the service's own address: {own}"
        )
    return base_url.strip()


def _printable(api_key: str) -> str:
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("The API key is empty or not plain text; copy the whole key.")
    return key
