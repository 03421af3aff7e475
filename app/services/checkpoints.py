"""Checkpoints: read, list, delete. They come to be by completing an upload; an inspect job decides."""

from collections.abc import Sequence

from app.db.models.assets import Checkpoint
from app.db.repositories.verdicts import NO_VERDICTS, FoundVerdicts
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict
from app.domain.states import CheckpointState
from app.domain.verdicts import MOST_IN_LISTS
from app.services.api_keys import Caller
from app.services.trail import note


def delete(unit: UnitOfWork, caller: Caller, checkpoint_id: str) -> Checkpoint:
    """Mark as deleted; its objects follow. A running inspection is cancelled, other jobs stand in the way.

    Raises NotFound; Conflict (`checkpoint_in_use`) while a job of the customer reads it.
    """
    row = unit.checkpoints.get(caller.project_id, checkpoint_id, for_update=True)
    using = [job_id for job_id in unit.jobs.active_using_checkpoint(row.id) if job_id != row.inspect_job_id]
    if using:
        raise Conflict(
            "checkpoint_in_use",
            f"An unfinished job reads the checkpoint: {using[0]}."
            if len(using) == 1
            else f"{len(using)} unfinished jobs read the checkpoint, {using[0]} among them.",
            "Cancel them or wait for their end.",
        )
    is_undecided = row.state in {CheckpointState.QUARANTINED, CheckpointState.SCANNING}
    if row.inspect_job_id and is_undecided and row.error is None:  # with an error the inspection was given up
        unit.jobs.request_cancel(caller.project_id, row.inspect_job_id)
    note(unit, caller, "checkpoint.delete", row.id)
    return unit.checkpoints.delete(caller.project_id, checkpoint_id)


def check_accepted(checkpoint: Checkpoint) -> None:
    """Raise Conflict unless jobs may use it."""
    if checkpoint.state is CheckpointState.ACCEPTED:
        return
    if checkpoint.state is CheckpointState.REJECTED:
        message = "The checkpoint was rejected; its error says why."
        remedy = "Upload another file."
    else:
        message = f"The checkpoint is still {checkpoint.state}."
        remedy = "Wait until it is accepted."
    raise Conflict("checkpoint_not_accepted", message, remedy)


def worst_verdicts(unit: UnitOfWork, project_id: str, rows: Sequence[Checkpoint]) -> list[FoundVerdicts]:
    """Of each, in their order, the worst few verdicts of the project on its weights."""
    found = unit.verdicts.on_each(project_id, [row.weights_sha256 for row in rows], MOST_IN_LISTS)
    return [found.get(row.weights_sha256, NO_VERDICTS) for row in rows]
