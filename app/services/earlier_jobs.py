"""What earlier jobs of a project with the same architecture took, phase by phase, for how much work.

Of first attempts only: a later one resumes, and the times of its phases hold the wait between. On whatever
machine ran them: the service does not keep which.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from app.db.models.assets import Checkpoint
from app.db.models.job import DATASET_COLUMNS, Job
from app.db.repositories.assets import ListedDataset
from app.db.unit_of_work import UnitOfWork
from app.domain.states import PhaseState
from app.services.estimates import Measured
from app.services.orders import LABELLED
from cleanclip.kinds.catalogue import KINDS, PUBLIC
from cleanclip.kinds.kind import Kind
from cleanclip.kinds.phase import Load
from cleanclip.vocabulary.recipe import parse

MOST_JOBS = 20
"""The newest of them: a service is upgraded, and machines are exchanged."""


def load_of(
    kind: Kind,
    checkpoint_bytes: int | None,
    datasets: Mapping[str, ListedDataset],
    *,
    parts: Mapping[str, Any],
    num_found: int = 0,
    has_anchor: bool = False,
    lists: Mapping[str, Mapping[str, Any]] | None = None,
) -> Load:
    """`datasets` by their columns; `checkpoint_bytes` None: not known. `lists`: what is left out,
    by what its dataset is used as."""
    sizes: dict[str, int] = {}
    for one in kind.inputs:
        listed = datasets.get(one.column)
        if listed is not None and (summary := listed.row.summary) is not None:
            num = int(summary["num_samples"]) + one.counts_bad * int(summary.get("num_skipped", 0))
            num_out = sum(int((lists or {}).get(role, {"num": 0})["num"]) for role in {*one.roles.values()})
            sizes[one.column] = max(0, num - num_out)
    labelled, scan = datasets.get(LABELLED), parts.get("scan")
    further = 0 if scan is None else len(scan.further_classes)
    return Load(
        parts=parts,
        sizes=sizes,
        num_bytes=_num_bytes(checkpoint_bytes, datasets),
        num_classes=None if labelled is None else (labelled.num_classes or 0) + further,
        num_found=num_found,
        has_anchor=has_anchor,
    )


def _num_bytes(checkpoint_bytes: int | None, datasets: Mapping[str, ListedDataset]) -> int | None:
    sizes = [one.size_bytes for one in datasets.values() if one.size_bytes is not None]
    if checkpoint_bytes is None or not datasets or len(sizes) < len(datasets):
        return None
    return checkpoint_bytes + sum(sizes)


def measured_by(unit: UnitOfWork, project_id: str, checkpoint: Checkpoint) -> list[Measured]:
    """Every phase that a first attempt finished, of the newest jobs on models of the same architecture."""
    architecture = (checkpoint.inspection or {}).get("architecture")
    if architecture is None:
        return []
    rows = unit.jobs.first_attempts(project_id, architecture, MOST_JOBS)
    named = {dataset_id for job, _ in rows for dataset_id in job.dataset_ids}
    datasets = unit.datasets.listed(project_id, named)
    found: list[Measured] = []
    for job, checkpoint_bytes in rows:
        found += _phases(job, _load_of_job(job, checkpoint_bytes, datasets))
    return found


def _load_of_job(job: Job, checkpoint_bytes: int, datasets: Mapping[str, ListedDataset]) -> Load:
    parts = {
        kind.option_part: parse(kind.options, job.spec[kind.option_part])
        for kind in PUBLIC.values()
        if job.spec.get(kind.option_part) is not None
    }
    named = job.named(DATASET_COLUMNS)
    return load_of(
        KINDS[job.kind],
        checkpoint_bytes,
        {column: datasets[its_id] for column, its_id in named.items() if its_id in datasets},
        parts=parts,
        has_anchor=job.anchor_checkpoint_id is not None,
        lists=job.spec.get("exclude"),
    )


def _phases(job: Job, load: Load) -> Iterator[Measured]:
    recipe = load.parts.get("recipe")
    for row in job.phases:
        seconds = _seconds(row.get("started_at"), row.get("finished_at"))
        phase = KINDS[job.kind].phase(row["name"])
        amount = phase.amount(load)
        if row["state"] != PhaseState.SUCCEEDED or seconds is None or not amount:
            continue
        yield Measured(
            job_id=job.id,
            unit=phase.unit,
            method=None if recipe is None else recipe.method,
            precision=phase.precision(load),
            seconds=seconds,
            amount=amount,
        )


def _seconds(started_at: str | None, finished_at: str | None) -> float | None:
    if not started_at or not finished_at:
        return None
    seconds = (datetime.fromisoformat(finished_at) - datetime.fromisoformat(started_at)).total_seconds()
    return seconds if seconds > 0 else None
