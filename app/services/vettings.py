"""Vettings: what is refused before anything is queued, and the lists that later orders leave out.

A list is pinned when the order is taken: its digest, how many samples it names and why are kept in the job,
so that a worker uses that file or fails.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from app.db.unit_of_work import UnitOfWork
from app.domain.errors import InvalidInput, NotFound
from app.domain.states import DatasetKind
from app.services.artifacts import check_finished
from app.services.orders import Order, naming
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary import exclusions
from cleanclip.vocabulary.vet_report import EXCLUDED_NAME


class Validated(Protocol):
    """Of a dataset: its kind, and what its validation found."""

    @property
    def kind(self) -> DatasetKind: ...
    @property
    def summary(self) -> dict[str, Any] | None: ...


def _digest(dataset: Validated) -> str | None:
    return (dataset.summary or {}).get("sha256")


def lists(
    unit: UnitOfWork, project_id: str, order: Order, data: Mapping[str, Validated]
) -> dict[str, dict[str, Any]] | None:
    """What an order leaves out, by what the dataset is used as; None: nothing.

    Raises NotFound, Conflict (`job_not_finished`), InvalidInput (`job_is_no_vetting`,
    `exclusions_of_another_dataset`, `exclusions_given_twice`).
    """
    found: dict[str, dict[str, Any]] = {}
    roles = {one.column: one.roles for one in order.inputs(are_checkpoints=False)}
    for number, job_id in enumerate(order.exclude):
        with naming(f"/exclude/{number}"):
            column, listed = list_of(unit, project_id, job_id, data)
            role = roles[column][data[column].kind]
            if role in found:
                raise exclusions.given_twice()
            found[role] = listed
    return found or None


def list_of(
    unit: UnitOfWork, project_id: str, job_id: str, data: Mapping[str, Validated]
) -> tuple[str, dict[str, Any]]:
    """The column of that vetting's dataset in the order, and the list, pinned.

    Raises as `lists`, but OptionsRejected `exclusions_of_another_dataset`.
    """
    job = unit.jobs.get(project_id, job_id)
    if EXCLUDED_NAME not in KINDS[job.kind].leaves:
        raise InvalidInput(
            "job_is_no_vetting", f"The job {job.id} is of kind {job.kind.value}.", "Name a job of kind vet."
        )
    artifact = unit.artifacts.named(project_id, job.id, EXCLUDED_NAME)
    if artifact is None:
        check_finished(job, "its list of samples is written when it succeeds")
        raise NotFound(
            "vetting_without_list",
            f"The vetting is {job.state} and has no list of samples.",
            "Vet the dataset again.",
        )
    digest = unit.datasets.digests(project_id, job.dataset_ids).get(str(job.dataset_id))
    column = next((one for one, dataset in data.items() if _digest(dataset) == digest), None)
    if column is None:
        raise exclusions.of_another_dataset(digest)
    reported = (job.result or {})[job.kind]
    return column, {
        "job_id": job.id,
        "list_sha256": artifact.sha256,
        "num": reported["set_aside"]["num"],
        "reason": reported["reason"],
    }
