"""A pickle's tensors: calls of torch's two rebuild functions, taken apart and checked, and never made.

Every argument has to be of the kind that torch.save writes. torch.load would hand the rest to the tensor:
hooks that training calls, places to load it to, attributes. Free of torch.
"""

import re
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.limits import MAX_DIMS
from sanitizer.checkpoints.pickle_values import Call, Global, PersistentId
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.torch_names import (
    OTHER_STORAGES,
    REBUILD_PARAMETER,
    REBUILD_TENSOR,
    WEIGHT_STORAGES,
)

_MAX_SIZE = 2**48
_DEVICE = re.compile(r"(?!meta)[a-z]{2,20}(:\d{1,4})?")
"""As torch writes it: cpu, cuda:0, mps. On "meta" torch.load would leave the bytes out."""
_ITEM_BYTES = {
    "HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4, "LongStorage": 8, "DoubleStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
_WITH_GRADIENTS = {"HalfStorage", "BFloat16Storage", "FloatStorage", "DoubleStorage"}


@dataclass(frozen=True)
class Storage:
    """What a tensor's bytes are said to be: the name of torch's type, the member's key, place, elements."""

    kind: str
    key: str
    device: str
    num_elements: int

    @property
    def item_bytes(self) -> int:
        return _ITEM_BYTES[self.kind]

    @property
    def size_bytes(self) -> int:
        return self.num_elements * self.item_bytes


@dataclass(frozen=True)
class View:
    """A tensor as a pickle describes it. Offset and stride count elements of the storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def view(name: str, value: Any) -> View:
    """The tensor that `value`, a rebuild call, describes.

    Raises CheckpointRejected: 'not_a_tensor', 'tensor_call_malformed'.
    """
    call, is_trained = _unwrap_parameter(name, value)
    if not isinstance(call, Call) or call.function.path != REBUILD_TENSOR:
        raise refusal(
            "not_a_tensor",
            f"The value of '{excerpt(name)}' is not a tensor.",
            SAVE_AGAIN,
            where=name,
        )
    if len(call.args) not in (6, 7):
        raise malformed_call(name, f"it has {len(call.args)} arguments")
    reference, offset, size, stride, requires_grad, hooks, *metadata = call.args
    if not _is_size(offset):
        raise malformed_call(name, f"it has an offset of {excerpt(offset, 40)}")
    sizes, strides = _sizes(name, size, "size"), _sizes(name, stride, "stride")
    if len(sizes) != len(strides):
        raise malformed_call(name, f"it has {len(sizes)} sizes and {len(strides)} strides")
    _check_extras(name, "it", requires_grad, hooks, *metadata)
    found = storage(name, reference)
    if (requires_grad or is_trained) and found.kind not in _WITH_GRADIENTS:
        raise malformed_call(name, f"it wants gradients of {found.kind}")
    return View(found, offset, sizes, strides)


def storage(name: str, reference: Any) -> Storage:
    """('storage', torch.XStorage, key, device, number of elements), checked.

    Raises CheckpointRejected 'tensor_call_malformed'.
    """
    value = reference.value if isinstance(reference, PersistentId) else None
    if not isinstance(value, tuple) or len(value) != 5 or value[0] != "storage":
        raise malformed_call(name, "it has no storage")
    _, cls, key, device, num_elements = value
    if not isinstance(cls, Global) or cls.module != "torch" or not isinstance(key, str):
        raise malformed_call(name, "its storage has no type or no key")
    if cls.name not in WEIGHT_STORAGES | OTHER_STORAGES:
        raise malformed_call(name, "its storage is of no known type")
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise malformed_call(name, f"its storage is to be loaded to {excerpt(device, 40)}")
    if not _is_size(num_elements):
        raise malformed_call(name, f"its storage has {excerpt(num_elements, 40)} elements")
    return Storage(cls.name, key, device, num_elements)


def malformed_call(name: str, why: str) -> CheckpointRejected:
    """'tensor_call_malformed': the arguments are not those that torch writes."""
    return refusal(
        "tensor_call_malformed",
        f"Tensor '{excerpt(name)}' is described in a way that torch.save never writes: {why}.",
        SAVE_AGAIN,
        where=name,
    )


def _unwrap_parameter(name: str, value: Any) -> tuple[Any, bool]:
    """torch._utils._rebuild_parameter(tensor, requires_grad, hooks) → tensor, requires_grad."""
    if not isinstance(value, Call) or value.function.path != REBUILD_PARAMETER:
        return value, False
    if len(value.args) != 3:
        raise malformed_call(name, f"as a parameter it has {len(value.args)} arguments")
    tensor, requires_grad, hooks = value.args
    _check_extras(name, "as a parameter it", requires_grad, hooks)
    return tensor, requires_grad


def _check_extras(name: str, what: str, requires_grad: Any, hooks: Any, *metadata: Any) -> None:
    """What stands behind the view: a truth value, and tables with nothing in them."""
    if type(requires_grad) is not bool:
        raise malformed_call(name, f"{what} wants gradients by {excerpt(requires_grad, 40)}")
    if not _is_nothing(hooks):
        raise malformed_call(name, f"{what} brings hooks along, {excerpt(hooks, 40)}")
    if not all(map(_is_nothing, metadata)):
        raise malformed_call(name, f"{what} brings metadata along")


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and not value)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_SIZE


def _sizes(name: str, value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise malformed_call(name, f"its {what}s are not a tuple")
    if len(value) > MAX_DIMS:
        raise malformed_call(name, f"it has {len(value)} dimensions")
    for number in value:
        if not _is_size(number):
            raise malformed_call(name, f"it has a {what} of {excerpt(number, 40)}")
    return value
