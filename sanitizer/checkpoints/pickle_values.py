"""What a pickle's names and calls become: inert records, which nothing can import or call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Global:
    """A name that the pickle mentions. Never imported."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """'module.name'."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Call:
    """What would have been `function(*args)`. Never called."""

    function: Global
    args: tuple[Any, ...]


@dataclass(eq=False)
class Instance:
    """What would have been an object of `cls`; `state` is what would have become its attributes."""

    cls: Global
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PersistentId:
    """A reference to something outside the pickle (a storage)."""

    value: Any


@dataclass(eq=False)
class Read:
    """The root value and every global that the pickle mentions."""

    root: Any
    globals: frozenset[Global]


IsAllowed = Callable[[Global], bool]
