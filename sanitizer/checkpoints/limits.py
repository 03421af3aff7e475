"""Bounds that no CLIP reaches, and names and sizes checked against them. Free of torch."""

import math
from collections.abc import Iterable

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal

MAX_TENSORS = 20_000
MAX_DIMS = 8
MAX_NAME_LENGTH = 256
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
NO_CLIP = "No CLIP has that many: upload the weights of one CLIP model."


def checked_name(name: object) -> str:
    """`name` if it can be a tensor's name. Raises CheckpointRejected 'tensor_name_invalid'."""
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise refusal(
            "tensor_name_invalid",
            f"'{excerpt(name)}' is not a name of a tensor.",
            "Save the state dict of the model, whose names are short printable texts.",
            where=name,
        )
    return name


def check_count(num: int) -> None:
    """Raises CheckpointRejected 'too_many_tensors'."""
    if num > MAX_TENSORS:
        raise refusal("too_many_tensors", f"The file has {num} tensors or more.", NO_CLIP)


def tensor_empty(name: str) -> CheckpointRejected:
    return refusal("tensor_empty", f"Tensor '{excerpt(name)}' has no elements.", UPLOAD_AGAIN, where=name)


def num_parameters(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """Trainable numbers of tensors by their canonical names: BatchNorm's statistics are not counted."""
    return sum(element_count(shape) for name, shape in shapes if not name.endswith(_STATISTICS))


def element_count(shape: tuple[int, ...]) -> int:
    """Product of `shape` as an exact integer."""
    return math.prod(shape)
