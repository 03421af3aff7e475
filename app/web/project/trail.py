"""The trail: who changed what, when and from where."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from app.db.models.project import TrailOutcome
from app.domain.ids import is_any_id
from app.live.ports import PortsDep
from app.web.kit.addresses import EMPTY_IS_NONE, Cursor, Words, link
from app.web.kit.rendering import page
from app.web.kit.visitor import Admin

PER_PAGE = 50
HERE = "/ui/trail"
ACTIONS = (
    "checkpoint.create",
    "checkpoint.delete",
    "dataset.create",
    "dataset.delete",
    "dataset.rename",
    "job.cancel",
    "job.create",
    "job.delete",
    "job.pause",
    "job.rename",
    "job.resume",
    "job.retry",
    "key.create",
    "key.rename",
    "key.revoke",
    "key.rotate",
    "policy.delete",
    "policy.put",
    "project.create",
    "project.delete",
    "quota.set",
    "session.begin",
    "session.end",
    "upload.cancel",
    "upload.complete",
    "upload.content",
    "upload.create",
    "upload.delete",
    "upload.parts",
    "webhook.create",
    "webhook.delete",
    "webhook.replay",
    "webhook.rotate_secret",
    "webhook.test",
    "webhook.update",
)
"""To choose from. A test finds every action that is noted and fails when one is missing."""
_NOUNS = {"job": "jobs", "key": "keys", "wh": "webhooks", "ckpt": "checkpoints", "ds": "datasets"}
Action = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=64)]

router = APIRouter()


@router.get("/trail")
def show_trail(
    *,
    request: Request,
    visitor: Admin,
    ports: PortsDep,
    action: Annotated[Action | None, EMPTY_IS_NONE, Query()] = None,
    outcome: Annotated[TrailOutcome | None, EMPTY_IS_NONE] = None,
    target_id: Words = "",
    after: Cursor = None,
) -> Response:
    """Newest first. A target is found by its whole id."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        rows, has_more = unit.trail.page(
            visitor.caller.project_id,
            after,
            PER_PAGE,
            action=action,
            outcome=outcome,
            target_id=target_id or None,
        )
        key_names = unit.api_keys.names(visitor.caller.project_id, {row.key_id for row in rows if row.key_id})
    query = {"action": action or "", "outcome": outcome or "", "target_id": target_id}
    return page(
        request,
        "trail.html",
        entries=rows,
        key_names=key_names,
        actions=ACTIONS,
        action=action,
        outcome=outcome,
        target_id=target_id,
        is_filtered=any(query.values()),
        pages_of=page_of,
        older=link(HERE, query, after=rows[-1].id) if has_more else None,
        newest=link(HERE, query) if after else None,
    )


def page_of(target_id: str) -> str | None:
    """The page of what was changed, where there is one."""
    noun = _NOUNS.get(target_id.partition("_")[0]) if is_any_id(target_id) else None
    return None if noun is None else f"/ui/{noun}/{target_id}"
