"""Weights out: the canonical pair of files, and back to the layout that came in. Never writes code.

Canonical is `model.safetensors` with open_clip's names and every tensor in the dtype it is given, and
`config.json` in the form of open_clip's hub configuration, with one more section, "checkpoint", for where
the weights came from. open_clip reads the folder with `create_model("local-dir:FOLDER")` once config.json is
copied to `open_clip_config.json`, the one name that it looks for; weights are found as they are.
"""

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import CONFIG_NAME, WEIGHTS_NAME
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.origins import Upload
from sanitizer.checkpoints.provenance import dtype_summary, uploaded_tensor
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.safetensors_file import write_safetensors
from sanitizer.checkpoints.shapes import expected_shapes
from sanitizer.checkpoints.tensors import described
from sanitizer.whole_files import write_whole


@dataclass(frozen=True, kw_only=True)
class WrittenUpload:
    """A file in the layout that came in, and sentences on what could not be as it was."""

    filename: str
    findings: tuple[str, ...]


def write_canonical(
    folder: Path, tensors: Mapping[str, Tensor], architecture: Architecture, provenance: Mapping[str, Any]
) -> str:
    """Write model.safetensors and config.json into `folder`; returns the SHA-256 of the weights file.

    `tensors` must be exactly the state dict of `architecture` (open_clip's names, any allowed dtype);
    CheckpointRejected 'architecture_mismatch' otherwise. `provenance` is stored as it is, and the digest.
    """
    digest = write_weights(folder, tensors, architecture)
    write_config(folder, tensors, architecture, provenance, digest)
    return digest


def write_weights(folder: Path, tensors: Mapping[str, Tensor], architecture: Architecture) -> str:
    """The first half of `write_canonical`: model.safetensors, and its SHA-256."""
    check_state_dict({name: shape for name, (_, shape) in described(tensors).items()}, architecture)
    folder.mkdir(parents=True, exist_ok=True)
    return write_safetensors(folder / WEIGHTS_NAME, tensors, {"format": "pt"})


def write_config(
    folder: Path,
    tensors: Mapping[str, Tensor],
    architecture: Architecture,
    provenance: Mapping[str, Any],
    digest: str,
) -> None:
    """The second half: config.json, for weights with this SHA-256."""
    shapes = described(tensors)
    section = {
        **provenance,
        "weights_sha256": digest,
        "weights_dtype": dtype_summary([dtype for dtype, _ in shapes.values()]),
    }
    config = {**architecture.to_config(), "checkpoint": section}
    write_whole(folder / CONFIG_NAME, json.dumps(config, indent=2, allow_nan=False) + "\n")


def check_state_dict(shapes: Mapping[str, tuple[int, ...]], architecture: Architecture) -> None:
    """Raises CheckpointRejected 'architecture_mismatch' unless keys and shapes are exactly the model's."""
    expected = expected_shapes(architecture)
    problem, where = "", ""
    for name in expected.keys() - shapes.keys():
        problem, where = f"'{name}' is missing", name
    for name in shapes.keys() - expected.keys():
        problem, where = f"'{name}' does not belong to it", name
    for name in expected.keys() & shapes.keys():
        if expected[name] != shapes[name]:
            problem = f"'{name}' has shape {list(shapes[name])} where {list(expected[name])} is needed"
            where = name
    if problem:
        raise mismatch(architecture, problem, where)


def mismatch(architecture: Architecture, problem: str, where: str | None = None) -> CheckpointRejected:
    return refusal(
        "architecture_mismatch",
        f"The tensors look like {architecture.name}, but {problem}.",
        "Upload the complete, unmodified state dict of one CLIP model.",
        where=where,
    )


def write_as_uploaded(
    folder: Path, tensors: Mapping[str, Tensor], provenance: Mapping[str, Any]
) -> WrittenUpload:
    """Write canonical `tensors` back in the layout recorded in `provenance`, as `folder`/as_uploaded.*.

    Keys, prefix, order, shapes and dtypes are the upload's. Raises CheckpointRejected 'does_not_fit_dtype'
    if a value overflows, 'provenance_missing' if the weights did not come from an upload.
    """
    if "upload" not in provenance:
        raise refusal(
            "provenance_missing",
            "These weights carry no record of an uploaded layout.",
            "Ask for the open_clip layout.",
        )
    upload = Upload.from_json(provenance["upload"])
    folder.mkdir(parents=True, exist_ok=True)
    state = OrderedDict((upload.prefix + o.name, uploaded_tensor(tensors, o)) for o in upload.origins)
    if upload.container == "safetensors":
        write_safetensors(folder / "as_uploaded.safetensors", state, {"format": "pt"})
        return WrittenUpload(filename="as_uploaded.safetensors", findings=())
    content: Any = state
    findings: tuple[str, ...] = ()
    if upload.container == "torchscript":
        findings = (phrases.NO_CODE(),)
    if upload.weights_key is not None:
        content = {**(upload.extras or {}), upload.weights_key: state}
        findings = (phrases.NO_TRAINING_STATE(),)
        findings += (phrases.EXTRAS(names=upload.extras),) if upload.extras else ()
    filename = "as_uploaded.bin" if upload.layout == "huggingface" else "as_uploaded.pt"
    partial = folder / "as_uploaded.partial"
    torch.save(content, partial)
    os.replace(partial, folder / filename)
    return WrittenUpload(filename=filename, findings=findings)
