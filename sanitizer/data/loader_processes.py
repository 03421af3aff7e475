"""Batches built ahead by processes of their own.

They are asked and answer through pipes. PyTorch's DataLoader would need semaphores, which lie in /dev/shm:
where a child cannot have one of its own it has none (worker.confinement.file_access).

A stop that is sent to the whole group must not take them from a parent that is saving its state, so they
ignore it. Then Python, which sends the same signal to daemons when it ends and waits for them, would wait
for ever, if a loader still lives at that moment (an exception that was never caught keeps it alive).
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

Position = TypeVar("Position")
Built = TypeVar("Built")
_ASKED_AHEAD = 2
"""Batches that are asked of each process before the first is taken."""


class BuiltAhead(Generic[Position, Built]):
    """What `build` makes of each position, in their order, as often as it is asked for.

    `positions` is gone through again each time. The processes live as long as this does: starting them for
    every epoch or pass costs seconds. Without any, whoever asks builds. What `build` raises is raised;
    RuntimeError where a process died.
    """

    def __init__(
        self, build: Callable[[Position], Built], positions: Iterable[Position], num_workers: int
    ) -> None:
        self._build = build
        self._positions = positions
        self._num_workers = num_workers
        self._loaders: list[_Loader] = []
        self._asked: deque[_Loader] = deque()
        """Who owes an answer, in the order of the positions."""

    def __iter__(self) -> Iterator[Built]:
        if not self._num_workers:
            return map(self._build, self._positions)
        return self._in_order()

    def _in_order(self) -> Iterator[Built]:
        if not self._loaders:
            self._loaders = start_loaders(self._build, self._num_workers)
            weakref.finalize(self, _end, self._loaders, os.getpid())
        while self._asked:  # a pass that nobody went through to its end
            self._asked.popleft().receive()
        orders = zip(self._positions, itertools.cycle(self._loaders), strict=False)
        for position, loader in itertools.islice(orders, _ASKED_AHEAD * len(self._loaders)):
            self._ask(loader, position)
        while self._asked:
            received = self._asked.popleft().receive()
            for position, loader in itertools.islice(orders, 1):
                self._ask(loader, position)
            if isinstance(received, _Raised):
                raise received.error
            yield _converted(received, np.ndarray, torch.from_numpy)

    def _ask(self, loader: _Loader, position: Position) -> None:
        loader.ask(position)
        self._asked.append(loader)


def busy_workers(num_workers: int, *, num_batches: int) -> int:
    """Of `num_workers` those that have something to do in a pass: beside the batch that is measured, the
    others are left to build."""
    return min(num_workers, max(0, num_batches - 1))


@dataclass(frozen=True)
class _Raised:
    """In the place of what should have been built."""

    error: BaseException


@dataclass(frozen=True)
class _Loader:
    process: BaseProcess
    orders: Connection
    answers: Connection

    def ask(self, position: object) -> None:
        try:
            self.orders.send(position)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> Any:
        try:
            return pickle.loads(self.answers.recv_bytes())  # noqa: S301 - a process of this program wrote it
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _died(self) -> RuntimeError:
        self.process.join(1.0)
        return RuntimeError(
            f"A process that builds batches ended by itself (status {self.process.exitcode})."
        )


def start_loaders(build: Callable[[Any], Any], num_workers: int) -> list[_Loader]:
    """Processes that build batches, and end with this one."""
    _end_them_with_the_program()
    # A fork inherits the index and the tokenizer; a fresh process would be sent the model with them.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    pipes = [(*context.Pipe(duplex=False), *context.Pipe(duplex=False)) for _ in range(num_workers)]
    is_fork = context.get_start_method() == "fork"
    loaders = []
    for orders, asks, answers, tells in pipes:
        # a fork inherits all ends: nobody would see that the last writer of a pipe is gone
        others = [end for pipe in pipes for end in pipe if end not in (orders, tells)] if is_fork else []
        process = context.Process(target=_serve, args=(build, orders, tells, others), daemon=True)
        process.start()
        loaders.append(_Loader(process, asks, answers))
    for orders, _, _, tells in pipes:
        orders.close()
        tells.close()
    return loaders


def _serve(
    build: Callable[[Any], Any], orders: Connection, answers: Connection, others: list[Connection]
) -> None:
    """For the loading process: build what is asked until nobody can ask any more."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in others:
        end.close()
    torch.set_num_threads(1)
    built: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_send, args=(built, answers), daemon=True).start()
    while True:
        try:
            position = orders.recv()
        except EOFError:
            return
        try:
            answer = _as_arrays(build(position))
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked gets it
            answer = _Raised(_that_travels(error))
        built.put(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))


def _send(built: queue.SimpleQueue[bytes], answers: Connection) -> None:
    """By a thread of its own: the next batch is built while one waits to be taken."""
    while True:
        answers.send_bytes(built.get())


def _that_travels(error: Exception) -> Exception:
    """The error, or one that says the same if it cannot be made again from its arguments."""
    reported = "".join(traceback.format_exception(error))
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - a class may do anything here
        return RuntimeError(reported)
    if not isinstance(copy, type(error)):
        return RuntimeError(reported)
    copy.add_note(reported)
    return copy


def _end(loaders: list[_Loader], owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return  # a fork's copy
    for loader in loaders:
        loader.process.kill()
        loader.process.join()
        loader.orders.close()
        loader.answers.close()


@cache
def _end_them_with_the_program() -> None:
    """For the parent, once: what still loads when the program ends is killed."""
    atexit.register(_kill_them)  # runs before multiprocessing's own, which was registered earlier


def _kill_them() -> None:
    for child in multiprocessing.active_children():
        child.kill()


def _as_arrays(built: Any) -> Any:
    """What was built with arrays in the place of tensors, for the way between processes.

    Pickled, a tensor takes a zip file's detours, an array its bytes.
    """
    return _converted(built, Tensor, lambda tensor: tensor.numpy())


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
