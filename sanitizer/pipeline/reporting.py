"""Gathers what a report says beside the figures: machine, inputs, samples left out. Measures nothing."""

from collections.abc import Sequence

import torch

from cleanclip.vocabulary.cautions import TrainedClasses
from cleanclip.vocabulary.recipe import AuditPrecision, DeclaredOptions, parse
from cleanclip.vocabulary.report_inputs import CheckpointInput, DataInput, Environment, ScannerEvidence
from sanitizer.audits.audit import AuditResult
from sanitizer.checkpoints.limits import num_parameters
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pairs import PairDataset
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.pipeline.opening import ForAudit
from sanitizer.software import hardware, machine, software


def environment(device: torch.device, precision: AuditPrecision, num_processes: int = 1) -> Environment:
    """This machine and the versions that decide figures."""
    return Environment(
        **software(),
        torch=torch.__version__,
        device=hardware(torch.cuda.get_device_name(device) if device.type == "cuda" else device.type),
        machine=machine(),
        num_threads=torch.get_num_threads(),
        precision=precision,
        num_processes=num_processes,
    )


def checkpoint_input(checkpoint: LoadedCheckpoint, upload_sha256: str | None) -> CheckpointInput:
    """What came in. A digest given by the caller wins over the one in the checkpoint's own record."""
    origin = checkpoint.provenance
    return CheckpointInput(
        upload_sha256=upload_sha256 or origin.get("upload_sha256"),
        weights_sha256=checkpoint.weights_sha256,
        layout=origin.get("layout", "open_clip"),
        architecture=checkpoint.architecture.to_config(),
        num_parameters=num_parameters(
            (name, tuple(tensor.shape)) for name, tensor in checkpoint.model.state_dict().items()
        ),
        declared=parse(DeclaredOptions, origin.get("declared", {})),
        findings=tuple(origin.get("findings", ())),
        scanners=tuple(parse(ScannerEvidence, evidence) for evidence in origin.get("scanners", ())),
    )


def training_input(
    data: PairDataset | LabelsAsCaptions,
    num_skipped: int,
    skipped_examples: Sequence[str],
    class_names: Sequence[str],
) -> DataInput:
    """What the model was trained on. `num_samples` counts all, the skipped included; `class_names` are the
    audit's."""
    labelled = data.labelled if isinstance(data, LabelsAsCaptions) else None
    return DataInput(
        kind="pairs" if labelled is None else "training",
        num_classes=None if labelled is None else len(labelled.class_names),
        num_missing=None
        if labelled is None
        else TrainedClasses.of(labelled.class_names, class_names).num_missing,
        sha256=data.files_sha256,
        num_samples=len(data),
        num_skipped=num_skipped,
        skipped_examples=tuple(skipped_examples),
        excluded=data.excluded,
    )


def measured_inputs(given: ForAudit, result: AuditResult) -> tuple[DataInput, ...]:
    """What the model was measured on. `num_samples` counts all, the skipped included."""
    labelled = DataInput(
        kind="labelled",
        sha256=given.labelled.files_sha256,
        num_samples=len(given.labelled),
        num_skipped=result.num_skipped,
        num_classes=len(given.labelled.class_names),
        skipped_examples=result.skipped_examples,
        excluded=given.labelled.excluded,
    )
    if given.retrieval is None or result.retrieval is None:
        return (labelled,)
    retrieval = DataInput(
        kind="retrieval",
        sha256=given.retrieval.files_sha256,
        num_samples=len(given.retrieval),
        num_skipped=result.retrieval.num_skipped,
        skipped_examples=result.retrieval.skipped_examples,
        excluded=given.retrieval.excluded,
    )
    return labelled, retrieval
