"""The safetensors format: tensors where `safetensors_header` found them, and written one at a time.

Source: the safetensors README, "Format".
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sanitizer.checkpoints.limits import element_count
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.safetensors_header import HeaderEntry, header_bytes, order_in_file, read_header
from sanitizer.checkpoints.tensors import LazyTensor, LazyTensors, described, vector

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "I64": torch.int64}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_WRITE_CHUNK = 1 << 24


def open_safetensors(path: Path) -> LazyTensors:
    """Check the header of `path` in full and return its tensors, still in the file.

    Raises CheckpointRejected as `read_header` does.
    """
    file = MappedFile(path)
    return LazyTensors({entry.name: _lazy(file, entry) for entry in read_header(file)}, file.release)


def _lazy(file: MappedFile, entry: HeaderEntry) -> LazyTensor:
    count, dtype = element_count(entry.shape), _DTYPES[entry.dtype]
    return LazyTensor(
        entry.shape, dtype, lambda: vector(file, entry.offset, count, dtype).reshape(entry.shape)
    )


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write `tensors` (any mapping, also a lazy one) and return the file's SHA-256.

    Holds one tensor in memory at a time. The file appears under its name only when it is complete.
    """
    shapes = {name: (_NAMES[dtype], shape) for name, (dtype, shape) in described(tensors).items()}
    digest = hashlib.sha256()
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        _emit(file, digest, header_bytes(shapes, metadata))
        for name in order_in_file(shapes):
            _emit(file, digest, _raw(tensors[name]), getattr(tensors, "release", None))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return digest.hexdigest()


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    raw: memoryview = flat.numpy().data
    return raw


def _emit(
    file: BinaryIO, digest: Any, data: bytes | memoryview, on_release: Callable[[], None] | None = None
) -> None:
    view = memoryview(data)
    for start in range(0, len(view), _WRITE_CHUNK):
        chunk = view[start : start + _WRITE_CHUNK]
        file.write(chunk)
        digest.update(chunk)
        if on_release is not None:
            on_release()
