"""What operators do on the machine itself: projects, keys of any project, jobs that are stuck.

Runs in the operator's role, which sees all projects. Every change leaves a line with the operator's account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from app.db.models.api_key import ApiKey
from app.db.models.project import Project
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, NotFound
from app.domain.ids import new_id
from app.domain.states import JobState
from app.services import key_management
from app.services.audit_log import Operator, note


def projects(database: Database) -> Sequence[Project]:
    """All of them, oldest first."""
    with database.unit_of_work() as unit:
        return unit.projects.all()


def create_project(database: Database, name: str, *, account: str) -> Project:
    """Raises Conflict (`project_exists`)."""
    with database.unit_of_work() as unit:
        if unit.projects.by_name(name) is not None:
            raise Conflict(
                "project_exists", f"There is a project '{name[:64]}' already.", "Choose another name."
            )
        return _new_project(unit, name, account)


def _new_project(unit: UnitOfWork, name: str, account: str) -> Project:
    project = unit.projects.add(Project(id=new_id("prj"), name=name))
    note(unit, Operator(project_id=project.id, account=account), "project.create", project.id)
    return project


def create_key(
    database: Database,
    *,
    project: str,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    account: str,
) -> tuple[ApiKey, str]:
    """A key and its text; its project is made if there is none of that name. Raises InvalidInput."""
    with database.unit_of_work() as unit:
        found = unit.projects.by_name(project) or _new_project(unit, project, account)
        who = Operator(project_id=found.id, account=account)
        return key_management.create(unit, who, name=name, scopes=scopes, expires_at=expires_at)


def keys(database: Database, project: str) -> Sequence[ApiKey]:
    """Of the project of that name, newest first, revoked and expired ones too. Raises NotFound."""
    with database.unit_of_work() as unit:
        found = unit.projects.by_name(project)
        if found is None:
            raise NotFound(
                "project_not_found",
                f"There is no project '{project[:64]}'.",
                "List them with `python -m app.cli projects`.",
            )
        return unit.api_keys.of_project(found.id)


def rotate_key(database: Database, key_id: str, *, overlap_s: float, account: str) -> tuple[ApiKey, str]:
    """The successor and its text. Raises NotFound, Conflict."""
    with database.unit_of_work() as unit:
        who = Operator(project_id=unit.api_keys.find(key_id).project_id, account=account)
        return key_management.rotate(unit, who, key_id, overlap_s=overlap_s)


def revoke_key(database: Database, key_id: str, *, account: str) -> ApiKey:
    """Also the last one with scope admin. Raises NotFound."""
    with database.unit_of_work() as unit:
        who = Operator(project_id=unit.api_keys.find(key_id).project_id, account=account)
        return key_management.revoke(unit, who, key_id)


def requeue(database: Database, job_id: str, *, account: str) -> str:
    """Queue a failed or paused job again, whosever it is; returns its state. Raises NotFound, Conflict.

    A queued job needs nothing: the sweeper hints it again; nor does a running one: its lease runs out.
    """
    with database.unit_of_work() as unit:
        for project in unit.projects.all():
            try:
                job = unit.jobs.get(project.id, job_id)
            except NotFound:
                continue
            if job.state is JobState.PAUSED:
                job = unit.jobs.resume(project.id, job_id)
            elif job.state is not JobState.QUEUED:
                job = unit.jobs.retry(project.id, job_id)
            note(unit, Operator(project_id=project.id, account=account), "job.requeue", job_id)
            return job.state.value
    raise NotFound("job_not_found", f"There is no job {job_id[:64]!r}.", "Check the id.")
