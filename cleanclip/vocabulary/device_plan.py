"""What an order costs on a device before one is rented: memory, operations, and minutes as a range.

Arithmetic over options, counts and the model's shape; nothing is measured (decision 0103). Free of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cleanclip.vocabulary.device_memory import GB, IMAGES_PER_PATTERN, Memory
from cleanclip.vocabulary.model_cost import ModelCost
from cleanclip.vocabulary.recipe import AuditPrecision, CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe

CAPTION_SHARE = 0.25
"""Of its places that a caption fills: those of docs/performance.json did."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """`peak`: operations per second, dense, by NVIDIA's data sheet."""

    name: str
    memory_gb: int
    peak: Mapping[AuditPrecision, float]


GPUS = (
    Gpu(name="L4", memory_gb=24, peak={"bf16": 121e12, "fp32": 30.3e12}),
    Gpu(name="A100", memory_gb=40, peak={"bf16": 312e12, "fp32": 19.5e12}),
    Gpu(name="H100", memory_gb=80, peak={"bf16": 989e12, "fp32": 67e12}),
)
EFFICIENCY: Mapping[AuditPrecision, tuple[float, float]] = {"bf16": (0.06, 0.39), "fp32": (0.2, 0.8)}
"""Shares of the peak."""
SPREAD_EFFICIENCY = (0.5, 1.0)
RESTS_ON = (
    "An estimate: operations follow from the model's shape, captions fill a quarter of their places; "
    "peaks are those of NVIDIA's data sheets. In bf16 published trainings of CLIP reached 6 % of the peak "
    "(OpenCLIP's ViT-B/32 on 128 A100) to 39 % (NeMo's ViT-g/14 on 8 A100). Assumed are 20 to 80 % in fp32, "
    "50 to 100 % of eight times the speed on eight devices, and 1.5 GB of memory besides tensors. Reading "
    "and decoding data are not included."
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations of a phase; None: it is not known how much data there is."""

    flop: float | None
    precision: AuditPrecision
    is_spread: bool = False
    """Whether several devices may share it."""


@dataclass(frozen=True, kw_only=True)
class Minutes:
    """From the fastest to the slowest that is to be expected of so many devices."""

    device: str
    num_devices: int
    low: float
    high: float
    fits: bool
    """Whether the memory of each device is enough, as far as it is known."""


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """Before a device is rented. `rests_on` says what the figures are worth."""

    memory: tuple[Memory, ...]
    """Of one device, in each phase that computes."""
    flop: float | None
    """Of the whole job."""
    minutes: tuple[Minutes, ...]
    rests_on: str = RESTS_ON

    @classmethod
    def of(cls, memory: Mapping[int, Sequence[Memory]], work: Sequence[Work]) -> DevicePlan:
        """`memory` of each device, by how many share the job: of one at least."""
        known = [one.flop for one in work if one.flop is not None]
        is_known = len(known) == len(work) > 0
        return cls(
            memory=tuple(memory[1]),
            flop=sum(known) if is_known else None,
            minutes=tuple(
                _minutes(gpu, num_devices, need, work) for gpu in GPUS for num_devices, need in memory.items()
            )
            if is_known
            else (),
        )

    def sentences(self) -> Iterator[str]:
        """For people."""
        for one in self.memory:
            parts = (one.parameters_bytes, one.training_bytes, one.activations_bytes, one.runtime_bytes)
            parameters, training, activations, runtime = (f"{part / GB:.1f}" for part in parts)
            most = ", ".join(f"{number:,} in {size} GB" for size, number in one.largest.items())
            yield (
                f"Memory of {one.phase}: {one.total_bytes / GB:.1f} GB with {one.option} {one.at_once:,} "
                f"(parameters {parameters}, gradients and optimizer {training}, activations {activations}, "
                f"runtime {runtime}). At most {most} fit."
            )
        if self.flop is not None:
            yield f"Operations: {self.flop / 1e12:,.1f} TFLOP in all."
        if self.minutes:
            yield f"Minutes: {'; '.join(map(_minutes_text, self.minutes))}."
        yield self.rests_on


def _minutes_text(one: Minutes) -> str:
    too_small = "" if one.fits else " if it had the memory"
    return f"{one.num_devices} x {one.device} {one.low:,.1f} to {one.high:,.1f}{too_small}"


def _minutes(gpu: Gpu, num_devices: int, memory: Sequence[Memory], work: Sequence[Work]) -> Minutes:
    ends = []
    for slow in (1, 0):
        seconds = 0.0
        for one in work:
            speed = gpu.peak[one.precision] * EFFICIENCY[one.precision][slow]
            if one.is_spread and num_devices > 1:
                speed *= num_devices * SPREAD_EFFICIENCY[slow]
            seconds += (one.flop or 0.0) / speed
        ends.append(seconds / 60)
    return Minutes(
        device=f"{gpu.name} ({gpu.memory_gb} GB)",
        num_devices=num_devices,
        low=ends[0],
        high=ends[1],
        fits=all(one.total_bytes <= gpu.memory_gb * GB for one in memory),
    )


def training_flop(cost: ModelCost, recipe: Recipe, caption_share: float = CAPTION_SHARE) -> float:
    """For each sample of an update: forward once, backward twice as much."""
    image, text = cost.image.flop, caption_share * cost.text.flop
    is_chunked = (recipe.chunk_size or recipe.batch_size) < recipe.batch_size
    times = 4 if is_chunked else 3
    match recipe:
        case CleanCLIPRecipe():
            return times * (image + text) * (2 if recipe.lambda2 > 0 else 1)
        case PARRecipe():
            return (times + 1) * (image + text)
        case SupervisedRecipe():
            return times * image
        case UARRecipe():
            texts = 0 if recipe.trained_on != "pairs" else times + 1 if recipe.trigger_words else 1
            return (times + 1) * image + texts * text


def inversion_flop(cost: ModelCost, recipe: Recipe) -> float:
    """Of all that UAR inverts: backward to the pixels alone."""
    if not isinstance(recipe, UARRecipe):
        return 0
    num_steps = sum(stage.inversion_steps for stage in recipe.stages())
    return 2 * cost.image.flop * num_steps * recipe.num_inverted * IMAGES_PER_PATTERN
