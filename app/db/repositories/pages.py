"""Pages of rows: so many at most, and so many bytes. What a list does not show is not read from the database.

A page ends early where its rows are large, and says that there are more: no row is so large that lists of a
hundred would fit into memory, and no list holds what was only cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

MAX_PAGE_BYTES = 1024 * 1024
"""Texts and JSON of all rows of a page together, or those of one row, which are less."""

Expressions = Mapping[str, ColumnElement[Any]]


def page_of(
    session: Session,
    model: type[Any],
    project_id: str,
    after: str | None,
    limit: int,
    *conditions: ColumnElement[bool],
    cuts: Expressions | None = None,
) -> tuple[Sequence[Any], bool]:
    """Newest first, and whether there are more; `after` is the id of the last row of the page before.

    The rows are of no session: nothing that is set on them is written.
    """
    conditions = (model.project_id == project_id, *conditions)
    if after is not None:
        conditions = (*conditions, model.id < after)
    found, has_more = values_of(session, model, conditions, limit, cuts=cuts)
    return [row_of(model, values) for values in found], has_more


def values_of(
    session: Session,
    model: type[Any],
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
    *,
    by: str = "id",
    is_ascending: bool = False,
    cuts: Expressions | None = None,
    extras: Expressions | None = None,
) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The columns of each row by their attributes' names, in the order of `by`; and whether there are more.

    `cuts`: what stands in the place of a column; `extras`: what is worked out beside the columns.
    """
    columns = {one.key: getattr(model, one.key) for one in model.__mapper__.column_attrs}
    wanted = columns | dict(cuts or {}) | dict(extras or {})
    labelled = [expression.label(name) for name, expression in wanted.items()]
    order = _ordered(getattr(model, by), is_ascending)
    rows = select(*labelled).where(*conditions).order_by(order).limit(limit + 1).subquery()
    order = _ordered(rows.c[by], is_ascending)
    sizes = [
        func.coalesce(func.octet_length(cast(rows.c[name], Text)), 0)
        for name in wanted
        if isinstance(rows.c[name].type, JSONB) or type(rows.c[name].type) is Text
    ]
    counted = select(
        rows,
        func.row_number().over(order_by=order).label("_rank"),
        func.sum(sum(sizes[1:], sizes[0])).over(order_by=order).label("_bytes"),
        func.count().over().label("_num"),
    ).subquery()
    shown = or_(counted.c._bytes <= MAX_PAGE_BYTES, counted.c._rank == 1)
    query = select(counted).where(shown, counted.c._rank <= limit).order_by(counted.c._rank)
    found = session.execute(query).mappings().all()
    has_more = bool(found) and found[0]["_num"] > len(found)
    return [{name: values[name] for name in wanted} for values in found], has_more


def _ordered(column: ColumnElement[Any], is_ascending: bool) -> ColumnElement[Any]:
    return column.asc() if is_ascending else column.desc()


def row_of(model: type[Any], values: Mapping[str, Any]) -> Any:
    """The row, of no session; values that are no column are left out."""
    return model(**{one.key: values[one.key] for one in model.__mapper__.column_attrs})
