"""Uploads, datasets and nulls, as requests see them; deleted ones are not found."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    SQLColumnExpression,
    Text,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH, array

from app.db.models.assets import Dataset, NullSet, Upload
from app.db.repositories.base import Repository
from app.db.repositories.owned import DeletableRepository
from app.db.repositories.pages import Cuts, Expressions, row_of, values_of
from app.domain.errors import NotFound
from app.domain.states import DatasetKind, DatasetState, UploadPurpose, UploadState

_LEFT_OUT = array(
    [literal(name) for name in ("class_names", "templates", "images_per_class", "skipped_examples")]
)
_CUTS: Cuts = {
    "class_names": None,
    "templates": None,
    "files": None,
    "summary": type_coerce(Dataset.summary.op("-")(cast(_LEFT_OUT, ARRAY(Text))), JSONB),
}
_SIZES = (
    func.jsonb_path_query(Dataset.files, cast('$[*].size_bytes ? (@.type() == "number")', JSONPATH))
    .table_valued("value")
    .render_derived()
)


def _length(value: SQLColumnExpression[Any]) -> ColumnElement[int | None]:
    """Of an array; NULL for anything else."""
    return case((func.jsonb_typeof(value) == "array", func.jsonb_array_length(value)))


_COUNTS: Expressions = {
    "num_classes": func.coalesce(_length(Dataset.class_names), _length(Dataset.summary["class_names"])),
    "num_files": _length(Dataset.files),
    "size_bytes": select(cast(func.sum(cast(_SIZES.c.value, Numeric)), BigInteger)).scalar_subquery(),
}


@dataclass(frozen=True, kw_only=True)
class ListedDataset:
    """`row`, of no session, has neither class names, templates nor files, and a summary without lists: all of
    them are as long as whoever registered the dataset likes. `num_files`, `size_bytes` None: not known."""

    row: Dataset
    num_classes: int | None
    num_files: int | None
    size_bytes: int | None


class DatasetRepository(DeletableRepository[Dataset]):
    model = Dataset
    noun = "dataset"
    once_deleted = "Register it again if it is still needed."

    def page(
        self,
        project_id: str,
        after: str | None,
        limit: int,
        *,
        state: DatasetState | None = None,
        kind: DatasetKind | None = None,
    ) -> tuple[Sequence[ListedDataset], bool]:
        """Newest first, without deleted ones; `after` is the id of the last row of the page before."""
        conditions: list[ColumnElement[bool]] = [
            Dataset.project_id == project_id,
            Dataset.deleted_at.is_(None),
        ]
        if after is not None:
            conditions.append(Dataset.id < after)
        if state is not None:
            conditions.append(Dataset.state == state)
        if kind is not None:
            conditions.append(Dataset.kind == kind)
        return self._listed(conditions, limit)

    def listed(self, project_id: str, ids: Collection[str]) -> dict[str, ListedDataset]:
        """By id, deleted ones too: what they held is still known. What there is not is left out."""
        conditions = (Dataset.project_id == project_id, Dataset.id.in_(ids))
        return {one.row.id: one for one in self._listed(conditions, len(ids))[0]}

    def _listed(
        self, conditions: Sequence[ColumnElement[bool]], limit: int
    ) -> tuple[Sequence[ListedDataset], bool]:
        found, has_more = values_of(self._session, Dataset, conditions, limit, cuts=_CUTS, extras=_COUNTS)
        listed = [
            ListedDataset(row=row_of(Dataset, values), **{name: values[name] for name in _COUNTS})
            for values in found
        ]
        return listed, has_more

    def names(self, project_id: str, ids: Collection[str]) -> dict[str, str]:
        """By id, deleted ones' too; what has no name is left out."""
        query = select(Dataset.id, Dataset.name).where(
            Dataset.project_id == project_id, Dataset.id.in_(ids), Dataset.name.is_not(None)
        )
        return {row.id: row.name for row in self._session.execute(query)}

    def digests(self, project_id: str, ids: Collection[str]) -> dict[str, str]:
        """As validated, by id, deleted ones' too; what is not validated is left out."""
        digest = Dataset.summary["sha256"].astext
        query = select(Dataset.id, digest).where(
            Dataset.project_id == project_id, Dataset.id.in_(ids), digest.is_not(None)
        )
        return {id: sha256 for id, sha256 in self._session.execute(query)}  # noqa: A001, C416 - rows, not pairs

    def using_upload(self, project_id: str, upload_id: str) -> Sequence[str]:
        """Ids of living datasets that are made of the upload."""
        query = select(Dataset.id).where(
            Dataset.project_id == project_id, Dataset.upload_id == upload_id, Dataset.deleted_at.is_(None)
        )
        return self._session.scalars(query).all()


class UploadRepository(DeletableRepository[Upload]):
    model = Upload
    noun = "upload"
    once_deleted = "Create a new upload."

    def open_of(self, project_id: str, purpose: UploadPurpose, limit: int) -> tuple[Sequence[Upload], bool]:
        """Those that still take parts, newest first, and whether there are more."""
        return self._page(
            project_id,
            None,
            limit,
            Upload.state == UploadState.OPEN,
            Upload.purpose == purpose,
            Upload.deleted_at.is_(None),
        )


class NullSetRepository(Repository):
    def add(self, row: NullSet) -> NullSet:
        self._session.add(row)
        self._session.flush()
        return row

    def remove(self, row: NullSet) -> None:
        self._session.delete(row)
        self._session.flush()

    def get(self, id: str) -> NullSet:  # noqa: A002
        """Raises NotFound."""
        row = self.find_by_id(id)
        if row is None:
            raise _not_found(id)
        return row

    def find_by_id(self, id: str) -> NullSet | None:  # noqa: A002
        return self._session.get(NullSet, id)

    def find(self, name: str) -> NullSet | None:
        return self._session.scalars(select(NullSet).where(NullSet.name == name)).one_or_none()

    def named(self, name: str) -> NullSet:
        """Raises NotFound."""
        row = self.find(name)
        if row is None:
            raise _not_found(name)
        return row

    def all(self) -> Sequence[NullSet]:
        """Newest first. Operators add few."""
        return self._session.scalars(select(NullSet).order_by(NullSet.id.desc())).all()

    def page(self, after: str | None, limit: int) -> tuple[Sequence[NullSet], bool]:
        """Newest first, and whether there are more; `after` is the id of the last row of the page before."""
        conditions = [] if after is None else [NullSet.id < after]
        found, has_more = values_of(self._session, NullSet, conditions, limit)
        return [row_of(NullSet, values) for values in found], has_more


def _not_found(named: str) -> NotFound:
    return NotFound(
        "null_not_found",
        f"There is no null {named[:64]!r}.",
        "GET /v1/nulls lists those that this service has; its operators add them.",
    )
