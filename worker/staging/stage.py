"""Stage: bring a job's inputs into its folder, byte for byte what they were pinned to be, and write its spec.

Nothing passes through memory whole. A file whose digest differs stops the job, and says which.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from app.db.models.assets import Dataset
from app.db.repositories.attempt_values import ClaimedJob
from app.db.session import Database
from app.domain.states import JobPhase
from app.settings import DatasetSettings
from app.storage.port import ObjectStore
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import MAX_CONFIG_BYTES
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.exclusions import ExcludedSamples
from cleanclip.vocabulary.jobspec import (
    ANCHOR_PATH,
    CHECKPOINT_PATH,
    CONFIG_NAME,
    NULL_PATH,
    SPEC_NAME,
    UPLOAD_PATH,
    WEIGHTS_NAME,
    Inspection,
    JobSpec,
    JudgedSpec,
    MaxRanks,
    path_of_role,
)
from cleanclip.vocabulary.null_set import MAX_NULL_BYTES, NullSet, load_null
from cleanclip.vocabulary.recipe import DeclaredOptions, parse
from cleanclip.vocabulary.report_inputs import CheckpointInput, FetchedSource, Origin
from worker.confinement.child_json import read_regular
from worker.failures import AttemptFailed, disk_full
from worker.ledger import patient_with_database
from worker.staging.inputs import Inputs, Wanted, list_dataset, override_texts, plan
from worker.staging.known import Known
from worker.staging.transfer import fetch, retry_while_unavailable
from worker.staging.weights import check_weights
from worker.tracker import Tracker

_SPARE_BYTES = 256 * 1024 * 1024
_MAX_HEADER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Received:
    """One file as it lies in the job's folder; `path` is relative to it."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class WithheldImages:
    """Labelled images that the job's child never gets: `files` out of its reach; `given`, what lies in its
    folder in place of the whole set."""

    files: tuple[Path, ...]
    given: tuple[Received, ...]


@dataclass(frozen=True, kw_only=True)
class Staged:
    """What lies ready. `pins` name every object of a dataset with its digest (validate jobs).

    `checkpoint` and `datasets` say which rows of ours the files came from (see `Inputs`).
    """

    spec: JobSpec
    pins: list[dict[str, Any]]
    received: tuple[Received, ...] = ()
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[Mapping[str, Any], ...] = ()
    known: Known | None = None
    """Of customers' jobs: what their reports must say, read before any child could change it."""
    withheld: WithheldImages | None = None
    """See `worker.publishing.withholding`."""

    @property
    def judged(self) -> JudgedSpec | None:
        """What the child is told, of a job that ends with a verdict by limits."""
        return cast(JudgedSpec, self.spec) if KINDS[self.spec.kind].has_limits else None

    @property
    def most_weights_bytes(self) -> int:
        """Of the weights that a job may leave: its tensors are those of the one file of weights that came in,
        and the header of that file may be another's."""
        paths = {UPLOAD_PATH, f"{CHECKPOINT_PATH}/{WEIGHTS_NAME}"}
        return sum(one.size_bytes for one in self.received if one.path in paths) + _MAX_HEADER_BYTES


def stage(
    database: Database,
    store: ObjectStore,
    job: ClaimedJob,
    folder: Path,
    *,
    limits: DatasetSettings,
    save_every_s: float,
    max_ranks: MaxRanks,
    tracker: Tracker,
    check: Callable[[], None],
) -> Staged:
    """Fill `folder` for the child. Raises AttemptFailed, DomainError, StorageError, OSError, Stopped."""
    tracker.begin(JobPhase.STAGE)
    inputs, dataset, filename = patient_with_database(lambda: _planned(database, job), check)
    if dataset is not None:
        inputs = _listed(store, dataset, filename, limits, check)
    _check_room(folder, inputs.size_bytes * KINDS[job.kind].room_factor)
    pins = _fetch_all(store, inputs, folder, tracker, check)
    received = {
        file.path: Received(path=file.path, size_bytes=file.size_bytes, sha256=pin["sha256"])
        for file, pin in zip(inputs.files, pins, strict=True)
    }
    for path, text in inputs.texts.items():
        received[path] = _write_text(folder, path, text)
    spec = spec_of(job, inputs.facts, save_every_s, max_ranks)
    (folder / SPEC_NAME).write_bytes(SPEC_ADAPTER.dump_json(spec))
    for name in ("home", "tmp", "outputs"):
        (folder / name).mkdir(exist_ok=True)
    tracker.end(JobPhase.STAGE)
    return Staged(
        spec=spec,
        pins=pins,
        received=tuple(received.values()),
        checkpoint=inputs.checkpoint,
        datasets=inputs.datasets,
        known=_known(folder, inputs, job) if inputs.known else None,
    )


def origin_of(job: ClaimedJob, checkpoint: Mapping[str, Any]) -> Origin:
    """Names that people gave, or whoever is known instead."""
    requester = job.spec.get("requested_by") or {}
    by = " ".join(filter(None, (requester.get("key_name"), requester.get("key_id"))))
    return Origin(
        filename=checkpoint["filename"],
        source=checkpoint["source"] and parse(FetchedSource, checkpoint["source"]),
        job_id=job.id,
        job_name=job.name,
        project=requester.get("project") or job.project_id,
        requested_by=by or "not known",
    )


def _known(folder: Path, inputs: Inputs, job: ClaimedJob) -> Known:
    checkpoint = _checkpoint_input(inputs.known)
    anchor = inputs.known.get("anchor")
    names = inputs.known.get("class_names")
    return Known(
        checkpoint=checkpoint,
        config=_config(folder / CHECKPOINT_PATH),
        origin=origin_of(job, inputs.checkpoint),
        tensors=check_weights(folder / CHECKPOINT_PATH / WEIGHTS_NAME, checkpoint.architecture),
        class_names=None if names is None else tuple(names),
        num_labelled=inputs.known.get("num_labelled", 0),
        null=_null(folder),
        null_chosen=(job.spec.get("null") or {}).get("chosen"),
        anchor=None if anchor is None else _checkpoint_input(anchor),
        anchor_config={} if anchor is None else _config(folder / ANCHOR_PATH),
        num_skipped={
            one["role"]: one["num_skipped"] for one in inputs.datasets if one["num_skipped"] is not None
        },
        excluded={
            role: ExcludedSamples(num=one["num"], reason=one["reason"], list_sha256=one["list_sha256"])
            for role, one in (job.spec.get("exclude") or {}).items()
        },
    )


def _config(canonical: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_regular(canonical / CONFIG_NAME, MAX_CONFIG_BYTES))
    return found


def _checkpoint_input(known: Mapping[str, Any]) -> CheckpointInput:
    """Of one checkpoint, as reports have it."""
    found = parse(Inspection, known["inspection"])
    return CheckpointInput(
        upload_sha256=found.upload_sha256,
        weights_sha256=found.weights_sha256,
        layout=found.layout,
        architecture=found.architecture,
        num_parameters=found.num_parameters,
        declared=parse(DeclaredOptions, known["declared"]),
        findings=found.findings,
        scanners=found.scanners,
    )


def _null(folder: Path) -> NullSet | None:
    """Of a scan that has one, read before any child could change it."""
    path = folder / NULL_PATH
    if not path.exists():
        return None
    try:
        return load_null(read_regular(path, MAX_NULL_BYTES))
    except OptionsRejected as error:
        raise AttemptFailed(
            error.code, error.message, "Ask the operator to add the null again, and order the scan with it."
        ) from error


def _planned(database: Database, job: ClaimedJob) -> tuple[Inputs, Dataset | None, str | None]:
    """What the rows say; the file name of the upload that a dataset is made of, where it is of one."""
    with database.unit_of_work() as unit:
        inputs, dataset = plan(unit, job)
        if dataset is None or dataset.upload_id is None:
            return inputs, dataset, None
        return inputs, dataset, unit.uploads.get(job.project_id, dataset.upload_id).filename


def _write_text(folder: Path, path: str, text: str) -> Received:
    target, content = folder / path, text.encode("utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return Received(path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _listed(
    store: ObjectStore,
    dataset: Dataset,
    filename: str | None,
    limits: DatasetSettings,
    check: Callable[[], None],
) -> Inputs:
    files = retry_while_unavailable(lambda: list_dataset(store, dataset, filename, limits), check)
    return Inputs(
        files=tuple(files),
        texts=override_texts(dataset, path_of_role(dataset.kind.value)),
        facts={"data_kind": dataset.kind.value, "max_skipped_share": dataset.max_skipped_share},
    )


def _check_room(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes + _SPARE_BYTES:
        raise disk_full()


def _fetch_all(
    store: ObjectStore, inputs: Inputs, folder: Path, tracker: Tracker, check: Callable[[], None]
) -> list[dict[str, Any]]:
    total_bytes = max(1, inputs.size_bytes)
    done_bytes = 0
    pins = []
    for file in inputs.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        sha256 = _fetch(store, file, target, check)
        done_bytes += file.size_bytes
        tracker.advance(done_bytes / total_bytes, step=done_bytes, total_steps=total_bytes, message=None)
        pins.append(
            {
                "bucket": file.bucket,
                "key": file.key,
                "name": target.name,
                "size_bytes": file.size_bytes,
                "etag": file.etag,
                "sha256": sha256,
            }
        )
    return pins


def _fetch(store: ObjectStore, file: Wanted, target: Path, check: Callable[[], None]) -> str:
    source = store if file.bucket is None else store.in_bucket(file.bucket)
    got = fetch(source, file.key, target, check, sha256=file.sha256, size_bytes=file.size_bytes)
    if got is not None:
        return got.sha256
    raise AttemptFailed(
        "input_changed",
        f"The bytes of {target.name} are not those that were checked before.",
        "Register the dataset again, or upload the checkpoint again, and create a new job.",
    )


def ordered_as(staged: Staged, folder: Path, spec: JobSpec) -> Staged:
    """The same inputs under another order: in `folder`, which the child reads, as in what is returned."""
    (folder / SPEC_NAME).write_bytes(SPEC_ADAPTER.dump_json(spec))
    return replace(staged, spec=spec)


def spec_of(job: ClaimedJob, facts: Any, save_every_s: float, max_ranks: MaxRanks) -> JobSpec:
    """The child's order. Only what the library knows: no id, no place, no credential."""
    ours = {"kind": job.kind.value, "seed": job.seed, "save_every_s": save_every_s, "max_ranks": max_ranks}
    known = {name: value for name, value in job.spec.items() if value is not None} | ours | dict(facts)
    names = KINDS[job.kind].spec_fields & known.keys()
    return SPEC_ADAPTER.validate_python({name: known[name] for name in names})
