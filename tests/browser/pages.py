"""Every page with something on it: which there are, and the world that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.domain.states import DatasetKind
from tests.integration.api.service import Service

Text = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class PageOfWorld:
    """`route` as the application names it; `query` and path parameters are filled from the world's ids."""

    route: str
    query: str = ""
    is_signed_in: bool = True
    status: int = 200


PAGES: Mapping[str, PageOfWorld] = {
    "sign-in": PageOfWorld(route="/sign-in", is_signed_in=False),
    "jobs": PageOfWorld(route="/jobs"),
    "new-job": PageOfWorld(route="/jobs/new", query="?checkpoint={checkpoint}&dataset={labelled}"),
    "policies": PageOfWorld(route="/policies"),
    "policy": PageOfWorld(route="/policies/{name}"),
}

NOT_A_PAGE: Mapping[str, str] = {
    "/": "leads to the jobs",
    "/sign-in/once": "leads on",
    "/jobs/new/check": "leads to the form; a dry run is sent by it",
    "/jobs/new/classes": "a part of the form",
    "/static/{name:path}": "styles and scripts",
}
"""What answers GET and is no page of its own, and why."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Ids of what there is, by the name of the path parameter."""

    ids: Mapping[str, str]

    @classmethod
    def made(cls, service: Service, *, text: Text) -> World:
        """Something of everything; `text` makes of each plain text what a customer would have written."""
        service.dataset(DatasetKind.PAIRS)
        labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", text("one"), text("banana")))
        service.ours.http.put("/v1/policies/release", json={"asr_at_most_for": {"structured": 0.2}})
        return cls(ids={"checkpoint": service.checkpoint(), "labelled": labelled, "name": "release"})

    def path(self, page: PageOfWorld) -> str:
        return "/ui" + page.route.format(**self.ids) + page.query.format(**self.ids)
