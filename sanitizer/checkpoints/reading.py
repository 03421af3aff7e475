"""Hostile bytes → tensors, an architecture, findings. Decides by magic bytes; a file's name means nothing.

    safetensors            safetensors_file
    zip of torch.save      zip_container → pickle_machine → torch_archive → state_dicts
    zip of TorchScript     zip_container → pickle_machine → torch_archive → torchscript
    a folder               folders, then one of the above

then, whatever it was: naming → provenance → inference → the exact comparison with open_clip's own shapes →
every value finite. Nothing is executed, and nothing is loaded but one tensor at a time.

OpenAI's own files: TorchScript archives, of which only the recorded tensors are read.

data.pkl describes a tree of modules whose classes live in the archive's `code/`. The classes become inert
records, the tree is walked for tensors, and of `code/` only one thing is asked: whether it has a method
`__setstate__`, which torch.jit.load runs and which could put other tensors in the place of the recorded ones.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from cleanclip.vocabulary.inspection_phrases import Layout
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.containers import check_members, check_rest, container_of
from sanitizer.checkpoints.inference import family_of, infer, with_position_table
from sanitizer.checkpoints.limits import check_count, checked_name, num_parameters
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.model_folders import find_weights, options_beside
from sanitizer.checkpoints.naming import recognise
from sanitizer.checkpoints.origins import Upload
from sanitizer.checkpoints.pickle_machine import duplicate_key
from sanitizer.checkpoints.pickle_values import Instance
from sanitizer.checkpoints.provenance import canonical_tensors, dtype_summary, not_given_back
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.safetensors_file import open_safetensors
from sanitizer.checkpoints.shapes import expected_shapes
from sanitizer.checkpoints.state_dicts import Scalar, check_total, read_state_dict
from sanitizer.checkpoints.tensors import LazyTensor, LazyTensors, check_finite
from sanitizer.checkpoints.tokenizer_file import own_tokenizer
from sanitizer.checkpoints.torch_archive import TorchArchive
from sanitizer.checkpoints.torch_names import (
    CONSTANTS_NAME,
    PICKLE_NAME,
    is_allowed_in_torchscript,
    is_tensor_call,
)
from sanitizer.checkpoints.writing import check_state_dict
from sanitizer.checkpoints.zip_container import open_zip


@dataclass(frozen=True, kw_only=True)
class ReadCheckpoint:
    """`tensors`: canonical names, uploaded dtypes, still in the file. `upload`: how to give it back."""

    tensors: LazyTensors
    architecture: Architecture
    layout: Layout
    upload: Upload
    dtype: str
    assumed: dict[str, str]
    configured: tuple[str, ...]
    """Options that a configuration beside the weights gave."""
    findings: tuple[str, ...]

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return num_parameters((name, part.shape) for name, part in self.tensors.parts.items())


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A container's tensors under the file's own names."""

    tensors: LazyTensors
    container: str
    weights_key: str | None = None
    extras: dict[str, Scalar] | None = None
    findings: tuple[str, ...] = ()


def read_upload(
    path: Path, *, declared: DeclaredOptions, filename: str, beside: Path | None = None
) -> ReadCheckpoint:
    """Read `path`, a file as uploaded or (library use) a model's folder, without executing anything. The
    configurations of a file's model may lie in the folder `beside`.

    Raises CheckpointRejected; its codes are in the docstring of `sanitizer.checkpoints`. The tensors stay in
    the file, which must not change while they are used.
    """
    sources: Mapping[str, str] = {}
    weights_name, configured = filename, beside
    if path.is_dir():
        configured, path = path, find_weights(path)
        weights_name = path.name
    if configured is not None:
        declared, sources = options_beside(configured, declared, weights=weights_name)
    opened = open_upload(path)
    if not opened.tensors:
        raise refusal("not_a_clip", f"'{excerpt(filename)}' holds no tensors.", SAVE_AGAIN)
    recognised, bare = recognise(opened.tensors, is_torchscript=opened.container == "torchscript")
    layout = _layout(opened, recognised.naming)
    canonical = canonical_tensors(bare, recognised.origins)
    family = family_of(layout, is_openai=recognised.is_openai)
    architecture, assumed = infer(canonical.meta(), declared=declared, layout=family, sources=sources)
    canonical, filled = _with_batch_counts(canonical, architecture)
    check_state_dict({name: part.shape for name, part in canonical.parts.items()}, architecture)
    if architecture.is_siglip:
        own_tokenizer(architecture)
    for name, tensor in canonical.items():
        check_finite(name, tensor, canonical.release)
    if "visual.positional_embedding" in canonical:
        architecture = with_position_table(architecture, canonical["visual.positional_embedding"])
    # What was added (batch counts) has no origin, so `recognised.origins` are all of the file's.
    lost = not_given_back(bare, canonical, recognised.origins)
    upload = Upload(
        layout=layout,
        container=opened.container,
        naming=recognised.naming,
        prefix=recognised.prefix,
        weights_key=opened.weights_key,
        extras=opened.extras,
        origins=recognised.origins,
    )
    return ReadCheckpoint(
        tensors=canonical,
        architecture=architecture,
        layout=layout,
        upload=upload,
        dtype=dtype_summary([part.dtype for part in canonical.parts.values()]),
        assumed=assumed,
        configured=tuple(sources),
        findings=(*opened.findings, *recognised.findings, *filled, *lost),
    )


def _layout(opened: Opened, naming: str) -> Layout:
    if opened.container == "torchscript":
        return "openai_torchscript"
    if naming == "huggingface":
        return "huggingface"
    return "open_clip" if opened.weights_key is None else "research"


def _with_batch_counts(
    tensors: LazyTensors, architecture: Architecture
) -> tuple[LazyTensors, tuple[str, ...]]:
    """BatchNorm's `num_batches_tracked`, which old files lack and nothing here uses, as zeros."""

    def zero() -> Tensor:
        return torch.zeros((), dtype=torch.int64)

    counts = [name for name in expected_shapes(architecture) if name.endswith(".num_batches_tracked")]
    if not counts or any(name in tensors for name in counts):
        return tensors, ()
    added = {name: LazyTensor((), torch.int64, zero) for name in counts}
    return LazyTensors(tensors.parts | added, tensors.release), (phrases.BATCH_COUNTS(),)


def open_upload(path: Path) -> Opened:
    """The tensors of a file under its own names, whatever model they are of. Raises as `read_upload` does."""
    file = MappedFile(path)
    if container_of(file) == "safetensors":
        return Opened(tensors=open_safetensors(path), container="safetensors")
    members = open_zip(file)
    check_members(members)
    archive = TorchArchive(file, members)
    if CONSTANTS_NAME in members:
        findings = (phrases.CODE_NOT_RUN(),)
        return Opened(tensors=read_torchscript(archive), container="torchscript", findings=findings)
    found = read_state_dict(archive)
    return Opened(
        tensors=found.tensors,
        container="torch_zip",
        weights_key=found.weights_key,
        extras=found.extras,
        findings=found.findings,
    )


_MAX_DEPTH = 32
_MAX_CODE_BYTES = 64 * 2**20
_MAX_MODULES = 50_000
_MAX_ATTRIBUTES = 200_000


def read_torchscript(archive: TorchArchive) -> LazyTensors:
    """The tensors of the module tree under their dotted names: a module's own first, then its children's.

    Raises CheckpointRejected: 'pickle_*', 'tensor_*', 'storage_*', 'not_a_module', 'too_many_tensors',
    'torchscript_code'.
    """
    read = archive.read_pickle(is_allowed_in_torchscript, has_instances=True)
    if not isinstance(read.root, Instance):
        raise refusal("not_a_module", "The TorchScript archive holds no module.", SAVE_AGAIN)
    parts: dict[str, LazyTensor] = {}
    for name, value in _walk(read.root):
        check_count(len(parts) + 1)
        if name in parts:
            raise duplicate_key(PICKLE_NAME, name)
        parts[checked_name(name)] = archive.tensor(name, value)
    check_total(parts, archive.file.size_bytes)
    _check_code(archive)
    check_rest(archive.file, archive.members, read)
    return LazyTensors(parts, archive.file.release)


def _check_code(archive: TorchArchive) -> None:
    """Source: torch 2.13, torch/csrc/jit/serialization/import.cpp, `obj_loader`."""
    left = _MAX_CODE_BYTES
    for name, member in archive.members.items():
        if not name.startswith("code/") or not name.lower().endswith(".py"):  # torch finds .PY, too
            continue
        code = archive.file.read(member.offset, min(member.size_bytes, left + 1))
        if member.is_deflated:
            code = _inflated(code, left + 1, name)
        left -= len(code)
        if left < 0:
            raise _code(name, f"has more than {_MAX_CODE_BYTES} bytes of code")
        if b"__setstate__" in code:
            raise _code(name, "has a method __setstate__, which may replace its tensors while it is loaded")


def _inflated(packed: bytes, limit: int, name: str) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, limit)
    except zlib.error:
        raise _code(name, "has code that cannot be unpacked") from None


def _code(name: str, what: str) -> CheckpointRejected:
    return refusal("torchscript_code", f"The TorchScript archive {what}.", SAVE_AGAIN, where=name)


def _walk(root: Instance) -> Iterator[tuple[str, Any]]:
    """Depth first. Modules may be shared, so steps are counted: a small file can describe a huge tree."""
    waiting = [("", 0, root)]
    num_visited = num_attributes = 0
    while waiting:
        prefix, depth, module = waiting.pop()
        num_visited += 1
        num_attributes += len(module.state)
        if num_attributes > _MAX_ATTRIBUTES:
            raise refusal(
                "not_a_module",
                f"The modules have more than {_MAX_ATTRIBUTES} attributes, counted at each place.",
                SAVE_AGAIN,
                where=prefix,
            )
        if depth > _MAX_DEPTH or num_visited > _MAX_MODULES:
            raise refusal(
                "not_a_module",
                f"The module tree is too deep or too large; it continues below '{excerpt(prefix, 16)}'.",
                SAVE_AGAIN,
                where=prefix,
            )
        children: list[tuple[str, int, Instance]] = []
        for name, value in module.state.items():
            path = f"{prefix}{checked_name(name)}"
            if is_tensor_call(value):
                yield path, value
            elif isinstance(value, Instance):
                children.append((f"{path}.", depth + 1, value))
        waiting += reversed(children)
