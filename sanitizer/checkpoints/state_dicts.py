"""What torch.save wrote: a state dict, or a research checkpoint with one inside. Never what is beside it.

A research checkpoint carries an optimizer, an epoch, perhaps a scheduler. Those entries are stepped over: the
few globals that they mention (NumPy scalars) become inert records, and the findings say so.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.containers import check_rest
from sanitizer.checkpoints.limits import check_count, checked_name
from sanitizer.checkpoints.origins import MAX_EXTRAS
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.second_models import ambiguous, check_is_the_only_one, check_room
from sanitizer.checkpoints.tensors import LazyTensor, LazyTensors
from sanitizer.checkpoints.torch_archive import TorchArchive
from sanitizer.checkpoints.torch_names import (
    PICKLE_NAME,
    STEPPED_OVER,
    is_allowed_in_state_dict,
    is_tensor_call,
)

_MAX_MENTIONED = 20
WEIGHTS_KEYS = ("state_dict", "model_state_dict", "model")
Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class StateDict:
    """Tensors under the names of the file; `weights_key` and `extras` of a research checkpoint."""

    tensors: LazyTensors
    weights_key: str | None
    extras: dict[str, Scalar]
    findings: tuple[str, ...]


def read_state_dict(archive: TorchArchive) -> StateDict:
    """The weights, and sentences on what was left.

    Raises CheckpointRejected: 'pickle_*', 'tensor_*', 'storage_*', 'not_a_state_dict', 'ambiguous_weights',
    'room_for_another_model'.
    """
    read = archive.read_pickle(is_allowed_in_state_dict)
    weights_key, table, beside = _find_weights(read.root)
    check_count(len(table))
    parts = {checked_name(name): archive.tensor(str(name), value) for name, value in table.items()}
    check_total(parts, archive.file.size_bytes)
    storages = check_rest(archive.file, archive.members, read)
    check_room(read.root, table, storages, archive.members[PICKLE_NAME].size_bytes)
    scalars = [key for key, value in beside.items() if _is_scalar(value)]
    extras = {key: beside[key] for key in scalars[:MAX_EXTRAS]}
    passed = sorted(found.path for found in read.globals if found.path in STEPPED_OVER)
    return StateDict(
        tensors=LazyTensors(parts, archive.file.release),
        weights_key=weights_key,
        extras=extras,
        findings=tuple(_findings(extras, [key for key in beside if key not in extras], passed)),
    )


def check_total(parts: dict[str, LazyTensor], size_bytes: int) -> None:
    """Tensors may share storages, but together they may not be larger than the file."""
    total = sum(part.num_elements * part.dtype.itemsize for part in parts.values())
    if total > size_bytes:
        raise refusal(
            "tensors_exceed_file",
            f"The tensors would take {total} bytes; the file has {size_bytes}.",
            "Save every tensor once: clone tensors that share memory before torch.save.",
        )


def _no_state_dict(message: str) -> CheckpointRejected:
    return refusal("not_a_state_dict", message, SAVE_AGAIN)


def _find_weights(root: Any) -> tuple[str | None, dict[Any, Any], dict[str, Any]]:
    """(key, state dict, what lies beside it)."""
    if not isinstance(root, dict) or not root:
        raise _no_state_dict("The file holds no table of tensors.")
    found = [key for key in WEIGHTS_KEYS if _is_table_of_tensors(root.get(key))]
    if not found and _is_table_of_tensors(root):
        return None, root, {}
    if not found:
        keys = ", ".join(excerpt(getattr(key, "value", key), 24) for key in list(root)[:8])
        raise _no_state_dict(f"No entry of the file is a state dict. Its entries are: {keys}.")
    if len(found) > 1:
        raise ambiguous(", ".join(found))
    check_is_the_only_one(root, found[0])
    beside = {checked_name(key): value for key, value in root.items() if key != found[0]}
    return found[0], root[found[0]], beside


def _is_table_of_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(is_tensor_call(item) for item in value.values())


def _is_scalar(value: Any) -> bool:
    """Small enough to be kept and written back as it is."""
    if isinstance(value, str):
        return len(value) <= 200 and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) < 2**53)


def _findings(extras: Iterable[str], others: list[str], passed: list[str]) -> Iterator[str]:
    for key in others[:_MAX_MENTIONED]:
        yield phrases.ENTRY_SKIPPED(key=key)
    if len(others) > _MAX_MENTIONED:
        yield phrases.ENTRIES_SKIPPED(num=len(others) - _MAX_MENTIONED)
    if extras:
        yield phrases.EXTRAS(names=extras)
    if passed:
        yield phrases.NOT_CALLED(names=passed)
