"""Gives up the step in hand when a stop is asked for.

On a slow machine one step of a large model takes longer than whoever asks for a stop will wait. Nothing
is lost by giving it up: until the optimizer's update no weight has changed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from open_clip.model import CLIP
from torch import Tensor, nn


class StepAbandoned(Exception):
    """A stop was asked for in the middle of a step."""


@contextmanager
def abandoning(model: CLIP, stop: Callable[[], bool]) -> Iterator[None]:
    """While entered, any pass through `model`, forward or backward, raises StepAbandoned once `stop()`.

    Asked at every convolution and linear layer; changes no value. Not for several ranks, which would wait
    for the one that gave up, nor for BatchNorm statistics that move, which do so in the forward pass.
    """

    def check() -> None:
        if stop():
            raise StepAbandoned

    def before_forward(_module: nn.Module, _inputs: Any) -> None:
        check()

    def after_forward(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _gradient: check())  # type: ignore[no-untyped-call]

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_pre_hook(before_forward) for layer in layers]
    hooks += [layer.register_forward_hook(after_forward) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
