"""The pages as one application of their own, mounted at /ui: own failures, own headers, own static files.

Apart from the API so that a path of one is never taken for one of the other, and so that the browser sends
the session's cookie to pages only: no call of the API is made by a cookie.
"""

from importlib.metadata import version
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.live.ports import Ports
from app.settings import StorageSettings
from app.web.data import artifacts, checkpoints, dataset, datasets, uploads
from app.web.jobs import compare, failures, job, jobs, new_job, new_search
from app.web.kit import static_files
from app.web.project import key_pages, policies, sign_in, trail, usage, webhook_deliveries, webhook_pages

PREFIX = "/ui"
MODULES = (
    *(sign_in, new_job, new_search, jobs, job, artifacts, compare, policies),
    *(checkpoints, uploads, datasets, dataset),
    *(key_pages, usage, trail, webhook_pages, webhook_deliveries, static_files),
)
"""A page each, or a few of one noun."""


def build_pages(ports: Ports) -> FastAPI:
    """The application below PREFIX."""
    pages = FastAPI(
        title="Pages", version=version("cleanclip-service"), openapi_url=None, docs_url=None, redoc_url=None
    )
    pages.state.ports = ports
    for module in MODULES:
        pages.include_router(module.router)
    failures.install(pages)
    pages.add_middleware(_Headers, policy=content_security_policy(ports.settings.storage))
    return pages


def content_security_policy(storage: StorageSettings) -> str:
    """Nothing from another host, nothing inline; connections go to us and to the store of parts."""
    url = storage.public_endpoint_url or storage.endpoint_url
    if url is None:  # Amazon's own: https://bucket.s3.region.amazonaws.com or https://s3.region…/bucket
        origins = f"https://*.s3.{storage.region}.amazonaws.com https://s3.{storage.region}.amazonaws.com"
    else:
        parts = urlsplit(url)
        origins = f"{parts.scheme}://{parts.netloc} {parts.scheme}://{storage.bucket}.{parts.netloc}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "worker-src 'self'",
            f"connect-src 'self' {origins}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class _Headers:
    """Adds what every page says, errors too. Plain ASGI: streams pass through."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", self._policy)
                headers["Referrer-Policy"] = "same-origin"  # the page of a form is where one comes back to
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
            await send(message)

        await self._app(scope, receive, send_marked)
