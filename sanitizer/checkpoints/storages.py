"""A storage has one type, one length and one place in the file, whoever mentions it. Free of torch.

torch.load keeps the storage that it makes at the first mention of a key, with the type and the length said
there; later mentions get that one whatever they say. A file that says something else at its second mention is
one model for torch and another for a reader that believes each mention, so it is refused.
Source: torch 2.13, torch/serialization.py, `_load`.
"""

from collections.abc import Mapping

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.limits import element_count
from sanitizer.checkpoints.pickle_values import Read
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal
from sanitizer.checkpoints.tensor_calls import Storage, View, storage, view
from sanitizer.checkpoints.torch_names import is_tensor_call
from sanitizer.checkpoints.zip_container import Member


def check_all(read: Read, pickle_name: str) -> dict[str, Storage]:
    """Hold every tensor and storage of a pickle, wherever it lies in it, to the same rules as the weights.

    Returns the storages by key, in the order of their first mention. Raises CheckpointRejected:
    'not_a_tensor', 'tensor_call_malformed', 'storage_has_two_forms', 'tensor_outside_storage'.
    """
    somewhere = f"unnamed, in {pickle_name}"
    found: dict[str, Storage] = {}
    for reference in read.references:
        mentioned = storage(somewhere, reference)
        if found.setdefault(mentioned.key, mentioned) != mentioned:
            raise _two_forms(found[mentioned.key], mentioned, pickle_name)
    for call in read.calls:
        if is_tensor_call(call):
            check_inside(somewhere, view(somewhere, call))
    return found


def member_of(members: Mapping[str, Member], name: str, storage: Storage) -> Member:
    """The bytes of `storage`, which the tensor `name` uses: as many as the pickle says.

    Raises CheckpointRejected: 'tensor_call_malformed', 'storage_missing', 'storage_size_mismatch'.
    """
    member = members.get(f"data/{storage.key}")
    if member is None:
        raise refusal(
            "storage_missing",
            f"The storage '{excerpt(storage.key, 40)}' of '{excerpt(name)}' is not in the file.",
            UPLOAD_AGAIN,
            where=name,
        )
    if member.size_bytes != storage.size_bytes:
        raise refusal(
            "storage_size_mismatch",
            f"The storage of '{excerpt(name)}' has {member.size_bytes} bytes; its pickle claims "
            f"{storage.num_elements} elements of {storage.item_bytes}.",
            UPLOAD_AGAIN,
            where=name,
        )
    return member


def check_inside(name: str, view: View) -> None:
    """torch.load does not refuse a view that reaches beyond its storage: it makes the storage larger.

    Raises CheckpointRejected 'tensor_outside_storage'.
    """
    if 0 in view.size:
        return
    num_elements = view.storage.num_elements
    reach = sum((length - 1) * step for length, step in zip(view.size, view.stride, strict=True))
    last = view.offset + reach
    if last >= num_elements:
        raise refusal(
            "tensor_outside_storage",
            f"Tensor '{excerpt(name)}' reaches beyond the {num_elements} elements of its storage: it has "
            f"{element_count(view.size)}, the last at {last}.",
            UPLOAD_AGAIN,
            where=name,
        )


def _two_forms(first: Storage, second: Storage, pickle_name: str) -> CheckpointRejected:
    return refusal(
        "storage_has_two_forms",
        f"The storage '{excerpt(first.key, 40)}' is mentioned as {_shown(first)} and as {_shown(second)}: "
        "torch.load takes the first, other readers each for itself.",
        SAVE_AGAIN,
        where=f"{pickle_name}: storage {first.key}",
    )


def _shown(storage: Storage) -> str:
    return f"{storage.num_elements} elements of {storage.kind} on {excerpt(storage.device, 40)}"
