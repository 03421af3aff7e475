"""What torch.save's and TorchScript's archives share: storages, byte order, tensors rebuilt from both.

A tensor in such a pickle is a call of `torch._utils._rebuild_tensor_v2` on a storage, an offset, a size and
strides. The call is never made: see `tensor_calls`. Here it is held against the storage's member.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sanitizer.checkpoints.containers import read_data_pkl
from sanitizer.checkpoints.limits import tensor_empty
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.pickle_values import IsAllowed, Read
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.storages import check_inside, member_of
from sanitizer.checkpoints.tensor_calls import Storage, View, view
from sanitizer.checkpoints.tensors import LazyTensor, strided
from sanitizer.checkpoints.torch_names import OTHER_STORAGES
from sanitizer.checkpoints.zip_container import Member

_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
}


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
        found = view(name, value)
        dtype, member = self._storage(name, found.storage)
        _check_view(name, found)
        return LazyTensor(found.size, dtype, lambda: self._load(member, dtype, found))

    def _load(self, member: Member, dtype: torch.dtype, view: View) -> Tensor:
        first = member.offset + view.offset * dtype.itemsize
        return strided(self.file, first, dtype, view.size, view.stride)

    def _storage(self, name: str, storage: Storage) -> tuple[torch.dtype, Member]:
        if storage.kind in OTHER_STORAGES:
            raise refusal(
                "dtype_not_allowed",
                f"Tensor '{excerpt(name)}' is stored as {storage.kind}.",
                "Save the weights as float16, bfloat16 or float32.",
                where=name,
            )
        return _STORAGES[storage.kind], member_of(self.members, name, storage)


def _check_view(name: str, view: View) -> None:
    """The view must lie inside its storage and use no element twice."""
    size, stride = view.size, view.stride
    if 0 in size:
        raise tensor_empty(name)
    check_inside(name, view)
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
