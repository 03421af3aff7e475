"""Is there another model in the file than the one that is read? Loaders differ in which they take.

open_clip takes the entry 'state_dict' where there is one, else the whole table; others look for 'model',
'ema', or whatever their authors wrote, and a model can be written down in any shape. So beside the weights
there is no room for one. Free of torch. Source: open_clip 3.3, factory.py, `load_state_dict`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.limits import element_count
from sanitizer.checkpoints.pickle_values import Call, OtherKey, PersistentId
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.tensor_calls import Storage, view
from sanitizer.checkpoints.torch_names import is_tensor_call

OPEN_CLIPS_KEY = "state_dict"
_OPTIMIZERS_KEY = "state"
"""torch.optim writes `state`: parameter → {name: tensor}; torch 2.13, optimizer.py, `state_dict`."""
_OF_OPTIMIZERS = frozenset(
    {
        "acc_delta", "col_var", "eta", "exp_avg", "exp_avg_diff", "exp_avg_sq", "exp_avg_sq_col",
        "exp_avg_sq_row", "exp_inf", "grad_avg", "max_exp_avg_sq", "momentum_buffer", "mu", "mu_product",
        "prev", "row_var", "square_avg", "step", "step_size", "sum", "variance",
    }
)  # fmt: skip
"""What optimizers keep for a parameter. Not ASGD's `ax` and others' `master_param`: those are weights."""
_MOST_BESIDE_BYTES = 2**18
"""Of tensors beside the weights: counters, and a random state of 5,056 bytes for each process."""
_MOST_PICKLED_BYTES, _PICKLED_BYTES_A_STORAGE = 2**20, 512
"""Of data.pkl: names and calls of its tensors, and as much beside as a safetensors file may have metadata."""
PREFIXES = ("module.", "_orig_mod.", "model.", "clip.", "clip_model.")


def check_is_the_only_one(root: dict[Any, Any], chosen: str) -> None:
    """`root[chosen]` is the table of weights that is read: no other may hold a tensor of the same name.

    Raises CheckpointRejected 'ambiguous_weights'.
    """
    if OPEN_CLIPS_KEY in root and chosen != OPEN_CLIPS_KEY:
        raise ambiguous(f"open_clip would take the entry '{OPEN_CLIPS_KEY}', not the weights in '{chosen}'")
    weights = root[chosen]
    names = {_bare(name) for name in weights if isinstance(name, str)}
    for table in _tables(root, except_for=weights):
        if any(isinstance(key, OtherKey) and _has_call(key.value) for key in table):
            raise ambiguous("a table beside the weights has a key that is made by a call")
        for name, value in table.items():
            if isinstance(name, str) and is_tensor_call(value) and not names.isdisjoint(_readings(name)):
                raise ambiguous(f"'{excerpt(name)}' is in '{chosen}' and once more beside it")


def check_room(
    root: dict[Any, Any], weights: dict[Any, Any], storages: Mapping[str, Storage], pickled_bytes: int
) -> None:
    """What no weight reads and no optimizer keeps must be too little for another model.

    `storages`: all of the file, by key; `pickled_bytes`: of data.pkl. Raises CheckpointRejected
    'room_for_another_model'.
    """
    used: Counter[str] = Counter()
    views = [view(str(name), value) for name, value in weights.items()]
    for one in {str(found): found for found in views}.values():  # as text: the file chooses tuples' hashes
        used[one.storage.key] += element_count(one.size) * one.storage.item_bytes
    room = min(_MOST_BESIDE_BYTES, used.total() // 2)
    for call in _of_optimizers(root, weights):
        kept = view("", call).storage
        used[kept.key] = kept.size_bytes
    spare = sum(max(0, one.size_bytes - used[one.key]) for one in storages.values())
    if spare > room:
        raise _room(f"{spare} bytes of its storages belong to no weight and to no optimizer's state")
    most = _MOST_PICKLED_BYTES + _PICKLED_BYTES_A_STORAGE * len(storages)
    if pickled_bytes > most:
        raise _room(
            f"its data.pkl has {pickled_bytes} bytes, and {len(storages)} tensors need {most} at most"
        )


def _room(why: str) -> CheckpointRejected:
    return refusal(
        "room_for_another_model",
        f"The file has room for a second model beside the weights: {why}.",
        "Upload the state dict alone, with tensors that were cloned before torch.save.",
    )


def ambiguous(why: str) -> CheckpointRejected:
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


def _of_optimizers(root: Any, weights: Any) -> Iterator[Call]:
    """The tensors that optimizers keep for a parameter, by the names under which they do."""
    for table in _tables(root, except_for=weights):
        state = table.get(_OPTIMIZERS_KEY)
        if not isinstance(state, dict) or state is weights:
            continue
        for slot in state.values():
            for name, value in slot.items() if isinstance(slot, dict) else ():
                if name in _OF_OPTIMIZERS and is_tensor_call(value):
                    yield value


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
