"""Where the towers run and in which arithmetic.

Parameters, moments, embeddings and losses are float32 everywhere; `bf16` means that the towers' forward
and backward run under autocast. `auto` chooses bf16
  - on CUDA, where the device supports it;
  - on a CPU with AMX tiles or AVX-512 BF16, for models of at least 20 million parameters outside the token
    table. A smaller one is trained in minutes either way, and gives the same figures on a CPU that has
    neither (docs/decisions/0013; `precision: bf16` asks for it all the same);
and fp32 everywhere else.
"""

import os
from contextlib import AbstractContextManager

import torch
from torch import nn

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.finetuning import Precision

LARGE_MODEL_PARAMETERS = 20_000_000
MAX_LOADER_WORKERS = 12


def pick(requested: str = "auto") -> torch.device:
    """`auto`: CUDA, else Apple's MPS, else CPU. Raises OptionsRejected if a named device is absent."""
    has_mps = torch.backends.mps.is_available()
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise OptionsRejected(
            "unknown_device", f"There is no device named '{requested}'.", "Use auto, cpu, cuda or mps."
        ) from error
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": has_mps}
    if not present.get(device.type, False):
        raise OptionsRejected(
            "device_absent", f"torch finds no '{requested}' device on this machine.", "Use auto or cpu."
        )
    return device


def num_tower_parameters(model: nn.Module) -> int:
    """Parameters that take part in arithmetic: all but embedding tables."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)


def towers_dtype(precision: Precision, device: torch.device, model: nn.Module) -> torch.dtype:
    """The dtype of the towers' arithmetic by the rule above: torch.float32 or torch.bfloat16."""
    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    if device.type == "cpu" and cpu_has_bf16() and num_tower_parameters(model) >= LARGE_MODEL_PARAMETERS:
        return torch.bfloat16
    return torch.float32


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    # torch offers no public name for these two questions.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """The context of a tower's forward pass; does nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def num_granted_cores() -> int:
    """Cores that this process may use: as many as the system lets it run on, at most OMP_NUM_THREADS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores


def share_cores(model: nn.Module, device: torch.device) -> int:
    """Set torch's threads for this process and model; returns how many loader workers to start beside them.

    A small model's parallel regions last microseconds, and threads that wait for each other spin: with one
    thread more than free cores its steps take ten times as long. So on a CPU a small model leaves the
    workers' cores alone and never takes more than four; a large one uses every core, since its regions are
    long and preparing its data costs a tenth of them.
    """
    granted = num_granted_cores()
    if device.type != "cpu":
        return min(granted - 1, MAX_LOADER_WORKERS)
    workers = min(granted // 2, 1 + granted // 8, MAX_LOADER_WORKERS)
    is_small = num_tower_parameters(model) < LARGE_MODEL_PARAMETERS
    torch.set_num_threads(min(granted - workers, 4) if is_small else granted)
    return workers
