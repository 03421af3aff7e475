"""Vettings: what is refused before anything is queued, and the lists that later orders leave out.

A list is pinned when the order is taken: its digest, how many samples it names and why are kept in the job,
so that a worker uses that file or fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.db.models.checkpoint import Checkpoint
from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, DomainError, InvalidInput, NotFound
from app.domain.states import TERMINAL, DatasetKind
from app.services import anchors
from app.services.orders import ANCHOR, MAIN, TRUSTED, Order, naming
from cleanclip.kinds.catalogue import KINDS
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.recipe import to_json
from cleanclip.spec.vet_plan import fewest_samples, fewest_trusted, plan
from cleanclip.spec.vet_report import EXCLUDED_NAME


class Validated(Protocol):
    """Of a dataset: its kind, and what its validation found."""

    @property
    def kind(self) -> DatasetKind: ...
    @property
    def summary(self) -> dict[str, Any] | None: ...


def vet_spec(
    order: Order, checkpoints: Mapping[str, Checkpoint], data: Mapping[str, Validated]
) -> dict[str, object]:
    """What the job of a vetting keeps of its order. Raises the first of `refusals`."""
    for refusal in refusals(order, checkpoints, data):
        raise refusal
    return {"vet": to_json(order.vet), "data_kind": data[MAIN].kind.value}


def refusals(
    order: Order, checkpoints: Mapping[str, Checkpoint], data: Mapping[str, Validated]
) -> Sequence[DomainError]:
    """Everything that the job would be refused for and rows can tell, with the codes of a failed job."""
    assert order.vet is not None, "the order is a vetting"
    found: list[DomainError] = []
    try:
        plan(order.vet, has_anchor=ANCHOR in order.ids)
    except OptionsRejected as error:
        pointer = f"/{error.where.replace('.', '/')}" if error.where else None
        found.append(InvalidInput(error.code, error.message, error.remedy, pointer))
    return [*found, *anchors.refusals(order, checkpoints), *_of_data(order, data)]


def _of_data(order: Order, data: Mapping[str, Validated]) -> list[DomainError]:
    vet, vetted, trusted = order.vet, data.get(MAIN), data.get(TRUSTED)
    assert vet is not None, "the order is a vetting"
    found: list[DomainError] = []
    if vetted is not None and (num := _num_good(vetted)) < (least := fewest_samples(vet)):
        found.append(
            InvalidInput(
                "too_few_to_vet",
                f"The dataset has {num} good samples, and {least} are the fewest for {vet.neighbours} "
                "neighbours each.",
                "Use a larger dataset, or set a lower number of neighbours.",
                pointer=order.pointer(MAIN),
            )
        )
    if trusted is None:
        return found
    if (num := min(_num_good(trusted), vet.max_trusted)) < (least := fewest_trusted(vet)):
        found.append(
            InvalidInput(
                "too_few_trusted",
                f"{num} good trusted samples can be used. With a share of {vet.share:g} it takes {least}: "
                "half of them fit, and p-values are counted from the other half.",
                "Give more trusted samples, or none: samples are then sorted by ranks.",
                pointer=order.pointer(TRUSTED),
            )
        )
    if vetted is not None:
        found += _of_both(vetted, trusted, order.pointer(TRUSTED))
    return found


def _of_both(vetted: Validated, trusted: Validated, pointer: str) -> list[DomainError]:
    if vetted.kind is not trusted.kind:
        return [
            InvalidInput(
                "dataset_wrong_kind",
                f"The trusted dataset is of kind '{trusted.kind}', the one that is vetted '{vetted.kind}'.",
                "Give trusted samples of the same kind.",
                pointer=pointer,
            )
        ]
    if _digest(vetted) == _digest(trusted):
        return [
            InvalidInput(
                "trusted_overlaps",
                "The trusted set is the set that is vetted, so it cannot say what is unusual there.",
                "Give trusted samples from another source.",
                pointer=pointer,
            )
        ]
    return []


def _num_good(dataset: Validated) -> int:
    return int((dataset.summary or {}).get("num_samples", 0))


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
                raise InvalidInput(
                    "exclusions_given_twice",
                    "Two vettings of the same dataset are named.",
                    "Name one vetting for each dataset.",
                )
            found[role] = listed
    return found or None


def list_of(
    unit: UnitOfWork, project_id: str, job_id: str, data: Mapping[str, Validated]
) -> tuple[str, dict[str, Any]]:
    """The column of that vetting's dataset in the order, and the list, pinned. Raises as `lists`."""
    job = unit.jobs.get(project_id, job_id)
    if EXCLUDED_NAME not in KINDS[job.kind].leaves:
        raise InvalidInput(
            "job_is_no_vetting", f"The job {job.id} is of kind {job.kind.value}.", "Name a job of kind vet."
        )
    artifact = unit.artifacts.named(project_id, job.id, EXCLUDED_NAME)
    if artifact is None:
        raise _no_list(job)
    digest = unit.datasets.digests(project_id, job.dataset_ids).get(str(job.dataset_id))
    column = next((one for one, dataset in data.items() if _digest(dataset) == digest), None)
    if column is None:
        raise InvalidInput(
            "exclusions_of_another_dataset",
            f"The vetting is of the dataset {(digest or 'unknown')[:12]}…, which the order does not use.",
            "Name a vetting of one of the order's datasets, or vet the dataset.",
        )
    told = (job.result or {})["vet"]
    return column, {
        "job_id": job.id,
        "list_sha256": artifact.sha256,
        "num": told["set_aside"]["num"],
        "reason": told["reason"],
    }


def _no_list(job: Job) -> DomainError:
    if job.state not in TERMINAL:
        return Conflict(
            "job_not_finished",
            f"The vetting is {job.state}; its list is written when it succeeds.",
            "Wait for the vetting.",
            retry_after_s=5,
        )
    return NotFound(
        "artifact_not_found",
        f"The vetting is {job.state} and has no list of samples.",
        "Vet the dataset again.",
    )
