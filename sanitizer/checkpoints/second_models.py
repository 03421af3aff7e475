"""Is there another model in the file than the one that is read? Loaders differ in which they take.

open_clip takes the entry 'state_dict' where there is one, else the whole table; others look for 'model',
'ema', or whatever their authors wrote. Free of torch. Source: open_clip 3.3, factory.py, `load_state_dict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from cleanclip.spec.errors import CheckpointRejected
from sanitizer.checkpoints.pickle_values import Call, OtherKey, PersistentId
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.tensor_calls import view
from sanitizer.checkpoints.torch_names import is_tensor_call

OPEN_CLIPS_KEY = "state_dict"
_OPTIMIZERS_KEY = "state"
"""torch.optim writes `state`: parameter → {name: tensor}; torch 2.13, optimizer.py, `state_dict`."""
_MAX_IN_SLOT = 16
"""Tensors and numbers that an optimizer keeps for one parameter; Adam has 4."""
_MAX_SHARE = 0.9
PREFIXES = ("module.", "_orig_mod.", "model.", "clip.", "clip_model.")


def check_is_the_only_one(root: dict[Any, Any], chosen: str) -> None:
    """`root[chosen]` is the table of weights that is read: no other may hold a tensor of the same name.

    Nor may what lies beside it, whatever its names, hold tensors of the shapes of 90 % of the weights; copies
    that an optimizer keeps are none. Raises CheckpointRejected 'ambiguous_weights'.
    """
    if OPEN_CLIPS_KEY in root and chosen != OPEN_CLIPS_KEY:
        raise _ambiguous(f"open_clip would take the entry '{OPEN_CLIPS_KEY}', not the weights in '{chosen}'")
    weights = root[chosen]
    names = {_bare(name) for name in weights if isinstance(name, str)}
    for table in _tables(root, except_for=weights):
        if any(isinstance(key, OtherKey) and _has_call(key.value) for key in table):
            raise _ambiguous("a table beside the weights has a key that is made by a call")
        for name, value in table.items():
            if isinstance(name, str) and is_tensor_call(value) and not names.isdisjoint(_readings(name)):
                raise _ambiguous(f"'{excerpt(name)}' stands in '{chosen}' and once more beside it")
    shapes = Counter(_shape(value) for value in weights.values() if is_tensor_call(value))
    beside = Counter(map(_shape, _tensors_beside(root, weights)))
    if (shapes & beside).total() >= _MAX_SHARE * shapes.total():
        raise _ambiguous(f"beside '{chosen}' lie tensors of the same shapes, under other names or none")


def _ambiguous(why: str) -> CheckpointRejected:
    return refusal(
        "ambiguous_weights",
        f"The file holds several state dicts: {why}.",
        "Upload a file with one of them only.",
    )


def _bare(name: str) -> str:
    """Without the prefixes of wrappers."""
    while found := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(found)
    return name


def _readings(name: str) -> Iterator[str]:
    """`name` without wrappers, and what remains under prefixes of somebody's own ('ema.', 'teacher.')."""
    yield (rest := _bare(name))
    for _ in range(8):
        rest = rest.partition(".")[2]
        if "." not in rest:
            return
        yield rest


def _tables(root: Any, *, except_for: Any) -> Iterator[dict[Any, Any]]:
    """Every table in the pickle, each once, however often it is mentioned."""
    waiting, seen = [root], {id(except_for)}
    while waiting:
        value = waiting.pop()
        inside = _inside(value)
        if inside is None or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            yield value
        waiting += inside


def _has_call(key: Any) -> bool:
    waiting = [key]
    while waiting:
        if isinstance(value := waiting.pop(), Call):
            return True
        waiting += _inside(value) or ()
    return False


def _shape(tensor: Call) -> str:
    """As text: a stranger chooses tuples whose hashes are all the same."""
    try:
        return str(view("", tensor).size)
    except CheckpointRejected:
        return "none"  # refused with its own words, when the tensors are looked at one by one


def _tensors_beside(root: Any, weights: Any) -> Iterator[Call]:
    """Every tensor in the pickle, each once, but those of `weights` and of the optimizers."""
    waiting, seen = [root], {id(weights)}
    while waiting:
        value = waiting.pop()
        inside = _inside(value)
        if inside is None or id(value) in seen:
            continue
        seen.add(id(value))
        if is_tensor_call(value):
            yield value
            continue
        state = value.get(_OPTIMIZERS_KEY) if isinstance(value, dict) else None
        if isinstance(state, dict) and state is not weights:
            inside = [part for part in inside if part is not state]
            waiting += [part for slot in state.values() for part in _beyond_slot(slot)]
        waiting += inside


def _beyond_slot(slot: Any) -> list[Any]:
    """What is no tensor of an optimizer's slot, to be looked at like everything else."""
    if not isinstance(slot, dict) or len(slot) > _MAX_IN_SLOT:
        return [slot]
    return [part for name, part in slot.items() if "." in str(name) or not is_tensor_call(part)]


def _inside(value: Any) -> Iterable[Any] | None:
    if isinstance(value, dict):
        return [*value.values(), *(key for key in value if isinstance(key, OtherKey))]
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Call):
        return value.args
    if isinstance(value, OtherKey | PersistentId):
        return (value.value,)
    return None
