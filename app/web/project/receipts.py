"""The deletion that a list's address names. Looked up: a page repeats no text out of its address."""

from app.db.models.assets import Deletion
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import NotFound


def deletion_reported(unit: UnitOfWork, project_id: str, deletion_id: str | None) -> Deletion | None:
    """None where the address names none, or one that is not of this project: a link that somebody made up."""
    if deletion_id is None:
        return None
    try:
        return unit.deletions.get(project_id, deletion_id)
    except NotFound:
        return None
