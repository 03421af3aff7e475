"""One of the processes that train one model: reads its order, trains on its share, says how it ended.

`python -m sanitizer.rank` is started by `sanitizer.ranks.group`; what goes over the two pipes stands in
`sanitizer.ranks.protocol`. Signals are left to the process that starts it.
"""

import multiprocessing
import os
import sys
import threading
from typing import IO

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.progress import Progress, ignore
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.model import load_canonical
from sanitizer.pipeline.opening import ToExclude, open_training_data
from sanitizer.ranks.protocol import CLASSES_NAME, LINE, ORDER, STOP, RankEnded, RankOrder, as_failure
from sanitizer.training.device import share_cores
from sanitizer.training.loop import Finetuned, finetune
from sanitizer.work.running import JsonLines, is_out_of_memory, out_of_memory, take_stdout, write_all

EXIT_ORDERS_ENDED = 1
_MEETING_NAME = "meeting"


def main() -> int:
    """Do what the first line of stdin asks. Errors that are not the library's own crash the process."""
    orders, stream = _take_stdin(), take_stdout()
    order = ORDER.validate_json(orders.readline())
    stop = threading.Event()
    threading.Thread(target=_obey, args=(orders, stop), daemon=True).start()
    tell = JsonLines(stream) if order.rank == 0 else ignore
    try:
        ended = RankEnded(finetuned=_train(order, tell, stop))
    except SanitizerError as error:
        ended = RankEnded(failure=as_failure(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        ended = RankEnded(failure=as_failure(out_of_memory()))
    write_all(stream, LINE.dump_json(ended) + b"\n")
    return 0


def _train(order: RankOrder, tell: Progress, stop: threading.Event) -> Finetuned:
    device = _meet(order)
    checkpoint = load_canonical(order.checkpoint_folder, Architecture.from_config(order.architecture))
    classes = load_file(order.meeting_folder / CLASSES_NAME) if order.has_classes else {}
    finetuned = finetune(
        checkpoint,
        open_training_data(order.training_path, order.recipe, ToExclude(order.exclude)),
        order.recipe,
        seed=order.seed,
        device=device,
        state_folder=order.state_folder,
        save_every_s=order.save_every_s,
        progress=tell,
        stop=stop.is_set,
        num_workers=share_cores(checkpoint.model, device),
        class_CD=classes.get("class_CD"),
    )
    dist.destroy_process_group()
    return finetuned


def _meet(order: RankOrder) -> torch.device:
    """Wait for the other ranks; returns this one's device."""
    device = torch.device("cuda", order.rank) if order.device == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.FileStore(str(order.meeting_folder / _MEETING_NAME), order.num_ranks),  # type: ignore[attr-defined]
        rank=order.rank,
        world_size=order.num_ranks,
        device_id=device if device.type == "cuda" else None,
    )
    return device


def _take_stdin() -> IO[bytes]:
    """The process's stdin as a stream of our own: a forked loader closes its copy of Python's, and would wait
    for whoever reads it here."""
    stream = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return stream


def _obey(orders: IO[bytes], stop: threading.Event) -> None:
    """Until they end, with whoever gives them: then this process does, also in the middle of a collective."""
    for line in orders:
        if line == STOP:
            stop.set()
    for loader in multiprocessing.active_children():
        loader.kill()
    os._exit(EXIT_ORDERS_ENDED)


if __name__ == "__main__":
    sys.exit(main())
