"""A pickle read as data. There is nothing here that could import, call or construct what the pickle names.

Python's own unpickler is not used: a file is first walked opcode by opcode against an allowlist, then a small
stack machine of our own builds dicts, lists and scalars, and inert records (`Global`, `Call`, `Instance`)
for everything else. A pickle that asks for os.system yields at most a record that says so, and is refused.
Source of the opcodes' meaning: CPython, Lib/pickletools.py.

Attributes that a pickle gives to a table: torch's `_metadata` on a state dict, and nothing else.

We drop it; `load_state_dict` obeys it, so it may say no more than what torch.save writes.

Filling a table with keys that the file chose, in a time that grows with their number and no faster.

Python's texts are hashed with a secret; its numbers and tuples are not, so many can be made to collide: even
numbers below 2^31 can be chosen so that each is looked for in the place of every other.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.pickle_grammar import instructions, malformed
from sanitizer.checkpoints.pickle_values import (
    Call,
    Global,
    Instance,
    IsAllowed,
    NumberKey,
    OtherKey,
    PersistentId,
    Read,
)
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal

_MAX_BITS = 64
_UNHASHABLE = (list, dict)


def fill(table: dict[Any, Any], flat: list[Any], member: str) -> None:
    """Put key, value, key, value… into `table`.

    Raises CheckpointRejected 'pickle_duplicate_key', 'pickle_malformed'.
    """
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        kept = _kept(key, member)
        if kept in table:
            raise duplicate_key(member, key)
        table[kept] = value


def duplicate_key(member: str, key: object) -> CheckpointRejected:
    return refusal(
        "pickle_duplicate_key", f"'{member}' gives the key '{excerpt(key)}' twice.", UPLOAD_AGAIN, where=key
    )


def _kept(key: Any, member: str) -> Any:
    """A text as it is, a number in a NumberKey, anything else in an OtherKey: no weight has such a name."""
    if isinstance(key, str):
        return key
    if isinstance(key, int):
        if key.bit_length() > _MAX_BITS:
            raise malformed(member, f"uses as a key a number of {key.bit_length()} bits")
        return NumberKey(key)
    if isinstance(key, _UNHASHABLE):
        raise malformed(member, "uses a key that is not a plain value")
    return OtherKey(key)


def first_attribute(state: Any) -> str:
    """The first attribute that `state` would set, for a sentence."""
    if isinstance(state, dict) and state:
        return f"attribute '{excerpt(next(iter(state)), 40)}'"
    return "slots"


def metadata_in(state: Any, member: str) -> dict[Any, Any]:
    """`_metadata` of a saved OrderedDict, its one attribute. Raises CheckpointRejected 'pickle_malformed'."""
    if not isinstance(state, dict):
        raise malformed(member, "sets slots of a dict, which has none")
    others = {key: None for key, value in state.items() if key != "_metadata" or not isinstance(value, dict)}
    if others:
        what = first_attribute(others)
        raise malformed(member, f"sets the {what} of a table, which no saved state dict does")
    metadata: dict[Any, Any] = state.get("_metadata", {})
    return metadata


def check_metadata(tables: Iterable[dict[Any, Any]], member: str) -> None:
    """A version for each module; asked for at the pickle's end, since a table may be filled after its use.

    Raises CheckpointRejected 'pickle_malformed', for example for "assign_to_params_buffers".
    """
    for metadata in {id(table): table for table in tables}.values():  # one may be given to many
        for path, entry in metadata.items():
            if not isinstance(entry, dict) or not all(map(_is_version, entry.items())):
                raise malformed(member, f"says more of the module '{excerpt(path, 40)}' than its version")


def _is_version(item: tuple[Any, Any]) -> bool:
    return item[0] == "version" and (item[1] is None or type(item[1]) is int)


MAX_PICKLE_BYTES = 64 * 2**20
MAX_OPCODES = 1_000_000
MAX_NAME_CHARACTERS = 1000

_PUSH = {
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OTHERS = {
    "PROTO", "FRAME", "STOP", "MARK", "TUPLE", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM",
    "SETITEMS", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL",
    "REDUCE", "NEWOBJ", "BUILD", "BINPERSID",
}  # fmt: skip
ALLOWED_OPCODES = _PUSH | set(_TUPLES) | _OTHERS


_MARK, _EMPTY = object(), object()


def read_pickle(data: bytes, *, member: str, is_allowed: IsAllowed, has_instances: bool = False) -> Read:
    """Walk, then build. `has_instances`: NEWOBJ makes an inert Instance (TorchScript), else it is refused.

    Raises CheckpointRejected: 'pickle_too_large', 'pickle_malformed', 'pickle_forbidden_opcode',
    'pickle_forbidden_global', 'pickle_duplicate_key'.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise refusal(
            "pickle_too_large",
            f"'{member}' has more than {MAX_PICKLE_BYTES} bytes.",
            SAVE_AGAIN,
            where=member,
        )
    walk(data, member=member, is_allowed=is_allowed)
    machine = _Machine(member, is_allowed, has_instances=has_instances)
    for name, argument in instructions(data, member):
        try:
            machine.step(name, argument)
        except _BrokenError as error:
            raise malformed(member, str(error)) from None
        except IndexError:
            raise malformed(member, f"breaks its stack: {name} finds the stack empty") from None
    if len(machine.stack) != 1:
        raise malformed(member, f"leaves {len(machine.stack)} values at its end")
    check_metadata(machine.metadata, member)
    return Read(machine.stack[0], frozenset(machine.globals), tuple(machine.calls), tuple(machine.references))


def walk(data: bytes, *, member: str, is_allowed: IsAllowed) -> None:
    """Look at every opcode without building anything. Raises as `read_pickle` does."""
    for count, (name, argument) in enumerate(instructions(data, member)):
        if count >= MAX_OPCODES:
            raise refusal(
                "pickle_too_large",
                f"'{member}' has more than {MAX_OPCODES} steps.",
                SAVE_AGAIN,
                where=member,
            )
        if name not in ALLOWED_OPCODES:
            raise _forbidden_opcode(name, member)
        if name == "GLOBAL":
            _check_global(_split(str(argument)), member, is_allowed)


class _BrokenError(Exception):
    """The pickle does what no pickler writes; the message continues 'it …'."""


def _forbidden_opcode(name: str, member: str) -> CheckpointRejected:
    return refusal(
        "pickle_forbidden_opcode",
        f"'{member}' uses the pickle instruction {name}, which no saved state dict needs.",
        SAVE_AGAIN,
        where=f"{member}: {name}",
    )


def _split(argument: str) -> Global:
    module, _, name = argument.partition(" ")
    return Global(module, name)


def _check_global(named: Global, member: str, is_allowed: IsAllowed) -> None:
    num_characters = len(named.module) + len(named.name)
    if num_characters > MAX_NAME_CHARACTERS:  # every later look at it would cost its length again
        raise malformed(member, f"names something by {num_characters} characters")
    if not is_allowed(named):
        raise refusal(
            "pickle_forbidden_global",
            f"'{member}' names {excerpt(named.path)}, which no state dict needs; such names can run code.",
            SAVE_AGAIN,
            where=f"{member}: {named.path}",
        )


class _Machine:
    """A stack, a memo, and one method per kind of opcode. Values are inert whatever the pickle says."""

    def __init__(self, member: str, is_allowed: IsAllowed, *, has_instances: bool) -> None:
        self.stack: list[Any] = []
        self.globals: set[Global] = set()
        self.calls: list[Call] = []
        self.references: list[PersistentId] = []
        self.metadata: list[dict[Any, Any]] = []
        # A list, because the file chooses the numbers of the slots and can make them collide in a table.
        self._memo: list[Any] = []
        self._num_memoized = 0
        self._member = member
        self._is_allowed = is_allowed
        self._has_instances = has_instances

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self.stack.append(_CONSTANTS.get(name, argument))
        elif name in _TUPLES:
            self._tuple(_TUPLES[name])
        else:
            getattr(self, f"_do_{name.lower()}")(argument)

    def _tuple(self, count: int) -> None:
        items = tuple(self.stack[len(self.stack) - count :])
        if len(items) != count or any(item is _MARK for item in items):
            raise IndexError
        del self.stack[len(self.stack) - count :]
        self.stack.append(items)

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise IndexError
        return value

    def _pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _do_proto(self, argument: int) -> None:
        pass  # checked with the grammar

    def _do_frame(self, argument: int) -> None:
        pass  # only a hint for readers that buffer

    def _do_stop(self, argument: None) -> None:
        pass

    def _do_mark(self, argument: None) -> None:
        self.stack.append(_MARK)

    def _do_tuple(self, argument: None) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def _do_empty_list(self, argument: None) -> None:
        self.stack.append([])

    def _do_append(self, argument: None) -> None:
        self._extend([self._pop()])

    def _do_appends(self, argument: None) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise _BrokenError("appends to a value that is not a list")
        self.stack[-1].extend(items)

    def _do_empty_dict(self, argument: None) -> None:
        self.stack.append({})

    def _do_setitem(self, argument: None) -> None:
        value = self._pop()
        self._update([self._pop(), value])

    def _do_setitems(self, argument: None) -> None:
        self._update(self._pop_to_mark())

    def _update(self, flat: list[Any]) -> None:
        table = self.stack[-1]
        if not isinstance(table, dict) or len(flat) % 2:
            raise _BrokenError("sets items of a value that is not a dict, or half an item")
        fill(table, flat, self._member)

    def _put(self, index: int) -> None:
        if self.stack[-1] is _MARK:
            raise IndexError
        if index > MAX_OPCODES:  # picklers count from zero
            raise _BrokenError(f"writes memo slot {index}")
        self._memo += [_EMPTY] * (index + 1 - len(self._memo))
        self._num_memoized += self._memo[index] is _EMPTY
        self._memo[index] = self.stack[-1]

    def _do_binput(self, argument: int) -> None:
        self._put(argument)

    _do_long_binput = _do_binput

    def _do_memoize(self, argument: None) -> None:
        self._put(self._num_memoized)

    def _do_binget(self, argument: int) -> None:
        if argument >= len(self._memo) or self._memo[argument] is _EMPTY:
            raise _BrokenError(f"fetches memo slot {argument}, which holds nothing")
        self.stack.append(self._memo[argument])

    _do_long_binget = _do_binget

    def _do_global(self, argument: str) -> None:
        self._mention(_split(argument))

    def _do_stack_global(self, argument: None) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _BrokenError("uses a name that is not text")
        self._mention(Global(module, name))

    def _mention(self, named: Global) -> None:
        _check_global(named, self._member, self._is_allowed)
        self.globals.add(named)
        self.stack.append(named)

    def _do_reduce(self, argument: None) -> None:
        args, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise _BrokenError("calls a value that is not a name, or with arguments that are not a tuple")
        if function.path == "collections.OrderedDict":
            if args:  # a table that torch would fill from lists, unseen by whoever looks for tables
                raise _BrokenError("fills a table by a call")
            self.stack.append(OrderedDict())
        else:
            self.calls.append(Call(function, args))
            self.stack.append(self.calls[-1])

    def _do_newobj(self, argument: None) -> None:
        args, cls = self._pop(), self._pop()
        if not self._has_instances:
            raise _forbidden_opcode("NEWOBJ", self._member)
        if not isinstance(cls, Global):
            raise _BrokenError("makes an object of a value that is not a class")
        if args != ():
            raise _BrokenError("makes an object with arguments")
        self.stack.append(Instance(cls))

    def _do_build(self, argument: None) -> None:
        state = self._pop()
        target = self.stack[-1]
        if isinstance(target, Instance):
            if not isinstance(state, dict):
                raise _BrokenError("gives an object a state that is not a dict")
            if target.is_built:
                raise _BrokenError("gives an object its state twice")
            target.state, target.is_built = state, True
        elif isinstance(target, OrderedDict):
            self.metadata.append(metadata_in(state, self._member))
        elif not (isinstance(target, Call) and target.function.path == _HAS_STATE):
            # The state of an inert call is dropped.
            raise _BrokenError(f"sets the {first_attribute(state)} of a value that has none")

    def _do_binpersid(self, argument: None) -> None:
        self.references.append(PersistentId(self._pop()))
        self.stack.append(self.references[-1])


_HAS_STATE = "numpy.dtype"  # its byte order comes by BUILD; nothing else that is stepped over has a state
