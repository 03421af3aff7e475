"""Every page with something on it: which there are, and the world that they show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.domain.states import DatasetKind, JobState
from app.services import api_keys
from tests.browser.left_behind import finished, ordered
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
    "compare": PageOfWorld(route="/compare", query="?job={job_id}&job={other_job_id}&job={audit_job_id}"),
    "keys": PageOfWorld(route="/keys"),
    "key": PageOfWorld(route="/keys/{key_id}"),
    "usage": PageOfWorld(route="/usage"),
    "audit-log": PageOfWorld(route="/audit"),
    "webhooks": PageOfWorld(route="/webhooks"),
    "webhook": PageOfWorld(route="/webhooks/{webhook_id}"),
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
        ids = jobs_of_world(service, text) | admins_of_world(service, text)
        service.dataset(DatasetKind.PAIRS)
        labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", text("one"), text("banana")))
        service.ours.http.put("/v1/policies/release", json={"asr_at_most_for": {"structured": 0.2}})
        return cls(ids=ids | {"checkpoint": service.checkpoint(), "labelled": labelled, "name": "release"})

    def path(self, page: PageOfWorld) -> str:
        return "/ui" + page.route.format(**self.ids) + page.query.format(**self.ids)


def jobs_of_world(service: Service, text: Text) -> dict[str, str]:
    """Jobs in every state that a row shows in its own way, of several kinds and methods."""
    found = {
        "job_id": finished(
            service,
            filename=text("rn50.pt"),
            target=text("banana"),
            metadata={"ticket": text("ML-42")},
            version="0.1.0",
        ),
        "other_job_id": finished(service, "par", recipe={"method": "par"}, version="0.1.1"),
        "audit_job_id": finished(service, "audit"),
    }
    running, failed = ordered(service), ordered(service)
    progress = {"fraction": 0.25, "eta_s": 80.0, "message": text("a batch")}
    service.set_job(running, JobState.RUNNING, phase="finetune", progress=json.dumps(progress))
    error = {
        "code": "loss_not_finite",
        "message": text("The loss is not finite."),
        "remedy": "Lower the learning rate.",
        "phase": "finetune",
        "retryable": False,
    }
    service.set_job(failed, JobState.FAILED, error=json.dumps(error))
    return found


def admins_of_world(service: Service, text: Text) -> dict[str, str]:
    """A key, and a webhook with a delivery that a server refused."""
    with service.database.unit_of_work() as unit:
        key, _ = api_keys.issue(
            unit, project_id=service.ours.project_id, name=text("nightly"), scopes=("read", "run")
        )
        unit.audit.add(
            project_id=service.ours.project_id,
            actor=text("op@host"),
            action="quota.set",
            target_id=text("project"),
        )
    http = service.ours.http
    webhook = http.post("/v1/webhooks", json={"url": "https://example.org/hooks/cleanclip"}).json()["id"]
    delivery = http.post(f"/v1/webhooks/{webhook}/test").json()["id"]
    service.execute("UPDATE webhooks SET url = :url", url=text("https://example.org/hooks/cleanclip"))
    service.execute(
        "UPDATE webhook_deliveries SET state = 'failed', num_tries = 10, tried_at = now(), took_ms = 12,"
        " status = 500, error = 'refused', excerpt = :excerpt WHERE id = :id",
        excerpt=text("Try later."),
        id=delivery,
    )
    return {"key_id": key.id, "webhook_id": webhook}
