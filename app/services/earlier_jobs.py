"""What earlier jobs of a project with the same architecture took, phase by phase, for how much work.

Of first attempts only: a later one resumes, and the times of its phases hold the wait between. On whatever
machine ran them: the service does not keep which.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from app.db.models.assets import Checkpoint
from app.db.models.job import DATASET_COLUMNS, Job
from app.db.repositories.assets import ListedDataset
from app.db.unit_of_work import UnitOfWork
from app.domain.states import JobPhase, PhaseState
from app.services.estimates import UNIT_OF, Load, Measured
from app.services.orders import LABELLED, MAIN, RETRIEVAL, TRUSTED
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.recipe import AuditOptions, Recipe, parse, parse_recipe
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.vet_options import VetOptions

MOST_JOBS = 20
"""The newest of them: a service is upgraded, and machines are exchanged."""

_COUNTED = {one.name for one in fields(Load)}
"""Parts of an order among them: how much other kinds compute is not known before."""


def load_of(
    checkpoint_bytes: int | None,
    datasets: Mapping[str, ListedDataset],
    *,
    recipe: Recipe | None = None,
    audit: AuditOptions | None = None,
    scan: ScanOptions | None = None,
    text_scan: TextScanOptions | None = None,
    vet: VetOptions | None = None,
    num_found: int = 0,
    has_anchor: bool = False,
    lists: Mapping[str, Mapping[str, Any]] | None = None,
) -> Load:
    """`datasets` by their columns; `checkpoint_bytes` None: not known. `lists`: what is left out,
    by what its dataset is used as."""

    def left(count: int | None, *roles: str) -> int | None:
        num_out = sum(int((lists or {}).get(role, {"num": 0})["num"]) for role in roles)
        return None if count is None else max(0, count - num_out)

    labelled = datasets.get(LABELLED)
    return Load(
        num_bytes=_num_bytes(checkpoint_bytes, datasets),
        num_labelled=left(_num_good(labelled), "labelled"),
        num_classes=None if labelled is None else _num_classes(scan, labelled),
        num_found=num_found,
        num_training=left(_num_all(datasets.get(MAIN)), "pairs", "training"),
        num_retrieval=left(_num_good(datasets.get(RETRIEVAL)), "retrieval"),
        num_trusted=_num_all(datasets.get(TRUSTED)),
        recipe=recipe,
        audit=audit,
        scan=scan,
        text_scan=text_scan,
        vet=vet,
        has_anchor=has_anchor,
    )


def _num_classes(scan: ScanOptions | None, dataset: ListedDataset) -> int:
    return (dataset.num_classes or 0) + (0 if scan is None else len(scan.further_classes))


def _num_good(dataset: ListedDataset | None) -> int | None:
    summary = None if dataset is None else dataset.row.summary
    return None if summary is None else int(summary["num_samples"])


def _num_all(dataset: ListedDataset | None) -> int | None:
    """Bad ones too: an epoch counts them, and trains on others in their place."""
    num_good = _num_good(dataset)
    if num_good is None or dataset is None or dataset.row.summary is None:
        return None
    return num_good + int(dataset.row.summary.get("num_skipped", 0))


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
    recipe = None if job.spec.get("recipe") is None else parse_recipe(job.spec["recipe"])
    parts = {
        kind.name: parse(kind.options, job.spec[kind.name])
        for kind in KINDS.values()
        if kind.options is not None and kind.name in _COUNTED and job.spec.get(kind.name) is not None
    }
    named = job.named(DATASET_COLUMNS)
    its_data = {column: datasets[its_id] for column, its_id in named.items() if its_id in datasets}
    return load_of(
        checkpoint_bytes,
        its_data,
        recipe=recipe,
        **parts,
        has_anchor=job.anchor_checkpoint_id is not None,
        lists=job.spec.get("exclude"),
    )


def _phases(job: Job, load: Load) -> Iterator[Measured]:
    recipe = load.recipe
    for phase in job.phases:
        seconds = _seconds(phase.get("started_at"), phase.get("finished_at"))
        amount = load.amount(JobPhase(phase["name"]))
        if phase["state"] != PhaseState.SUCCEEDED or seconds is None or not amount:
            continue
        yield Measured(
            job_id=job.id,
            unit=UNIT_OF[JobPhase(phase["name"])],
            method=None if recipe is None else recipe.method,
            precision=load.precision(JobPhase(phase["name"])),
            seconds=seconds,
            amount=amount,
        )


def _seconds(started_at: str | None, finished_at: str | None) -> float | None:
    if not started_at or not finished_at:
        return None
    seconds = (datetime.fromisoformat(finished_at) - datetime.fromisoformat(started_at)).total_seconds()
    return seconds if seconds > 0 else None
