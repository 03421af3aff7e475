"""Tensors that stay in the file until they are asked for, one at a time. Decides nothing about their meaning.

The file is mapped, so a checkpoint of any size costs address space, not memory: only the tensor being looked
at is resident.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.checkpoints.limits import element_count
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.rejection import refusal

DTYPE_NAMES = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.int64: "int64",
}
DTYPES_BY_NAME = {name: dtype for dtype, name in DTYPE_NAMES.items()}

_CHUNK = 1 << 22  # elements looked at together when values are checked


def vector(file: MappedFile, offset: int, count: int, dtype: torch.dtype) -> Tensor:
    """`count` elements from byte `offset`, flat. Bounds are the caller's promise."""
    return strided(file, offset, dtype, (count,), (1,))


def strided(
    file: MappedFile, offset: int, dtype: torch.dtype, size: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    """The elements of a view whose first one is at byte `offset`; strides count elements.

    No copy where the file has them in order and aligned; else a copy of these elements alone, whatever the
    storage around them holds. Bounds are the caller's promise.
    """
    if file.buffer is None or 0 in size:
        return torch.empty(size, dtype=dtype)
    span = 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset % dtype.itemsize == 0:
        flat = torch.frombuffer(file.buffer, dtype=dtype, count=span, offset=offset)
        return flat.as_strided(size, stride).contiguous()
    # Never so in files that torch or safetensors wrote. Bytes have no alignment.
    width = dtype.itemsize
    raw = torch.frombuffer(file.buffer, dtype=torch.uint8, count=span * width, offset=offset)
    in_bytes = raw.as_strided((*size, width), (*(step * width for step in stride), 1))
    return in_bytes.clone(memory_format=torch.contiguous_format).view(dtype).reshape(size)


@dataclass(frozen=True)
class LazyTensor:
    """A tensor's shape and dtype, and how to get it. `load` returns a contiguous tensor each time."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def num_elements(self) -> int:
        """Product of the shape."""
        return element_count(self.shape)


class LazyTensors(Mapping[str, Tensor]):
    """An ordered mapping name → tensor that loads on access and keeps nothing."""

    def __init__(self, parts: Mapping[str, LazyTensor], on_release: Callable[[], None] | None = None) -> None:
        self.parts = dict(parts)
        self.release = on_release

    def __getitem__(self, name: str) -> Tensor:
        if self.release is not None:
            self.release()
        return self.parts[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def meta(self) -> dict[str, Tensor]:
        """The same names with tensors on the meta device: shapes and dtypes, no bytes."""
        return {n: torch.empty(p.shape, dtype=p.dtype, device="meta") for n, p in self.parts.items()}


def described(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Name → (dtype, shape) without loading anything that is lazy."""
    if isinstance(tensors, LazyTensors):
        return {name: (part.dtype, part.shape) for name, part in tensors.parts.items()}
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def check_finite(name: str, tensor: Tensor, on_release: Callable[[], None] | None = None) -> None:
    """Raises CheckpointRejected 'values_not_finite' if any float of `tensor` is NaN or infinite.

    `on_release` is called after every chunk, to give back the pages of a mapped file.
    """
    if not tensor.dtype.is_floating_point:
        return
    flat = tensor.reshape(-1)
    for start in range(0, flat.numel(), _CHUNK):
        if not bool(torch.isfinite(flat[start : start + _CHUNK]).all()):
            raise refusal(
                "values_not_finite",
                f"Tensor '{name}' holds NaN or infinite values.",
                "Upload a checkpoint from before the training diverged.",
                where=name,
            )
        if on_release is not None:
            on_release()


def causal_mask(length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Additive mask [L, L]: 0 on and under the diagonal, -inf over it."""
    return torch.full((length, length), float("-inf"), dtype=dtype).triu(1)
