"""The safetensors format, read with suspicion and written one tensor at a time. Knows nothing of CLIP.

The reader believes nothing in the header: length, duplicate names, types, shapes, offsets. The format is
eight bytes of header length (little-endian), a JSON header, and the tensors' bytes without holes.
Source: the safetensors README, "Format".
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal
from sanitizer.checkpoints.tensors import (
    MAX_DIMS,
    MAX_TENSORS,
    NO_CLIP,
    LazyTensor,
    LazyTensors,
    MappedFile,
    checked_name,
    described,
    element_count,
)
from sanitizer.errors import CheckpointRejected

MAX_HEADER_BYTES = 16 * 2**20
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "I64": torch.int64}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_WRITE_CHUNK = 1 << 24


class _DuplicateKeyError(ValueError):
    """A JSON object that names one key twice."""


def open_safetensors(path: Path) -> LazyTensors:
    """Check the header of `path` in full and return its tensors, still in the file.

    Raises CheckpointRejected with codes 'safetensors_*', 'tensor_*', 'too_many_tensors', 'dtype_not_allowed'.
    """
    file = MappedFile(path)
    header, data_start = _read_header(file)
    if len(header) > MAX_TENSORS:
        raise refusal("too_many_tensors", f"The file has {len(header)} tensors.", NO_CLIP)
    spans: list[tuple[int, int, str]] = []
    parts: dict[str, LazyTensor] = {}
    for name, entry in header.items():
        dtype, shape, begin, end = _read_entry(checked_name(name), entry)
        spans.append((begin, end, name))
        parts[name] = _lazy(file, data_start + begin, shape, dtype)
    _check_tiling(spans, file.size_bytes - data_start)
    return LazyTensors(parts, file.release)


def _lazy(file: MappedFile, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> LazyTensor:
    count = element_count(shape)
    return LazyTensor(shape, dtype, lambda: file.vector(offset, count, dtype).reshape(shape))


def _bad_header(message: str, where: object = None) -> CheckpointRejected:
    return refusal("safetensors_header_invalid", message, UPLOAD_AGAIN, where=where)


def _read_header(file: MappedFile) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file.read(0, 8), "little")
    if file.size_bytes < 8 or length > file.size_bytes - 8:
        raise refusal("safetensors_truncated", "The file ends before its own header does.", UPLOAD_AGAIN)
    if length > MAX_HEADER_BYTES:
        raise refusal(
            "safetensors_header_too_large",
            f"The header claims {length} bytes; at most {MAX_HEADER_BYTES} are read.",
            "Save the weights again without large metadata.",
        )
    try:
        header = json.loads(
            file.read(8, length).decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except _DuplicateKeyError as error:
        raise refusal(
            "safetensors_duplicate_name", f"The header names '{error}' twice.", UPLOAD_AGAIN, where=error
        ) from None
    except (ValueError, RecursionError):
        raise _bad_header("The header is not valid JSON.") from None
    if not isinstance(header, dict):
        raise _bad_header("The header is not a JSON object.")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _bad_header("The header's metadata is not a table of strings.", _METADATA)
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateKeyError(excerpt(twice))
    return table


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _sizes(value: object, most: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > most:
        return None
    if not all(type(v) is int and 0 <= v < 2**63 for v in value):
        return None
    return tuple(value)


def _read_entry(name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad_header(f"The entry of tensor '{excerpt(name)}' is malformed.", name)
    shape, offsets = _sizes(entry["shape"], MAX_DIMS), _sizes(entry["data_offsets"], 2)
    if shape is None or offsets is None or len(offsets) != 2:
        raise _bad_header(f"Tensor '{excerpt(name)}' has an impossible shape or offsets.", name)
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise refusal(
            "dtype_not_allowed",
            f"Tensor '{excerpt(name)}' has type {excerpt(entry['dtype'], 16)}.",
            "Save the weights as float16, bfloat16 or float32.",
            where=name,
        )
    if 0 in shape:
        raise refusal("tensor_empty", f"Tensor '{excerpt(name)}' has no elements.", UPLOAD_AGAIN, where=name)
    if offsets[1] - offsets[0] != element_count(shape) * dtype.itemsize:
        raise refusal(
            "tensor_size_mismatch",
            f"Tensor '{excerpt(name)}' needs another number of bytes than the header gives it.",
            UPLOAD_AGAIN,
            where=name,
        )
    return dtype, shape, offsets[0], offsets[1]


def _check_tiling(spans: list[tuple[int, int, str]], data_bytes: int) -> None:
    """Tensors lie one after the other: no overlap, no hole, nothing before or after."""
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            kind = "overlaps another tensor" if begin < position else "leaves a hole before it"
            raise refusal(
                "safetensors_layout_invalid", f"Tensor '{excerpt(name)}' {kind}.", UPLOAD_AGAIN, where=name
            )
        position = end
    if position > data_bytes:
        raise refusal("safetensors_truncated", "The file ends before its last tensor does.", UPLOAD_AGAIN)
    if position < data_bytes:
        raise refusal("safetensors_layout_invalid", "Bytes follow the last tensor.", UPLOAD_AGAIN)


# ---------------------------------------------------------------- writing


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write `tensors` (any mapping, also a lazy one) and return the file's SHA-256.

    Holds one tensor in memory at a time. The file appears under its name only when it is complete.
    """
    shapes = described(tensors)
    # Widest types first, so that every tensor is aligned to its own size, as the format asks.
    order = sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    position = 0
    for name in order:
        dtype, shape = shapes[name]
        size_bytes = math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [position, position + size_bytes],
        }
        position += size_bytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    digest = hashlib.sha256()
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        _emit(file, digest, len(encoded).to_bytes(8, "little") + encoded)
        for name in order:
            _emit(file, digest, _raw(tensors[name]))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return digest.hexdigest()


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    raw: memoryview = flat.numpy().data
    return raw


def _emit(file: BinaryIO, digest: Any, data: bytes | memoryview) -> None:
    view = memoryview(data)
    for start in range(0, len(view), _WRITE_CHUNK):
        chunk = view[start : start + _WRITE_CHUNK]
        file.write(chunk)
        digest.update(chunk)
