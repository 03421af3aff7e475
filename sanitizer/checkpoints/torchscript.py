"""OpenAI's own files: TorchScript archives, of which only the recorded tensors are read.

data.pkl describes a tree of modules whose classes live in the archive's `code/`. The classes become inert
records, the tree is walked for tensors, and of `code/` only one thing is asked: whether it has a method
`__setstate__`, which torch.jit.load runs and which could put other tensors in the place of the recorded ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from cleanclip.spec.errors import CheckpointRejected
from cleanclip.spec.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.containers import check_rest
from sanitizer.checkpoints.limits import MAX_TENSORS, NO_CLIP, checked_name
from sanitizer.checkpoints.pickle_values import Instance
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal
from sanitizer.checkpoints.state_dicts import check_total
from sanitizer.checkpoints.tensors import LazyTensor, LazyTensors
from sanitizer.checkpoints.torch_archive import TorchArchive
from sanitizer.checkpoints.torch_names import is_allowed_in_torchscript, is_tensor_call

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
        if len(parts) >= MAX_TENSORS:
            raise refusal("too_many_tensors", "The module tree has too many tensors.", NO_CLIP)
        if name in parts:
            raise refusal(
                "pickle_duplicate_key",
                f"The module tree has two tensors '{excerpt(name)}'.",
                UPLOAD_AGAIN,
                where=name,
            )
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
