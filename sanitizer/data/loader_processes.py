"""Batches built ahead by processes of their own. Knows no data.

A stop that is sent to the whole group must not take them from a parent that is saving its state, so they
ignore it. Then Python, which sends the same signal to daemons when it ends and waits for them, would wait
for ever, if a loader still lives at that moment (an exception that was never caught keeps it alive).
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Position = TypeVar("Position")
Built = TypeVar("Built")


class BuiltAhead(Generic[Position, Built]):
    """What `build` makes of each position, in their order, as often as it is asked for.

    `positions` is gone through anew each time. The processes live as long as this does: starting them for
    every epoch or pass costs seconds. Without any, whoever asks builds.
    """

    def __init__(
        self, build: Callable[[Position], Built], positions: Iterable[Position], num_workers: int
    ) -> None:
        self._build = build
        self._positions = positions
        self._loader = _loader(build, positions, num_workers) if num_workers else None

    def __iter__(self) -> Iterator[Built]:
        if self._loader is None:
            return map(self._build, self._positions)
        return map(_as_tensors, self._loader)


def busy_workers(num_workers: int, *, num_batches: int) -> int:
    """Of `num_workers` those that have something to do in a pass: beside the batch that is measured, the
    others are left to build."""
    return min(num_workers, max(0, num_batches - 1))


class _ByPosition(Dataset[Any]):
    """The view of a function that a DataLoader wants."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build

    def __getitem__(self, position: Any) -> Any:
        return self._build(position)


def _loader(build: Callable[[Any], Any], positions: Iterable[Any], num_workers: int) -> DataLoader[Any]:
    _end_them_with_the_program()
    return DataLoader(
        _ByPosition(build),
        batch_size=None,
        sampler=positions,
        num_workers=num_workers,
        collate_fn=_as_arrays,
        persistent_workers=True,
        worker_init_fn=_leave_signals_to_the_parent,
        # A fork inherits the index and the tokenizer; a fresh process would be sent the model with them.
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )


def _leave_signals_to_the_parent(_worker: int) -> None:
    """For the loading process, as its first act."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _end_them_with_the_program() -> None:
    """For the parent, once: what still loads when the program ends is killed."""
    atexit.register(_kill_them)  # runs before multiprocessing's own, which was registered earlier


def _kill_them() -> None:
    children = multiprocessing.active_children()
    if children:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would call their death a failure
    for child in children:
        child.kill()


def _as_arrays(built: Any) -> Any:
    """What was built with arrays in the place of tensors, for the way between processes.

    Torch sends a tensor's memory as a file descriptor, through a socket in the temporary folder. The path of
    a socket may have 107 characters; in a job's deep folder it has more, and the batch would never arrive.
    """
    return _converted(built, Tensor, lambda tensor: tensor.numpy())


def _as_tensors(built: Any) -> Any:
    """The inverse of `_as_arrays`."""
    return _converted(built, np.ndarray, torch.from_numpy)


def _converted(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """`value` with every `kind` inside its dataclasses and tuples converted."""
    if isinstance(value, kind):
        return convert(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value,
            **{field.name: _converted(getattr(value, field.name), kind, convert) for field in fields(value)},
        )
    if isinstance(value, tuple):
        parts = [_converted(part, kind, convert) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
