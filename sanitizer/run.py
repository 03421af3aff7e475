"""How something is computed, whatever it is: on what, who hears of it, who may stop it."""

from dataclasses import dataclass

import torch

from cleanclip.vocabulary.progress import Progress, Stop, ignore, never_stop


@dataclass(frozen=True, kw_only=True)
class Run:
    """`stop` is asked again and again; `num_workers` processes decode images ahead."""

    device: torch.device
    progress: Progress = ignore
    stop: Stop = never_stop
    num_workers: int = 0
