"""A database per module and a project per test."""

from collections.abc import Iterator

import pytest

from app.db.models.project import Project
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.ids import new_id


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    """As operators see it: every project."""
    database = Database(build_engine(database_url, role=Role.OPERATOR))
    yield database
    database.dispose()


@pytest.fixture
def project_id(database: Database) -> str:
    project_id = new_id("prj")
    with database.unit_of_work() as unit:
        unit.projects.add(Project(id=project_id, name=project_id))
    return project_id
