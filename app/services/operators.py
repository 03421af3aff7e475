"""What operators do on the machine itself: projects, keys of any project, jobs that are stuck.

Runs in the operator's role, which sees all projects. Every change leaves a line with the operator's account.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.db.models.assets import Deletion
from app.db.models.project import ApiKey, Project, ProjectQuota, TrailEntry
from app.db.sealing import Sealer, Unsealable
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.errors import Conflict, InvalidInput
from app.domain.ids import is_id, new_id
from app.domain.quotas import QuotaLimits, QuotaName
from app.domain.shown_texts import is_fit_to_show
from app.domain.states import JobState
from app.services import key_management, sessions
from app.services.api_keys import read_key, recognise
from app.services.quotas import limits_of
from app.services.trail import Operator, note
from app.settings import QuotaSettings

MAX_NAME_LENGTH = 100


def projects(database: Database) -> Sequence[Project]:
    """All of them, oldest first."""
    with database.unit_of_work() as unit:
        return unit.projects.all()


def create_project(database: Database, name: str, *, account: str) -> Project:
    """Raises Conflict (`project_exists`), InvalidInput (`project_name_invalid`)."""
    with database.unit_of_work() as unit:
        if unit.projects.by_name(name) is not None:
            raise Conflict(
                "project_exists", f"A project '{name[:64]}' exists already.", "Choose another name."
            )
        return _new_project(unit, name, account)


def _new_project(unit: UnitOfWork, name: str, account: str) -> Project:
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not is_fit_to_show(name) or is_id("prj", name):
        raise InvalidInput(
            "project_name_invalid",
            f"A project's name has 1 to {MAX_NAME_LENGTH} printable characters and is not a project's id.",
            "Choose another name.",
        )
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


def sign_in_link(database: Database, key_text: str, *, lasts_s: float) -> str:
    """The token of a link that signs a browser in once, as the holder of this key. Raises Unauthorized."""
    key = read_key(key_text)
    with database.unit_of_work() as unit:
        caller = recognise(unit, key, request_id="cli", remote_addr=None)
        return sessions.make_link(unit, caller.project_id, key, lasts_s=lasts_s)


def keys(database: Database, project: str) -> Sequence[ApiKey]:
    """Of the project of that name, newest first, revoked and expired ones too. Raises NotFound."""
    with database.unit_of_work() as unit:
        return unit.api_keys.of_project(_project(unit, project).id)


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


def set_quota(
    database: Database,
    project: str,
    limits: Mapping[QuotaName, int | None],
    *,
    defaults: QuotaSettings,
    account: str,
) -> QuotaLimits:
    """Set the named limits of the project, None: the default again; returns all. Raises NotFound."""
    with database.unit_of_work() as unit:
        found = _project(unit, project)
        row = unit.quotas.of(found.id) or ProjectQuota(project_id=found.id)
        for name, limit in limits.items():
            setattr(row, name.value, limit)
        unit.quotas.set(row)
        who = Operator(project_id=found.id, account=account)
        note(unit, who, "quota.set", found.id)
        return limits_of(unit, found.id, defaults)


def delete_project(database: Database, project: str, *, account: str) -> Deletion:
    """Its keys are gone at once, its jobs cancelled; the sweeper takes away the rest and leaves a receipt.

    The name is free again. Raises NotFound.
    """
    with database.unit_of_work() as unit:
        found = _project(unit, project)
        who = Operator(project_id=found.id, account=account)
        unit.webhooks.remove_all(found.id)
        for job_id in unit.jobs.active_of(found.id):
            unit.jobs.request_cancel(found.id, job_id)
        unit.api_keys.remove_all(found.id)
        found.name = f"deleted {found.id}"
        note(unit, who, "project.delete", found.id)
        return unit.deletions.ask(found.id, DeletionSubject.PROJECT, found.id, reason=DeletionReason.OPERATOR)


def deletion(database: Database, deletion_id: str) -> Deletion:
    """A receipt, whosever it is. Raises NotFound."""
    with database.unit_of_work() as unit:
        return unit.deletions.find(deletion_id)


def deletions(database: Database, project: str, *, after: str | None, limit: int) -> Sequence[Deletion]:
    """Receipts and what is under way, newest first, of a project by name or id, deleted ones too.

    Raises NotFound.
    """
    with database.unit_of_work() as unit:
        return unit.deletions.page(_project(unit, project, is_reading=True).id, after, limit)[0]


def trail(
    database: Database, project: str, *, after: str | None, limit: int, action: str | None
) -> Sequence[TrailEntry]:
    """Audit rows, newest first, of a project by name or id, deleted ones too. Raises NotFound."""
    with database.unit_of_work() as unit:
        found = _project(unit, project, is_reading=True)
        return unit.trail.page(found.id, after, limit, action=action)[0]


def _project(unit: UnitOfWork, name: str, *, is_reading: bool = False) -> Project:
    if is_reading and is_id("prj", name):
        return unit.projects.get(name)
    return unit.projects.named(name)


def requeue(database: Database, job_id: str, *, account: str) -> str:
    """Queue a failed or paused job again, whosever it is; returns its state. Raises NotFound, Conflict.

    A queued job needs nothing: the sweeper hints it again; nor does a running one: its lease runs out.
    """
    with database.unit_of_work() as unit:
        job = unit.jobs.find(job_id)
        if job.state is JobState.PAUSED:
            job = unit.jobs.resume(job.project_id, job_id)
        elif job.state is not JobState.QUEUED:
            job = unit.jobs.retry(job.project_id, job_id)
        note(unit, Operator(project_id=job.project_id, account=account), "job.requeue", job_id)
        return job.state.value


def reseal_webhooks(database: Database, sealer: Sealer) -> tuple[int, list[str]]:
    """Seal the secrets of all webhooks with the sealer's first key, so that its others can be left out.

    Returns how many, and the ids of those that none of its keys opens. No line in the trail: nothing changes
    for a project.
    """
    num_sealed, unreadable = 0, []
    with database.unit_of_work() as unit:
        for row in unit.webhooks.hold_every():
            previous = row.sealed_previous_secret
            try:
                row.sealed_secret = sealer.seal_again(row.sealed_secret)
                row.sealed_previous_secret = None if previous is None else sealer.seal_again(previous)
            except Unsealable:
                unreadable.append(row.id)
            else:
                num_sealed += 1
    return num_sealed, unreadable
