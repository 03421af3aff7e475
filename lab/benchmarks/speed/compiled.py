"""Whether torch.compile would pay: forward and backward of the image tower both ways. Knows no table.

The library does not compile. Where this shows that it pays, that is a reason to look again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lab.benchmarks.speed.material import checkpoint
from lab.benchmarks.speed.measuring import in_turn, seconds
from sanitizer.training import towers
from sanitizer.training.device import autocast, share_cores, towers_dtype


def measure(name: str, *, batch_size: int, repetitions: int, device: torch.device) -> dict[str, Any]:
    """One row. `compile_s` is the first call's time; `pays_after_steps` None where it never does."""
    loaded = checkpoint(name)
    model = loaded.model.to(device=device, memory_format=torch.channels_last)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    share_cores(model, device)
    dtype = towers_dtype("auto", device, model)
    side = loaded.architecture.image_size
    images = torch.randn(batch_size, 3, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)

    def pass_s(tower: nn.Module) -> float:
        def both_ways() -> None:
            with autocast(device, dtype):
                features: Tensor = tower(images)
            features.float().square().sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return seconds(both_ways)

    compiled: Any = torch.compile(model.visual)
    print(f"compiling the image tower of {name}", flush=True)
    compile_s = pass_s(compiled)
    pass_s(model.visual)
    row = in_turn(
        lambda: pass_s(model.visual),
        lambda: pass_s(compiled),
        repetitions,
        lambda line: print(line.replace("baseline", "eager").replace("ours", "compiled"), flush=True),
    )
    saved_s = row["baseline_s"]["median"] - row["ours_s"]["median"]
    return {
        "model": name,
        "batch": batch_size,
        "dtype": str(dtype).removeprefix("torch."),
        "compile_s": compile_s,
        "pays_after_steps": round(compile_s / saved_s) if saved_s > 0 else None,
        **row,
    }
