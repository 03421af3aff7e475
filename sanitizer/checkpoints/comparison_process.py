"""`python -m sanitizer.checkpoints.comparison_process FILE CONTAINER KEY`: does torch read the same? As JSON.

A fresh process in which torch.load(weights_only=True) or safetensors opens a file that our own gate has let
through, and every tensor is compared with our reading, bit by bit. Both map the file and give its pages back,
so that memory is bounded by the largest tensor. Most owners do not map it: so each storage is copied, too, as
torch.load does for them.
"""

import ctypes
import mmap
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from pydantic import TypeAdapter
from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from sanitizer.checkpoints.comparison import Compared
from sanitizer.checkpoints.reading import open_upload

_NOT_ALLOWED = re.compile(r"GLOBAL ([A-Za-z_][A-Za-z0-9_.]{0,80}) was not an allowed global")


def compare(path: Path, container: str, key: str) -> Compared:
    """`container`: 'safetensors' or 'torch_zip'; `key`: of the state dict inside, or empty."""
    ours = open_upload(path).tensors
    if container == "safetensors":
        reader = f"safetensors {safetensors.__version__}"
        with safetensors.safe_open(path, framework="pt") as theirs:
            detail = first_difference(ours, set(theirs.keys()), theirs.get_tensor)
    else:
        reader = f"torch.load {torch.__version__}"
        try:
            detail = first_other_copy(path)
            root = {} if detail else torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (pickle.UnpicklingError, RuntimeError, ValueError) as error:
            return Compared(outcome="not_opened", reader=reader, detail=_why(reader, error))
        if detail is None:
            table = root[key] if key else root
            detail = first_difference(ours, set(table), table.__getitem__)
    outcome: Literal["same", "different"] = "same" if detail is None else "different"
    return Compared(outcome=outcome, reader=reader, num_tensors=len(ours), detail=detail or "")


def first_difference(
    ours: Mapping[str, Tensor],
    names: set[str],
    get: Callable[[str], Tensor],
) -> str | None:
    """A name that only one reader has, or whose tensors are not the same bits, shape and dtype."""
    if ours.keys() != names:
        return min(map(str, ours.keys() ^ names))
    for name, tensor in ours.items():
        other = get(name)
        if (tensor.dtype, tensor.shape) != (other.dtype, other.shape):
            return name
        if not torch.equal(_bytes(tensor), _bytes(other)):
            return name
        _give_back(other)
    return None


def first_other_copy(path: Path) -> str | None:
    """A storage of which torch.load without `mmap` makes other bytes: it copies them by code of its own."""
    reader: Any = torch._C.PyTorchFileReader(str(path))  # whose stubs lack a method
    for name in (record for record in reader.get_all_records() if record.startswith("data/")):
        first, size_bytes = reader.get_record_offset(name), reader.get_record_size(name)
        storage = reader.get_storage_from_record(name, size_bytes, torch.UntypedStorage)
        copied = torch.empty(0, dtype=torch.uint8).set_(storage.untyped_storage())
        mapped = torch.from_file(str(path), size=first + size_bytes, dtype=torch.uint8)[first:]
        if not torch.equal(copied, mapped):
            return str(name)
        _give_back(mapped)
    return None


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _give_back(tensor: Tensor) -> None:
    """The pages of a mapped file, which the system reads again where they are needed."""
    storage = tensor.untyped_storage()
    start = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    size_bytes = storage.data_ptr() + storage.nbytes() - start
    if size_bytes > 2**20 and sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size_bytes), mmap.MADV_DONTNEED)


def _why(reader: str, error: Exception) -> str:
    found = _NOT_ALLOWED.search(str(error))
    if found:
        return phrases.NOT_ALLOWED(reader=reader, name=found[1])
    return phrases.STOPS(reader=reader, error=type(error).__name__)


def main(arguments: list[str]) -> int:
    """Exit code 0 with the answer on stdout; anything else is for the caller to tell."""
    path, container, key = arguments
    torch.set_num_threads(1)
    sys.stdout.buffer.write(TypeAdapter(Compared).dump_json(compare(Path(path), container, key)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
