"""What torch.save's and TorchScript's archives share: storages, byte order, tensors rebuilt from both.

A tensor in such a pickle is a call of `torch._utils._rebuild_tensor_v2` on a storage, an offset, a size and
strides. The call is never made: its arguments are checked against the member that holds the storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sanitizer.checkpoints.containers import read_data_pkl
from sanitizer.checkpoints.limits import MAX_DIMS, element_count
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.pickle_values import Call, Global, IsAllowed, PersistentId, Read
from sanitizer.checkpoints.rejection import SAVE_AGAIN, UPLOAD_AGAIN, excerpt, refusal
from sanitizer.checkpoints.tensors import LazyTensor, vector
from sanitizer.checkpoints.torch_names import OTHER_STORAGES, REBUILD_PARAMETER, REBUILD_TENSOR
from sanitizer.checkpoints.zip_container import Member
from sanitizer.errors import CheckpointRejected

_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
}
_MAX_SIZE = 2**48


@dataclass(frozen=True)
class TorchArchive:
    """An opened archive: its file, its members, and the tensors that its pickle describes."""

    file: MappedFile
    members: Mapping[str, Member]

    def read_pickle(self, is_allowed: IsAllowed, *, has_instances: bool = False) -> Read:
        """data.pkl as inert data. Raises CheckpointRejected 'pickle_*', 'byte_order_unsupported'."""
        return read_data_pkl(self.file, self.members, is_allowed, has_instances=has_instances)

    def tensor(self, name: str, value: Any) -> LazyTensor:
        """The tensor that `value`, a rebuild call, describes.

        Raises CheckpointRejected: 'not_a_tensor', 'tensor_call_malformed', 'dtype_not_allowed',
        'storage_missing', 'storage_size_mismatch', 'tensor_outside_storage', 'tensor_overlaps_itself',
        'tensor_empty'.
        """
        call = _unwrap_parameter(value)
        if not isinstance(call, Call) or call.function.path != REBUILD_TENSOR:
            raise refusal(
                "not_a_tensor",
                f"The value of '{excerpt(name)}' is no tensor.",
                SAVE_AGAIN,
                where=name,
            )
        storage, offset, size, stride = _arguments(name, call)
        dtype, member = self._storage(name, storage)
        _check_view(name, offset, size, stride, member.size_bytes // dtype.itemsize)
        return LazyTensor(size, dtype, lambda: self._load(member, dtype, offset, size, stride))

    def _load(
        self, member: Member, dtype: torch.dtype, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> Tensor:
        flat = vector(self.file, member.offset, member.size_bytes // dtype.itemsize, dtype)
        return flat.as_strided(size, stride, offset).contiguous()

    def _storage(self, name: str, reference: Any) -> tuple[torch.dtype, Member]:
        kind, key, num_elements = _storage_reference(name, reference)
        if kind in OTHER_STORAGES:
            raise refusal(
                "dtype_not_allowed",
                f"Tensor '{excerpt(name)}' is stored as {kind}.",
                "Save the weights as float16, bfloat16 or float32.",
                where=name,
            )
        dtype = _STORAGES.get(kind)
        if dtype is None:
            raise malformed_call(name, "its storage is of no known type")
        member = self.members.get(f"data/{key}")
        if member is None:
            raise refusal(
                "storage_missing",
                f"The storage '{excerpt(key, 40)}' of '{excerpt(name)}' is not in the file.",
                UPLOAD_AGAIN,
                where=name,
            )
        if member.size_bytes != num_elements * dtype.itemsize:
            raise refusal(
                "storage_size_mismatch",
                f"The storage of '{excerpt(name)}' has {member.size_bytes} bytes; its pickle claims "
                f"{num_elements} elements of {dtype.itemsize}.",
                UPLOAD_AGAIN,
                where=name,
            )
        return dtype, member


def malformed_call(name: str, why: str) -> CheckpointRejected:
    """'tensor_call_malformed': the arguments are not those that torch writes."""
    return refusal(
        "tensor_call_malformed",
        f"Tensor '{excerpt(name)}' is described in a way that torch.save never writes: {why}.",
        SAVE_AGAIN,
        where=name,
    )


def _unwrap_parameter(value: Any) -> Any:
    """torch._utils._rebuild_parameter(tensor, requires_grad, hooks) → tensor."""
    if isinstance(value, Call) and value.function.path == REBUILD_PARAMETER and len(value.args) == 3:
        return value.args[0]
    return value


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_SIZE


def _sizes(name: str, value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise malformed_call(name, f"its {what}s are no tuple")
    if len(value) > MAX_DIMS:
        raise malformed_call(name, f"it has {len(value)} dimensions")
    for number in value:
        if not _is_size(number):
            raise malformed_call(name, f"it has a {what} of {excerpt(number, 40)}")
    return value


def _arguments(name: str, call: Call) -> tuple[Any, int, tuple[int, ...], tuple[int, ...]]:
    """(storage, offset, sizes, strides); behind them come requires_grad, hooks and perhaps metadata."""
    if len(call.args) not in (6, 7):
        raise malformed_call(name, f"it has {len(call.args)} arguments")
    reference, offset, size, stride, _, hooks, *metadata = call.args
    if not _is_size(offset):
        raise malformed_call(name, f"it has an offset of {excerpt(offset, 40)}")
    sizes, strides = _sizes(name, size, "size"), _sizes(name, stride, "stride")
    if len(sizes) != len(strides):
        raise malformed_call(name, f"it has {len(sizes)} sizes and {len(strides)} strides")
    if hooks not in ({}, None) or any(extra not in ({}, None) for extra in metadata):
        raise malformed_call(name, "it brings hooks or metadata along")
    return reference, offset, sizes, strides


def _storage_reference(name: str, reference: Any) -> tuple[str, str, int]:
    """('storage', torch.XStorage, key, device, number of elements) → class name, key, number."""
    value = reference.value if isinstance(reference, PersistentId) else None
    if not isinstance(value, tuple) or len(value) != 5 or value[0] != "storage":
        raise malformed_call(name, "it has no storage")
    _, cls, key, _, num_elements = value
    if not isinstance(cls, Global) or cls.module != "torch" or not isinstance(key, str):
        raise malformed_call(name, "its storage has no type or no key")
    if not _is_size(num_elements):
        raise malformed_call(name, f"its storage has {excerpt(num_elements, 40)} elements")
    return cls.name, key, num_elements


def _check_view(
    name: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...], num_elements: int
) -> None:
    """The view must lie inside its storage and use no element twice."""
    if 0 in size:
        raise refusal("tensor_empty", f"Tensor '{excerpt(name)}' has no elements.", UPLOAD_AGAIN, where=name)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= num_elements or element_count(size) > num_elements:
        raise refusal(
            "tensor_outside_storage",
            f"Tensor '{excerpt(name)}' reaches beyond the {num_elements} elements of its storage: it has "
            f"{element_count(size)}, the last at {last}.",
            UPLOAD_AGAIN,
            where=name,
        )
    reach = 0
    for step, length in sorted((s, n) for n, s in zip(size, stride, strict=True) if n > 1):
        if step <= reach:
            raise refusal(
                "tensor_overlaps_itself",
                f"Tensor '{excerpt(name)}' uses elements of its storage more than once.",
                "Save contiguous tensors: apply .contiguous() to each before torch.save.",
                where=name,
            )
        reach += (length - 1) * step
