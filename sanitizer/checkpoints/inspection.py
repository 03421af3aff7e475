"""An upload in, three files out: canonical weights, configuration, findings. The gate of the service."""

from dataclasses import asdict, replace
from pathlib import Path

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import INSPECTION_ADAPTER, INSPECTION_NAME, WEIGHTS_NAME, Inspection
from cleanclip.vocabulary.recipe import DeclaredOptions, to_json
from cleanclip.vocabulary.report_inputs import ScannerEvidence
from sanitizer.checkpoints.comparison import compare
from sanitizer.checkpoints.digests import check_digest, files_of, upload_sha256
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.model_folders import find_weights
from sanitizer.checkpoints.one_format import check_is_one_format
from sanitizer.checkpoints.reading import ReadCheckpoint, read_upload
from sanitizer.checkpoints.rejection import excerpt
from sanitizer.checkpoints.scanners import scan
from sanitizer.checkpoints.writing import write_config, write_weights


def inspect_upload(
    path: Path,
    out_dir: Path,
    *,
    declared: DeclaredOptions,
    filename: str,
    beside: Path | None = None,
    expected_sha256: str | None = None,
    scanner_time_limit_s: float = 0.0,
) -> Inspection:
    """Read `path`, write model.safetensors, config.json and inspection.json into `out_dir`.

    Raises CheckpointRejected: 'digest_mismatch', and everything that `read_upload` raises; nothing is written
    then.
    """
    digest = check_digest(path, expected_sha256) or upload_sha256(path)
    size_bytes = sum(file.stat().st_size for file in files_of(path))
    read = read_upload(path, declared=declared, filename=filename, beside=beside)
    weights_sha256, compared = _write_weights(path, out_dir, read, scanner_time_limit_s)
    read = replace(read, findings=(*read.findings, *compared))
    # Last, when the upload is not read any more: they are others' programs, with the child's rights.
    scanners = _scanned(path, read, scanner_time_limit_s)
    provenance = {
        "layout": read.layout,
        "filename": excerpt(filename, 200),
        "upload_sha256": digest,
        "upload_size_bytes": size_bytes,
        "declared": to_json(declared),
        "assumed": read.assumed,
        "configured": list(read.configured),
        "findings": list(read.findings),
        "scanners": [asdict(evidence) for evidence in scanners],
        "dtype": read.dtype,
        "upload": read.upload.to_json(),
    }
    write_config(out_dir, read.tensors, read.architecture, provenance, weights_sha256)
    inspection = _inspection(read, digest, size_bytes, weights_sha256, scanners)
    (out_dir / INSPECTION_NAME).write_bytes(INSPECTION_ADAPTER.dump_json(inspection, indent=2))
    return inspection


def _write_weights(
    path: Path, out_dir: Path, read: ReadCheckpoint, time_limit_s: float
) -> tuple[str, tuple[str, ...]]:
    """(SHA-256, findings). Two refusals can only be found when the weights are written; nothing is left then.

    Our own order of tensors can put at the end what lay elsewhere; and other readers, like the scanners, look
    at the upload when we do not read it any more.
    """
    is_new = not out_dir.exists()
    digest = write_weights(out_dir, read.tensors, read.architecture)
    try:
        check_is_one_format(MappedFile(out_dir / WEIGHTS_NAME), "safetensors")
        file = find_weights(path) if path.is_dir() else path
        return digest, compare(file, read.upload, time_limit_s)
    except CheckpointRejected:
        (out_dir / WEIGHTS_NAME).unlink()
        if is_new:
            out_dir.rmdir()
        raise


def _scanned(path: Path, read: ReadCheckpoint, time_limit_s: float) -> tuple[ScannerEvidence, ...]:
    if not path.is_file():
        return ()
    return scan(path, is_pickle=read.upload.container != "safetensors", time_limit_s=time_limit_s)


def _inspection(
    read: ReadCheckpoint,
    digest: str,
    size_bytes: int,
    weights_sha256: str,
    scanners: tuple[ScannerEvidence, ...],
) -> Inspection:
    return Inspection(
        upload_sha256=digest,
        size_bytes=size_bytes,
        weights_sha256=weights_sha256,
        layout=read.layout,
        architecture=read.architecture.to_config(),
        architecture_name=read.architecture.name,
        num_parameters=read.num_parameters,
        dtype=read.dtype,
        assumed=read.assumed,
        findings=read.findings,
        scanners=scanners,
    )
