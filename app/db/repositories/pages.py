"""Pages of rows: so many at most, and so many bytes. What a list does not show is not read from the database.

A page ends early where its rows are large, and says that there are more: no row is so large that lists of a
hundred would fit into memory, and no list holds what was only cut.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.sql.visitors import replacement_traverse

MAX_PAGE_BYTES = 1024 * 1024
"""Texts and JSON of all rows of a page together, or those of one row, which are less."""

Values = Mapping[str, Any]
Expressions = Mapping[str, ColumnElement[Any]]
Cuts = Mapping[str, ColumnElement[Any] | None]
"""What stands in lists in the place of a column; None: it is not read."""


def page_of(
    session: Session,
    model: type[Any],
    project_id: str,
    after: str | None,
    limit: int,
    *conditions: ColumnElement[bool],
    cuts: Cuts | None = None,
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
    cuts: Cuts | None = None,
    extras: Expressions | None = None,
    only: tuple[str, ...] = (),
    most_bytes: int = MAX_PAGE_BYTES,
) -> tuple[Sequence[Values], bool]:
    """The columns of each row by their attributes' names, in the order of `by`; and whether there are more.

    `extras`: what is worked out beside the columns; they and `cuts` are constants of a module. `only`: the
    columns that are read, where not all are that the page's bytes are counted of.
    """
    statement, values = _statement(
        model, conditions, by=by, is_ascending=is_ascending, cuts=cuts or {}, extras=extras or {}, only=only
    )
    bounds = {"_limit": limit, "_looked_at": limit + 1, "_most_bytes": most_bytes}
    result = session.execute(statement, values | bounds)
    names, rows = tuple(result.keys()), result.all()
    found = [dict(zip(names, row, strict=True)) for row in rows]
    has_more = bool(found) and found[0]["_num"] > len(found)
    return found, has_more


def _statement(
    model: type[Any],
    conditions: Sequence[ColumnElement[bool]],
    *,
    by: str,
    is_ascending: bool,
    cuts: Cuts,
    extras: Expressions,
    only: tuple[str, ...],
) -> tuple[Select[Any], dict[str, Any]]:
    """The statement, in which every value is a parameter, and the values.

    It is built once for each shape of conditions: to build it takes longer than all else that a page costs.
    """
    keys = [key for one in conditions if (key := one._generate_cache_key()) is not None]
    if len(keys) != len(conditions):
        raise TypeError("a condition has no key by which a statement can be kept")
    shape = (
        model,
        by,
        is_ascending,
        only,
        *map(id, (*cuts.values(), *extras.values())),
        *(key.key for key in keys),
    )
    given = [one for key in keys for one in key.bindparams]
    if shape not in _BUILT:
        names = {one.key: f"_{place}" for place, one in enumerate(given)}
        opened = [_without_values(one, names) for one in conditions]
        _BUILT[shape] = _built(
            model, opened, by=by, is_ascending=is_ascending, cuts=cuts, extras=extras, only=only
        )
    return _BUILT[shape], {f"_{place}": one.effective_value for place, one in enumerate(given)}


_BUILT: dict[tuple[Any, ...], Select[Any]] = {}
"""They hold the expressions by whose ids they are found. As many as there are kinds of lists and filters."""


def _without_values(condition: ColumnElement[bool], names: Mapping[str, str]) -> ColumnElement[bool]:
    """The condition with parameters of these names, each of which must be given a value."""

    def parameter(element: Any, **_: Any) -> Any:
        if not isinstance(element, BindParameter):
            return None
        return bindparam(names[element.key], type_=element.type, expanding=element.expanding, required=True)

    return replacement_traverse(condition, {}, parameter)


def _built(
    model: type[Any],
    conditions: Sequence[ColumnElement[bool]],
    *,
    by: str,
    is_ascending: bool,
    cuts: Cuts,
    extras: Expressions,
    only: tuple[str, ...],
) -> Select[Any]:
    columns = {name: getattr(model, name) for name in _attributes(model.__mapper__)}
    wanted: dict[str, Any] = {**columns, **cuts, **extras}
    labelled = [expression.label(name) for name, expression in wanted.items() if expression is not None]
    order = _ordered(getattr(model, by), is_ascending)
    looked_at = bindparam("_looked_at", type_=Integer, required=True)
    rows = select(*labelled).where(*conditions).order_by(order).limit(looked_at).subquery()
    order = _ordered(rows.c[by], is_ascending)
    sizes = [
        func.coalesce(func.octet_length(cast(column, Text)), 0)
        for column in rows.c
        if isinstance(column.type, JSONB) or type(column.type) is Text
    ]
    read = only or tuple(rows.c.keys())
    counted = select(
        *(rows.c[name] for name in read),
        func.row_number().over(order_by=order).label("_rank"),
        func.sum(sum(sizes[1:], sizes[0])).over(order_by=order).label("_bytes"),
        func.count().over().label("_num"),
    ).subquery()
    most_bytes = bindparam("_most_bytes", type_=BigInteger, required=True)
    limit = bindparam("_limit", type_=Integer, required=True)
    shown = or_(counted.c._bytes <= most_bytes, counted.c._rank == 1)
    shown_columns = [counted.c[name] for name in (*read, "_num")]
    return select(*shown_columns).where(shown, counted.c._rank <= limit).order_by(counted.c._rank)


def _ordered(column: ColumnElement[Any], is_ascending: bool) -> ColumnElement[Any]:
    return column.asc() if is_ascending else column.desc()


def row_of(model: type[Any], values: Values) -> Any:
    """The row, of no session. Values that are no column are left out; a column that was not read is None."""
    row = model.__mapper__.class_manager.new_instance()  # its constructor would note each value as a change
    row.__dict__.update({name: values.get(name) for name in _attributes(model.__mapper__)})
    return row


@cache
def _attributes(mapper: Mapper[Any]) -> tuple[str, ...]:
    return tuple(mapper.column_attrs.keys())
