"""What a pickle's names and calls become: inert records, which nothing can import or call."""

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
    is_built: bool = False


@dataclass(frozen=True, eq=False)
class PersistentId:
    """A reference to something outside the pickle (a storage)."""

    value: Any


class NumberKey(int):
    """A whole number as a key, as optimizers number their parameters; hashed as its digits, with a secret."""

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, eq=False)
class OtherKey:
    """A key that is neither text nor a whole number: kept, but compared by identity, so never hashed.

    The file chooses numbers and tuples whose hashes are all the same, and a table of them takes hours.
    """

    value: Any


@dataclass(eq=False)
class Read:
    """The root value; every global, call and reference to a storage, wherever in the pickle they are."""

    root: Any
    globals: frozenset[Global]
    calls: tuple[Call, ...] = ()
    references: tuple[PersistentId, ...] = ()


IsAllowed = Callable[[Global], bool]
