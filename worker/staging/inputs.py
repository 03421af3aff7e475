"""Which files a job needs and where each goes: rows and references, read once, as a plain plan of downloads.

Knows the database and lists the object store; moves no bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from app.db.models.assets import Dataset
from app.db.repositories.attempt_values import ClaimedJob
from app.db.unit_of_work import UnitOfWork
from app.domain.dataset_references import (
    SIDE_FILES,
    check_allowed,
    no_shards,
    parse_reference,
    too_many_shards,
)
from app.domain.object_keys import is_safe_name, upload_key
from app.domain.states import CheckpointState, DatasetKind, DatasetState
from app.settings import DatasetSettings
from app.storage.port import ObjectStore, checked_key
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import SUSPECT
from cleanclip.vocabulary.jobspec import (
    BESIDE_PATH,
    CHECKPOINT_PATH,
    CLASS_NAMES_NAME,
    CONFIG_NAME,
    NULL_PATH,
    TEMPLATES_NAME,
    UPLOAD_PATH,
    WEIGHTS_NAME,
    exclude_path,
    path_of_role,
)
from cleanclip.vocabulary.report_inputs import FetchedSource
from cleanclip.vocabulary.vet_report import EXCLUDED_NAME
from worker.failures import AttemptFailed, input_missing

_OF_SOURCE = tuple(FetchedSource.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One object to download: to `path` in the job's folder, of exactly these bytes where that is known."""

    bucket: str | None
    """None: the service's own bucket."""
    key: str
    path: str
    size_bytes: int
    sha256: str | None = None
    etag: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What to stage. `texts` are small files that the service writes itself, over what was downloaded."""

    files: tuple[Wanted, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the job's spec needs of the rows: filename, declared options, digest, kind of data, what else
    there is (retrieval set, null, trusted samples, anchor, base, lists of samples to leave out)."""
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    """Of customers' jobs: which upload the canonical files were made from, for the statement."""
    datasets: tuple[Mapping[str, Any], ...] = ()
    """Likewise: which datasets, and as what they are used."""
    known: Mapping[str, Any] = field(default_factory=dict)
    """Likewise: what the inspection of the checkpoint and the validation of the labelled set found."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def plan(unit: UnitOfWork, job: ClaimedJob) -> tuple[Inputs, Dataset | None]:
    """The inputs of a job, from its rows. For a validate job the dataset, whose files are yet to be listed.

    Raises NotFound, AttemptFailed.
    """
    kind = KINDS[job.kind]
    if kind.reads_upload:
        return _upload_to_inspect(unit, job), None
    if not kind.is_public:
        return Inputs(files=()), unit.datasets.get(job.project_id, str(job.dataset_id))
    files, checkpoint, found = _canonical_checkpoint(unit, job, str(job.checkpoint_id), CHECKPOINT_PATH)
    facts: dict[str, Any] = {"upload_sha256": checkpoint["upload"]["digest"]["sha256"]}
    texts: dict[str, str] = {}
    datasets = []
    for one in kind.inputs:
        its_id = job.inputs.get(one.column)
        if one.fact is not None:
            facts[one.fact] = its_id is not None
        if its_id is None or one is SUSPECT:
            continue
        if one.folder is not None:
            of_anchor, _, found["anchor"] = _canonical_checkpoint(unit, job, its_id, one.folder)
            files += of_anchor
            continue
        dataset = unit.datasets.get(job.project_id, its_id)
        role = one.roles[dataset.kind]
        facts.setdefault("data_kind", role)
        files += _pinned(dataset, path_of_role(role))
        texts |= override_texts(dataset, path_of_role(role))
        most = None if one.most is None else job.spec[kind.option_part][one.most]
        datasets.append(describe_dataset(dataset, role, job.spec, most))
        if role == "labelled":
            found |= _known_of(dataset, job.spec)
    exclude = _lists(unit, job)
    nulls = _null(unit, job) if "has_null" in kind.spec_fields else []
    files += [*exclude, *nulls]
    inputs = Inputs(
        files=tuple(files),
        texts=texts,
        facts=facts
        | {"has_null": bool(nulls), "exclude": tuple(PurePosixPath(one.path).stem for one in exclude)},
        checkpoint=checkpoint,
        datasets=tuple(datasets),
        known=found,
    )
    return inputs, None


def _known_of(labelled: Dataset, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of labelled images apart from any child."""
    summary = labelled.summary or {}
    num_readable = summary.get("num_samples", 0) - _num_excluded("labelled", spec)
    is_most = num_readable >= summary.get("num_skipped", 0)
    return {
        "class_names": summary.get("class_names"),
        "num_labelled": num_readable if is_most else 0,
    }


def _num_excluded(role: str, spec: Mapping[str, Any]) -> int:
    num: int = ((spec.get("exclude") or {}).get(role) or {"num": 0})["num"]
    return num


def _lists(unit: UnitOfWork, job: ClaimedJob) -> list[Wanted]:
    """Lists of samples to leave out, each as it was when the job was ordered."""
    wanted = []
    for role, chosen in (job.spec.get("exclude") or {}).items():
        found = unit.artifacts.named(job.project_id, chosen["job_id"], EXCLUDED_NAME)
        if found is None:
            raise input_missing("list of samples to leave out")
        wanted.append(
            Wanted(
                bucket=None,
                key=found.object_key,
                path=exclude_path(role),
                size_bytes=found.size_bytes,
                sha256=chosen["list_sha256"],
            )
        )
    return wanted


def _upload_to_inspect(unit: UnitOfWork, job: ClaimedJob) -> Inputs:
    checkpoint = unit.checkpoints.get(job.project_id, str(job.checkpoint_id))
    upload = unit.uploads.get(job.project_id, checkpoint.upload_id)
    if checkpoint.upload_object_key is None:
        raise input_missing("checkpoint")
    key = upload_key(job.project_id, checkpoint.upload_id)
    wanted = Wanted(bucket=None, key=key, path=UPLOAD_PATH, size_bytes=checkpoint.size_bytes)
    facts = {
        "filename": checkpoint.filename,
        "declared": checkpoint.declared,
        "expected_sha256": upload.declared_sha256,
    }
    texts = (checkpoint.source or {}).get("configurations", {})
    return Inputs(
        files=(wanted,), facts=facts, texts={f"{BESIDE_PATH}/{name}": text for name, text in texts.items()}
    )


def _canonical_checkpoint(
    unit: UnitOfWork, job: ClaimedJob, checkpoint_id: str, folder: str
) -> tuple[list[Wanted], dict[str, Any], dict[str, Any]]:
    """Its files, what the statement says of it, and what else is known of it."""
    checkpoint = unit.checkpoints.get(job.project_id, checkpoint_id)
    if checkpoint.state is not CheckpointState.ACCEPTED or checkpoint.inspect_job_id is None:
        raise input_missing("checkpoint")
    artifacts = {a.name: a for a in unit.artifacts.of_job(job.project_id, checkpoint.inspect_job_id)}
    if not {WEIGHTS_NAME, CONFIG_NAME} <= artifacts.keys():
        raise input_missing("checkpoint")
    files = [
        Wanted(
            bucket=None,
            key=artifacts[name].object_key,
            path=f"{folder}/{name}",
            size_bytes=artifacts[name].size_bytes,
            sha256=artifacts[name].sha256,
        )
        for name in (WEIGHTS_NAME, CONFIG_NAME)
    ]
    upload = {"size_bytes": checkpoint.size_bytes, "digest": {"sha256": checkpoint.sha256}}
    found = {"inspection": checkpoint.inspection, "declared": checkpoint.declared}
    of_upload = {
        "id": checkpoint.id,
        "filename": checkpoint.filename,
        "source": checkpoint.source and {name: checkpoint.source.get(name) for name in _OF_SOURCE},
        "upload": upload,
        "converted_again": (checkpoint.inspection or {}).get("converted_again", False),
    }
    return files, of_upload, found


def _null(unit: UnitOfWork, job: ClaimedJob) -> list[Wanted]:
    """The null that was chosen when the scan was ordered, where one was."""
    chosen = job.spec.get("null")
    if chosen is None:
        return []
    row = unit.nulls.find_by_id(chosen["id"])
    if row is None:
        raise AttemptFailed(
            "null_removed",
            f"The null '{chosen['name']}', which the scan was ordered to be judged by, was removed.",
            "Order the scan again: with another null, or with none.",
        )
    return [
        Wanted(bucket=None, key=row.object_key, path=NULL_PATH, size_bytes=row.size_bytes, sha256=row.sha256)
    ]


def _pinned(dataset: Dataset, folder: str) -> list[Wanted]:
    if dataset.state is not DatasetState.READY or not dataset.files:
        raise input_missing("dataset")
    return [
        Wanted(
            bucket=file["bucket"],
            key=file["key"],
            path=f"{folder}/{file['name']}",
            size_bytes=file["size_bytes"],
            sha256=file["sha256"],
        )
        for file in dataset.files
    ]


def describe_dataset(
    dataset: Dataset, role: str, spec: Mapping[str, Any], most: int | None = None
) -> dict[str, Any]:
    """`num_samples` are all that are used, at `most` so many, as reports count them; the set's own summary
    counts the good ones."""
    summary = dataset.summary or {}
    num_samples = None
    if summary:
        num_samples = summary["num_samples"] + summary["num_skipped"] - _num_excluded(role, spec)
        num_samples = num_samples if most is None else min(num_samples, most)
    return {
        "role": role,
        "id": dataset.id,
        "reference": dataset.uri or dataset.upload_id,
        "num_samples": num_samples,
        "num_skipped": summary["num_skipped"] if summary else None,
    }


def override_texts(dataset: Dataset, folder: str) -> dict[str, str]:
    """Class names and templates that were given with the dataset, as the files the library reads."""
    texts = {}
    for name, lines in ((CLASS_NAMES_NAME, dataset.class_names), (TEMPLATES_NAME, dataset.templates)):
        if lines:
            if any("\n" in line or "\r" in line for line in lines):
                raise AttemptFailed(
                    "line_break_in_name",
                    "A class name or template holds a line break.",
                    "Register the dataset again with one-line names and templates.",
                )
            texts[f"{folder}/{name}"] = "".join(f"{line}\n" for line in lines)
    return texts


def list_dataset(
    store: ObjectStore, dataset: Dataset, filename: str | None, limits: DatasetSettings
) -> list[Wanted]:
    """The files that a dataset consists of now; `filename` is that of the upload, where it is made of one.

    Raises AttemptFailed, InvalidInput, StorageError.
    """
    folder = path_of_role(dataset.kind.value)
    if filename is not None:
        found = store.head(upload_key(dataset.project_id, str(dataset.upload_id)))
        name = filename if is_safe_name(filename) else "data.tar"
        return [
            Wanted(
                bucket=None,
                key=found.key,
                path=f"{folder}/{name}",
                size_bytes=found.size_bytes,
                etag=found.etag,
            )
        ]
    reference = parse_reference(str(dataset.uri), max_files=limits.max_num_shards)
    check_allowed(reference, limits.allowed_prefixes, project_id=dataset.project_id, own_bucket=store.bucket)
    is_labelled = dataset.kind is DatasetKind.LABELLED
    found_keys: list[Wanted] = []
    for item in store.in_bucket(reference.bucket).list_prefix(reference.prefix):
        if reference.holds(item.key, is_labelled=is_labelled):
            _check_key(item.key)
            found_keys.append(
                Wanted(
                    bucket=reference.bucket,
                    key=item.key,
                    path=f"{folder}/{_local_name(item.key.removeprefix(reference.prefix), len(found_keys))}",
                    size_bytes=item.size_bytes,
                    etag=item.etag,
                )
            )
            _check_sizes(found_keys, limits)
    _check_complete(found_keys, reference.keys)
    return found_keys


def _local_name(name: str, index: int) -> str:
    """A plain file name: the object's own where it is one, else by its place in the list."""
    if is_safe_name(name):
        return name
    return f"shard-{index:06d}{PurePosixPath(name).suffix if name not in SIDE_FILES else ''}"


def _check_key(key: str) -> None:
    try:
        checked_key(key)
    except ValueError as error:
        raise AttemptFailed(
            "dataset_name_unusable",
            "The name of one of the dataset's objects cannot be used.",
            "Rename the shards to plain letters, digits, dots, dashes and underscores.",
        ) from error


def _check_sizes(files: Sequence[Wanted], limits: DatasetSettings) -> None:
    if len(files) > limits.max_num_shards:
        raise too_many_shards(len(files), limits.max_num_shards)
    if sum(file.size_bytes for file in files) > limits.max_size_bytes:
        raise AttemptFailed(
            "dataset_too_large",
            f"The dataset has more than {limits.max_size_bytes} bytes.",
            "Use fewer samples or smaller images.",
        )


def _check_complete(wanted: Sequence[Wanted], keys: Sequence[str] | None) -> None:
    if not any(file.key.endswith(".tar") for file in wanted):
        raise no_shards()
    missing = sorted(set(keys or ()) - {file.key for file in wanted})
    if missing:
        raise AttemptFailed(
            "dataset_shard_missing",
            f"{len(missing)} shards that the reference names are not there; the first is {missing[0]!r}.",
            "Check the numbers in braces, or upload the missing shards.",
        )
