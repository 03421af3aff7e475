"""Checkpoints, as requests see them; deleted ones are not found."""

from collections.abc import Sequence
from typing import ClassVar

from sqlalchemy import ColumnElement, Text, cast, literal, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, array

from app.db.models.assets import Checkpoint
from app.db.repositories.owned import DeletableRepository
from app.db.repositories.pages import Cuts
from app.domain.states import CheckpointState

_LEFT_OUT = array([literal(name) for name in ("architecture", "assumed", "findings", "scanners")])
"""Of an inspection, in lists: what may be long."""

_TEXTS = array([literal("configurations"), literal("beside")])
"""Likewise, of a source."""


class CheckpointRepository(DeletableRepository[Checkpoint]):
    model = Checkpoint
    noun = "checkpoint"
    once_deleted = "Upload it again if it is still needed."
    cuts: ClassVar[Cuts | None] = {
        "inspection": type_coerce(Checkpoint.inspection.op("-")(cast(_LEFT_OUT, ARRAY(Text))), JSONB),
        "source": type_coerce(Checkpoint.source.op("-")(cast(_TEXTS, ARRAY(Text))), JSONB),
    }

    def page(
        self,
        project_id: str,
        after: str | None,
        limit: int,
        *,
        state: CheckpointState | None = None,
        sha256: str | None = None,
    ) -> tuple[Sequence[Checkpoint], bool]:
        """Newest first, without deleted ones; `after` is the id of the last row of the page before.

        `sha256` is that of the uploaded bytes, known once they were inspected."""
        conditions: list[ColumnElement[bool]] = [Checkpoint.deleted_at.is_(None)]
        if state is not None:
            conditions.append(Checkpoint.state == state)
        if sha256 is not None:
            conditions.append(Checkpoint.sha256 == sha256)
        return self._page(project_id, after, limit, *conditions)
