"""The header of a safetensors file, read with suspicion. Free of torch; loads no tensor.

Nothing in the header is believed: length, duplicate names, types, shapes, offsets. The format is eight bytes
of header length (little-endian), a JSON header, and the tensors' bytes without holes.
Source: the safetensors README, "Format".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.limits import (
    MAX_DIMS,
    check_count,
    checked_name,
    element_count,
    tensor_empty,
)
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.one_format import check_is_one_format
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal

MAX_HEADER_BYTES = 16 * 2**20
MAX_METADATA_CHARACTERS = 2**20
METADATA = "__metadata__"
_ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}
_FIELDS = {"dtype", "shape", "data_offsets"}
_MAX_DIGITS = 20
_OTHER_FRAMEWORKS = ("tf", "flax", "mlx")
"""transformers transposes such weights before it loads them."""


@dataclass(frozen=True, kw_only=True)
class HeaderEntry:
    """One tensor: its bytes begin at `offset` of the file; `dtype` is the format's own name."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


def header_bytes(tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]) -> bytes:
    """What a file begins with that holds exactly these tensors (name → dtype and shape), as we write it.

    Widest types first, so that every tensor is aligned to its own size, as the format asks. Raises KeyError
    for a dtype that is not read.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    position = 0
    for name in order_in_file(tensors):
        dtype, shape = tensors[name]
        size_bytes = element_count(shape) * _ITEM_BYTES[dtype]
        offsets = [position, position + size_bytes]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        position += size_bytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def order_in_file(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[str]:
    """The order in which we write tensors one after the other."""
    return sorted(tensors, key=lambda name: (-_ITEM_BYTES[tensors[name][0]], name))


class _DuplicateKeyError(ValueError):
    """A JSON object that names one key twice."""


def read_header(file: MappedFile) -> tuple[HeaderEntry, ...]:
    """Every tensor, all checks done.

    Raises CheckpointRejected with codes 'safetensors_*', 'tensor_*', 'too_many_tensors', 'dtype_not_allowed',
    'two_formats'.
    """
    header, data_start = _read_json(file)
    check_count(len(header))
    spans: list[tuple[int, int, str]] = []
    entries: list[HeaderEntry] = []
    for name, raw in header.items():
        dtype, shape, begin, end = _read_entry(checked_name(name), raw)
        spans.append((begin, end, name))
        entries.append(HeaderEntry(name=name, dtype=dtype, shape=shape, offset=data_start + begin))
    _check_tiling(spans, file.size_bytes - data_start)
    check_is_one_format(file, "safetensors")
    return tuple(entries)


def _bad_header(message: str, where: object = None) -> CheckpointRejected:
    return refusal("safetensors_header_invalid", message, UPLOAD_AGAIN, where=where)


def _read_json(file: MappedFile) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file.read(0, 8), "little")
    if file.size_bytes < 8 or length > file.size_bytes - 8:
        raise refusal("safetensors_truncated", "The file ends before its own header does.", UPLOAD_AGAIN)
    if length > MAX_HEADER_BYTES:
        raise refusal(
            "safetensors_header_too_large",
            f"The header claims {length} bytes; at most {MAX_HEADER_BYTES} are read.",
            "Save the weights again without large metadata.",
        )
    header = _parsed(file.read(8, length))
    if not isinstance(header, dict):
        raise _bad_header("The header is not a JSON object.")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _bad_header("The header's metadata is not a table of strings.", METADATA)
    if sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA_CHARACTERS:
        raise _bad_header(
            f"The header's metadata is too large: more than {MAX_METADATA_CHARACTERS} characters.", METADATA
        )
    if metadata.get("format", "pt") in _OTHER_FRAMEWORKS:
        raise _bad_header(
            f"The header says that the weights are in the layout of '{metadata['format']}', not of PyTorch.",
            METADATA,
        )
    try:  # the safetensors library reads no such file
        "".join(key + value for key, value in metadata.items()).encode()
    except UnicodeEncodeError:
        raise _bad_header("The header's metadata holds half of a character.", METADATA) from None
    return header, 8 + length


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_short_number
        )
    except _DuplicateKeyError as error:
        raise refusal(
            "safetensors_duplicate_name", f"The header names '{error}' twice.", UPLOAD_AGAIN, where=error
        ) from None
    except UnicodeDecodeError:
        raise _bad_header("The header is not UTF-8.") from None
    except RecursionError:
        raise _bad_header("The header is nested too deeply.") from None
    except json.JSONDecodeError as error:
        why = "it ends too early" if error.pos >= len(error.doc.rstrip()) else f"{error.msg} at {error.pos}"
        raise _bad_header(f"The header is not valid JSON: {why}.") from None
    except ValueError as error:
        raise _bad_header(f"The header holds {excerpt(error, 60)}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateKeyError(excerpt(twice))
    return table


def _no_constant(text: str) -> None:
    raise ValueError(f"{text}, which is not JSON")


def _short_number(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    if text == "-0":  # 0 for Python, no whole number for the safetensors library
        raise ValueError("the number -0")
    return int(text)


def _shown(value: object) -> str:
    """A list of plain numbers as it is; anything else by its kind: its text could be endless."""
    if isinstance(value, list) and len(value) <= 2 * MAX_DIMS and all(type(v) in (int, float) for v in value):
        return f"[{', '.join(str(v) for v in value)}]"
    return "of another kind"


def _sizes(value: object, most: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > most:
        return None
    if not all(type(v) is int and 0 <= v < 2**63 for v in value):
        return None
    return tuple(value)


def _read_entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict):
        raise _bad_header(f"The entry of tensor '{excerpt(name)}' is not a table.", name)
    if set(entry) != _FIELDS:
        fields = excerpt(", ".join(sorted(entry)[:6]), 80)
        raise _bad_header(f"The entry of tensor '{excerpt(name)}' has fields {fields}.", name)
    shape, offsets = _sizes(entry["shape"], MAX_DIMS), _sizes(entry["data_offsets"], 2)
    if shape is None:
        raise _bad_header(f"Tensor '{excerpt(name)}' has an impossible shape {_shown(entry['shape'])}.", name)
    if offsets is None or len(offsets) != 2:
        shown = _shown(entry["data_offsets"])
        raise _bad_header(f"Tensor '{excerpt(name)}' has impossible offsets {shown}.", name)
    dtype = _dtype(name, entry["dtype"])
    if 0 in shape:
        raise tensor_empty(name)
    needed, given = element_count(shape) * _ITEM_BYTES[dtype], offsets[1] - offsets[0]
    if needed != given:
        raise refusal(
            "tensor_size_mismatch",
            f"Tensor '{excerpt(name)}' needs {needed} bytes; the header gives it {given} bytes.",
            UPLOAD_AGAIN,
            where=name,
        )
    return dtype, shape, offsets[0], offsets[1]


def _dtype(name: str, dtype: object) -> str:
    if not isinstance(dtype, str):
        raise _bad_header(f"Tensor '{excerpt(name)}' is malformed: its type is not text.", name)
    if dtype not in _ITEM_BYTES:
        raise refusal(
            "dtype_not_allowed",
            f"Tensor '{excerpt(name)}' is stored as {excerpt(dtype, 16)}.",
            "Save the weights as float16, bfloat16 or float32.",
            where=name,
        )
    return dtype


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
        extra = data_bytes - position
        raise refusal("safetensors_layout_invalid", f"{extra} bytes follow the last tensor.", UPLOAD_AGAIN)
