"""Writes cleaned weights as the input was: each tensor in its dtype, and in the uploaded layout if asked."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected, TrainingDiverged
from cleanclip.vocabulary.jobspec import AS_UPLOADED, CONFIG_NAME, WEIGHTS_NAME
from cleanclip.vocabulary.recipe import DeclaredOptions, OutputLayout, Recipe, parse, to_json
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.checkpoints.reading import read_upload
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.safetensors_file import open_safetensors
from sanitizer.checkpoints.tensors import LazyTensors, described
from sanitizer.checkpoints.writing import write_as_uploaded, write_canonical


def write_cleaned(
    out_dir: Path,
    checkpoint: LoadedCheckpoint,
    original_folder: Path,
    *,
    recipe: Recipe,
    seed: int,
    output_layout: OutputLayout,
) -> tuple[str, ...]:
    """Write the trained weights of `checkpoint`, which was loaded from `original_folder`, into `out_dir`.

    Returns sentences on what could not be as it was. Raises TrainingDiverged if a value does not fit the
    dtype that it came in.
    """
    tensors = _in_dtypes_of(original_folder / WEIGHTS_NAME, checkpoint.model.state_dict())
    provenance = {
        **checkpoint.provenance,
        "cleaned": {
            "recipe": to_json(recipe),
            "seed": seed,
            "from_weights_sha256": checkpoint.weights_sha256,
        },
    }
    write_canonical(out_dir, tensors, checkpoint.architecture, provenance)
    return () if output_layout == "open_clip" else _write_back(out_dir, tensors, provenance)


def _write_back(out_dir: Path, tensors: dict[str, Tensor], provenance: dict[str, Any]) -> tuple[str, ...]:
    """The second form of weights that are safe already: whatever goes wrong here costs this form alone."""
    try:
        return write_as_uploaded(out_dir, tensors, provenance).findings
    except Exception as error:  # noqa: BLE001 - hours of training are worth more than their second form
        for partial in out_dir.glob("as_uploaded*"):
            partial.unlink()
        code = error.code if isinstance(error, CheckpointRejected) else type(error).__name__
        return (phrases.LEFT_OUT(code=code),)


def give_back(folder: Path, out_dir: Path) -> tuple[str, ...]:
    """Write the canonical weights in `folder` in the uploaded layout, as `out_dir`/as_uploaded.*.

    Which tensor goes where is the word of the process that read the upload. So the file is read again like
    any upload, and removed unless it holds the canonical weights, each bit of them.
    Returns sentences on what could not be as it was. Raises CheckpointRejected as `write_as_uploaded` and
    `read_upload` do, and 'not_the_same_weights'; ValueError for a layout that no inspection writes.
    """
    provenance = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))["checkpoint"]
    weights = open_safetensors(folder / WEIGHTS_NAME)
    try:
        written = write_as_uploaded(out_dir, weights, provenance)
        declared = parse(DeclaredOptions, provenance["declared"])
        _check_same(out_dir / written.filename, weights, declared)
    except BaseException:
        for partial in out_dir.glob(f"{AS_UPLOADED}*"):
            partial.unlink()
        raise
    return written.findings


def _check_same(file: Path, weights: LazyTensors, declared: DeclaredOptions) -> None:
    """Raises CheckpointRejected unless `file`, read as an upload, is `weights`."""
    again = read_upload(file, declared=declared, filename=file.name)
    sources = {origin.source for origin in again.upload.origins}
    for name in sorted(weights.keys() | again.tensors.keys()):
        if name not in sources and name.endswith(".num_batches_tracked"):
            continue  # counts that the upload did not have are in no file that is given back
        if name in weights and name in again.tensors:
            ours, theirs = weights[name], again.tensors[name]
            if ours.dtype == theirs.dtype and torch.equal(ours, theirs):
                continue
        raise refusal(
            "not_the_same_weights",
            f"Read again, the file in the uploaded layout has another '{excerpt(name)}'.",
            "Use the open_clip layout, which is the one that was measured.",
            where=name,
        )


def _in_dtypes_of(original: Path, trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """The trained tensors, contiguous on the CPU, each in the dtype that its namesake has in `original`."""
    dtypes = {name: dtype for name, (dtype, _) in described(open_safetensors(original)).items()}
    cast: dict[str, Tensor] = {}
    for name, tensor in trained.items():
        cast[name] = tensor.detach().to("cpu", dtypes[name]).contiguous()
        if not bool(torch.isfinite(cast[name]).all()):
            dtype_name = str(dtypes[name]).removeprefix("torch.")
            raise TrainingDiverged(
                "does_not_fit_dtype",
                f"After training '{name}' has values that do not fit {dtype_name}.",
                "Lower the learning rate, or upload the weights in float32.",
                where=name,
            )
    return cast
