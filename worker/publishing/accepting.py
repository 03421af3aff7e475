"""Checks what a child says of a checkpoint or of a dataset, before it becomes a row that others rely on.

Digests and sizes must be those that we computed ourselves. The weights must be those of the architecture that
the inspection names, and what stands beside them is written by us.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from app.db.repositories.attempt_values import CheckpointAccepted, DatasetReady
from app.domain.dataset_references import SAMPLES_NAME, SIDE_FILES
from cleanclip.evidence.statement import dataset_sha256
from cleanclip.vocabulary.jobspec import (
    CONFIG_NAME,
    DATASET_ADAPTER,
    DATASET_NAME,
    DRAWN_NAME,
    INSPECTION_ADAPTER,
    INSPECTION_NAME,
    WEIGHTS_NAME,
    DatasetSummary,
    Inspection,
    InspectSpec,
    ValidateSpec,
)
from cleanclip.vocabulary.recipe import to_json
from sanitizer.checkpoints.origins import Upload
from sanitizer.checkpoints.rejection import excerpt
from worker.failures import outputs_rejected
from worker.publishing.checking import config_bytes, read_json
from worker.publishing.converting import convert_again
from worker.publishing.ending import Ending, Publication
from worker.publishing.sample_images import draw_samples
from worker.staging.weights import check_weights, dtype_summary, num_parameters, read_architecture

_LIKE_INSPECTION = ("layout", "upload_sha256", "assumed", "findings", "scanners", "dtype", "weights_sha256")
_ALSO_IN_CONFIG = {"filename", "upload_size_bytes", "declared", "configured", "upload", "weights_dtype"}


def check_inspection(raw: bytes, upload: Mapping[str, Any], weights: Path, weights_sha256: str) -> Inspection:
    """inspection.json, held against the upload as we saw it and the weights as they lie there.

    Raises AttemptFailed.
    """
    inspection = read_json(INSPECTION_NAME, raw, INSPECTION_ADAPTER.validate_json)
    ours = (upload["sha256"], upload["size_bytes"], weights_sha256)
    if (inspection.upload_sha256, inspection.size_bytes, inspection.weights_sha256) != ours:
        raise outputs_rejected("its inspection speaks of other bytes than it was given and left")
    tensors = check_weights(weights, inspection.architecture)
    architecture = read_architecture(inspection.architecture)
    reported = (inspection.architecture_name, inspection.num_parameters, inspection.dtype)
    if reported != (architecture.name, num_parameters(tensors), dtype_summary(tensors)):
        raise outputs_rejected("its inspection does not describe the weights that it left")
    return inspection


def check_config(
    raw: bytes, spec: InspectSpec, inspection: Inspection, *, lies_beside: bool = False
) -> bytes:
    """config.json beside canonical weights, written by us. Raises AttemptFailed.

    `lies_beside`: whether configurations were fetched with the file. Left to believe is what they say, which
    the second conversion reads again, and what the upload's own names were. A fresh child that gives weights
    back under them reads its own file again and compares (`sanitizer.pipeline.cleaned.give_back`).
    """
    config = read_json(CONFIG_NAME, raw, json.loads)
    reported = INSPECTION_ADAPTER.dump_python(inspection, mode="json")
    section = config.get("checkpoint") if isinstance(config, dict) else None
    if not isinstance(section, dict) or section.keys() != _ALSO_IN_CONFIG.union(_LIKE_INSPECTION):
        raise outputs_rejected(f"its {CONFIG_NAME} does not have the parts that it should")
    expected = {name: reported[name] for name in _LIKE_INSPECTION} | {
        "filename": excerpt(spec.filename, 200),
        "upload_size_bytes": inspection.size_bytes,
        "declared": to_json(spec.declared),
        "configured": section["configured"] if lies_beside else [],
        "weights_dtype": inspection.dtype,
    }
    if {name: section[name] for name in expected} != expected:
        raise outputs_rejected(f"its {CONFIG_NAME} does not say what its inspection says")
    open_options = {name for name, value in to_json(spec.declared).items() if value is None}
    configured = section["configured"]
    if not isinstance(configured, list) or not all(one in open_options for one in map(str, configured)):
        raise outputs_rejected(f"its {CONFIG_NAME} names settings that no configuration decides")
    _check_upload(section["upload"], inspection)
    if config != {**inspection.architecture, "checkpoint": section}:
        raise outputs_rejected(f"its {CONFIG_NAME} is of another architecture than its inspection")
    return config_bytes(config)


def _check_upload(claimed: Any, inspection: Inspection) -> None:
    try:
        upload = Upload.from_json(claimed)
    except ValueError as error:
        raise outputs_rejected(f"its {CONFIG_NAME} does not say how the upload was packed") from error
    if upload.layout != inspection.layout:
        raise outputs_rejected(f"its {CONFIG_NAME} has another layout than its inspection")


def check_dataset(raw: bytes, spec: ValidateSpec, files: Mapping[str, str]) -> DatasetSummary:
    """dataset.json, held against the files as we saw them: name → SHA-256. Raises AttemptFailed."""
    summary = read_json(DATASET_NAME, raw, DATASET_ADAPTER.validate_json)
    num_shards = len(files.keys() - SIDE_FILES)
    if (summary.kind, summary.num_shards) != (spec.data_kind, num_shards):
        raise outputs_rejected(f"its {DATASET_NAME} is of another kind of data, or of other shards")
    if summary.sha256 != dataset_sha256(spec.data_kind, files):
        raise outputs_rejected(f"its {DATASET_NAME} has another digest than the files that it was given")
    _check_counts(summary, spec.max_skipped_share)
    return summary


def _check_counts(summary: DatasetSummary, max_skipped_share: float) -> None:
    num_all = summary.num_samples + summary.num_skipped
    counts = (summary.num_samples, summary.num_skipped, *summary.skipped_reasons.values())
    is_counted = min(counts) >= 0 and sum(summary.skipped_reasons.values()) == summary.num_skipped
    if not is_counted or summary.num_skipped > max_skipped_share * num_all:
        raise outputs_rejected(f"its {DATASET_NAME} skips more samples than it may, or counts them wrong")
    per_class = summary.images_per_class
    if (summary.kind == "labelled") != (per_class is not None and summary.class_names is not None):
        raise outputs_rejected(
            f"its {DATASET_NAME} has classes but should have none, or has none but should have some"
        )
    if per_class is None or summary.class_names is None:
        return
    is_sound = len(per_class) == len(summary.class_names) and min(per_class, default=0) >= 0
    if not is_sound or sum(per_class) != summary.num_samples:
        raise outputs_rejected(f"its {DATASET_NAME} does not count each image in one class")


def end_inspection(work: Publication) -> Ending:
    """What an inspection says about its checkpoint; its files are written by us. Raises AttemptFailed,
    Stopped."""
    packing, spec = work.packing, work.spec(InspectSpec)
    (upload,) = work.staged.pins
    weights_sha256 = packing.sha256[WEIGHTS_NAME]
    raw = packing.path(INSPECTION_NAME).read_bytes()
    inspection = check_inspection(raw, upload, packing.path(WEIGHTS_NAME), weights_sha256)
    lies_beside = len(work.staged.received) > 1
    config = check_config(packing.path(CONFIG_NAME).read_bytes(), spec, inspection, lies_beside=lies_beside)
    convert_again(
        spec,
        work.staged,
        work.fresh,
        weights_sha256=weights_sha256,
        config=config,
        inputs=work.inputs,
        check=work.check,
    )
    inspection = replace(inspection, converted_again=True)
    packing.add(CONFIG_NAME, config)
    packing.add(INSPECTION_NAME, INSPECTION_ADAPTER.dump_json(inspection, indent=2))
    return Ending(
        effect=CheckpointAccepted(
            sha256=upload["sha256"],
            canonical_prefix=work.prefix,
            weights_sha256=weights_sha256,
            inspection=INSPECTION_ADAPTER.dump_python(inspection, mode="json"),
        )
    )


def end_validation(work: Publication) -> Ending:
    """What a validation says about its dataset. Raises AttemptFailed."""
    packing, staged = work.packing, work.staged
    files = {PurePosixPath(one.path).name: one.sha256 for one in staged.received}
    summary = check_dataset(packing.path(DATASET_NAME).read_bytes(), work.spec(ValidateSpec), files)
    packing.add(DATASET_NAME, DATASET_ADAPTER.dump_json(summary, indent=2))
    try:
        samples = draw_samples(packing.path(DRAWN_NAME).read_bytes())
    except (ValueError, ValidationError) as error:
        raise outputs_rejected(f"its {DRAWN_NAME} holds no samples that can be shown") from error
    packing.drop(DRAWN_NAME)
    packing.add(SAMPLES_NAME, samples)
    summed_up = DATASET_ADAPTER.dump_python(summary, mode="json")
    return Ending(effect=DatasetReady(files=staged.pins, summary=summed_up))
