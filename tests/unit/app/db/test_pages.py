"""A list's statement is built once for each kind of list, and keeps no value of any request."""

from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from app.db.models.job import Job
from app.db.repositories.jobs import JobRepository
from app.db.repositories.pages import row_of
from app.domain.states import JobKind, JobState


class Heard(Exception):
    """A statement came to the database."""


class Listening(Session):
    """Ends at the first statement."""

    def execute(self, statement: Any, params: Any = None, **_: Any) -> Any:  # type: ignore[override]
        raise Heard(statement, params)


def asked(project_id: str, **filters: Any) -> tuple[Any, dict[str, Any]]:
    with pytest.raises(Heard) as heard:
        JobRepository(Listening()).page(project_id, **{"after": None, "limit": 20, **filters})
    statement, values = heard.value.args
    return statement, values


def test_a_second_list_of_a_kind_uses_the_statement_of_the_first_with_its_own_values() -> None:
    first, values = asked("prj_a", limit=20, kind=JobKind.SCAN)
    second, others = asked("prj_b", limit=100, kind=None)
    assert second is first
    assert "prj_a" in values.values()
    assert "prj_b" in others.values()
    assert "prj_a" not in others.values()
    assert {*values} == {*others}


def test_other_filters_have_a_statement_of_their_own() -> None:
    plain, _ = asked("prj_a")
    assert asked("prj_a", state=JobState.FAILED)[0] is not plain
    assert asked("prj_a", after="job_1")[0] is not plain


@pytest.mark.parametrize("filters", [{}, {"state": JobState.FAILED, "after": "job_1"}])
def test_a_statement_without_its_values_fails_and_has_none_of_an_earlier_request(filters: Any) -> None:
    statement, values = asked("prj_a", **filters)
    compiled = statement.compile(dialect=postgresql.dialect())
    kept = {str(one) for one in compiled.construct_params(values, _check=False).values()}
    assert "prj_a" in kept
    assert "prj_a" not in {str(one) for one in compiled.construct_params(_check=False).values()}
    with pytest.raises(InvalidRequestError, match="required"):
        compiled.construct_params({}, _check=True)


def test_a_row_of_a_list_is_of_no_session_and_unchanged() -> None:
    values = {one.key: None for one in Job.__mapper__.column_attrs} | {"id": "job_1", "_rank": 1}
    row = row_of(Job, values)  # type: ignore[arg-type]
    assert row.id == "job_1"
    assert not hasattr(row, "_rank")
    assert not inspect(row).modified
