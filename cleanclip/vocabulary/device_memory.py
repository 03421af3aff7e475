"""What an order needs of a device's memory, phase by phase at the peak, and how many images fit.

A closed form over options and model; nothing is measured (decision 0103). Free of torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from cleanclip.vocabulary.control import SEARCHES
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.model_cost import FLOAT, HALF, ModelCost
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe, Recipe
from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, ScanOptions
from cleanclip.vocabulary.uar_recipe import UARRecipe

GB = 10**9
SIZES_GB = (16, 24, 40, 80)
SPREAD = 8
"""Devices that a plan shares a training among."""
RUNTIME_BYTES = 3 * GB // 2
"""Besides tensors: CUDA's context, libraries' workspaces, gaps between blocks. Assumed, not measured."""
IMAGES_PER_PATTERN = 8
"""Of each step of UAR's inversions."""
INVERSION_IMAGES = 512
"""Of the training data, at most, that an inversion sees; 77 MB at 224 pixels."""
_TEXTS_AT_ONCE = 256
_MOST_AT_ONCE = 2**17
_MORE_PIXEL_BYTES = 15
"""Of each number of an image that a pattern is put on: indices, the changed image, its gradient."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Of one device in one phase, at its peak."""

    phase: str
    parameters_bytes: int
    """Of the model and its frozen copies, in float32."""
    training_bytes: int
    """Gradients and the optimizer's moments."""
    activations_bytes: int
    runtime_bytes: int = RUNTIME_BYTES
    option: str
    """Of the order, for how many images or pairs pass together on a device: `at_once`."""
    at_once: int
    largest: Mapping[str, int]
    """GB of a device → the most that fit it; 0: not even one."""
    largest_here: int | None = None
    """That fit the configured worker; None: none is."""

    @property
    def total_bytes(self) -> int:
        return self.parameters_bytes + self.training_bytes + self.activations_bytes + self.runtime_bytes


class _Need(NamedTuple):
    parameters: int
    training: int
    activations: int


def memory_of(
    cost: ModelCost,
    *,
    recipe: Recipe | None = None,
    audit: AuditOptions | None = None,
    scan: ScanOptions | None = None,
    has_anchor: bool = False,
    worker_bytes: int | None = None,
    most_devices: int = 1,
    is_cuda: bool = True,
) -> tuple[Memory, ...]:
    """Of the phases of an audit, a cleaning or a scan, in order. `most_devices` may share a training."""
    found: list[Memory] = []

    def add(phase: str, option: str, at_once: int, need: Callable[[int], _Need]) -> None:
        parts = need(at_once)
        found.append(
            Memory(
                phase=phase,
                parameters_bytes=parts.parameters,
                training_bytes=parts.training,
                activations_bytes=parts.activations,
                option=option,
                at_once=at_once,
                largest={str(size): _most(need, size * GB) for size in SIZES_GB},
                largest_here=None if worker_bytes is None else _most(need, worker_bytes),
            )
        )

    if scan is not None:
        add(
            "scan",
            "scan.images_at_once",
            scan.images_at_once,
            partial(_scan, cost, scan, has_anchor, is_cuda),
        )
    if audit is not None:
        add("baseline_audit", "audit.batch_size", audit.batch_size, partial(_audit, cost, audit))
    if audit is not None and recipe is not None:
        batch_size = recipe.batch_size // sharing(recipe, most_devices)
        at_once = min(recipe.chunk_size or batch_size, batch_size)
        option = "chunk_size" if recipe.freeze_batch_norm_statistics else "batch_size"
        train = partial(_training, cost, recipe, batch_size, is_cuda=is_cuda)
        add("finetune", f"recipe.{option}", at_once, train)
        add("final_audit", "audit.batch_size", audit.batch_size, partial(_final_audit, cost, audit, is_cuda))
        if audit.rebound is not None:
            further = CleanCLIPRecipe(lambda2=0, precision=recipe.precision)
            train = partial(_training, cost, further, batch_size, num_copies=2, is_cuda=is_cuda)
            add("rebound", f"recipe.{option}", at_once, train)
    return tuple(found)


def check_memory(memory: Sequence[Memory], worker_bytes: int | None) -> Iterator[OptionsRejected]:
    """What the configured workers cannot hold. `worker_bytes` None: not known, and nothing is refused."""
    for one in memory:
        if worker_bytes is None or one.total_bytes <= worker_bytes:
            continue
        need, have = one.total_bytes / GB, worker_bytes / GB
        if one.largest_here:
            yield OptionsRejected(
                "does_not_fit",
                f"The phase {one.phase} needs about {need:.1f} GB of memory with {one.option} "
                f"{one.at_once:,}; the workers have {have:.1f} GB.",
                f"The largest {one.option} that fits is {one.largest_here}. Set it, or ask the operator for "
                "workers with more memory.",
                where=one.option,
            )
        else:
            yield OptionsRejected(
                "does_not_fit",
                f"The phase {one.phase} needs more memory than the {have:.1f} GB of the workers, whatever "
                f"{one.option} is.",
                "Ask the operator for workers with more memory.",
                where=one.option,
            )


def sharing(recipe: Recipe, most_devices: int) -> int:
    """As many devices as share out each batch evenly; one where BatchNorm would learn from a part of it."""
    if not recipe.freeze_batch_norm_statistics:
        return 1
    return max(number for number in range(1, most_devices + 1) if recipe.batch_size % number == 0)


def _most(need: Callable[[int], _Need], limit: int) -> int:
    fits, too_many = 0, _MOST_AT_ONCE
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if sum(need(middle)) + RUNTIME_BYTES <= limit:
            fits = middle
        else:
            too_many = middle
    return fits


def _training(
    cost: ModelCost, recipe: Recipe, batch_size: int, at_once: int, *, num_copies: int = 0, is_cuda: bool
) -> _Need:
    """Backward begins with all that was kept; the gradients of a whole batch are not there yet."""
    is_half = recipe.precision != "fp32"
    has_words = isinstance(recipe, UARRecipe) and bool(recipe.trigger_words)
    trains_text = has_words or isinstance(recipe, CleanCLIPRecipe | PARRecipe)
    num_views = 2 if isinstance(recipe, CleanCLIPRecipe) and recipe.lambda2 > 0 else 1
    towers = (cost.image, cost.text) if trains_text else (cost.image,)
    each = sum(tower.kept_bytes(is_half=is_half, trains=True, is_cuda=is_cuda) for tower in towers)
    activations = at_once * num_views * each
    if is_half:
        activations += HALF * sum(tower.matrices for tower in towers)
    copied = num_copies * cost.parameters
    is_whole = at_once >= batch_size
    if isinstance(recipe, PARRecipe | UARRecipe):
        copied += cost.parameters if trains_text else cost.image.parameters
        activations += at_once * cost.image.passing_bytes(is_half=is_half) if is_whole else 0
    if isinstance(recipe, UARRecipe) and recipe.num_inverted:
        together = IMAGES_PER_PATTERN * recipe.num_inverted
        searching = _searching(cost, at_once, together, is_half=is_half, is_cuda=is_cuda, trains=True)
        activations = max(activations, searching + INVERSION_IMAGES * cost.image.pixels)
    staged = 2 * num_views * max(at_once, batch_size) * cost.image.pixels  # this batch and the next
    gradients = FLOAT * sum(tower.parameters for tower in towers)
    if is_whole and activations < gradients:  # then backward ends with more than it began with
        activations = 0
    has_gradients = not is_whole or not activations
    return _Need(
        FLOAT * (cost.parameters + copied), gradients * (3 if has_gradients else 2), activations + staged
    )


def _audit(cost: ModelCost, audit: AuditOptions, at_once: int) -> _Need:
    return _Need(FLOAT * cost.parameters, 0, _passing(cost, at_once, is_half=audit.precision == "bf16"))


def _final_audit(cost: ModelCost, audit: AuditOptions, is_cuda: bool, at_once: int) -> _Need:
    """The input model is there too, and the cleaned one is searched."""
    is_half = audit.precision == "bf16"
    searching = _searching(cost, at_once, _together(SEARCHES), is_half=is_half, is_cuda=is_cuda)
    images = (ScanOptions.num_images + ScanOptions.num_held_out) * cost.image.pixels
    activations = max(_passing(cost, at_once, is_half=is_half), searching + images)
    return _Need(2 * FLOAT * cost.parameters, 0, activations)


def _scan(cost: ModelCost, scan: ScanOptions, has_anchor: bool, is_cuda: bool, at_once: int) -> _Need:
    is_half = scan.precision == "bf16"
    activations = _passing(cost, at_once, is_half=is_half)
    if "collapse" in scan.detectors:
        together = _together((scan.collapse,))
        searching = _searching(cost, at_once, together, is_half=is_half, is_cuda=is_cuda)
        activations = max(activations, searching)
    images = (scan.num_images + scan.num_held_out) * cost.image.pixels
    return _Need(FLOAT * cost.parameters * (1 + has_anchor), 0, activations + images)


def _passing(cost: ModelCost, at_once: int, *, is_half: bool) -> int:
    """Images without gradients; or the texts of classes, which pass in a fixed number."""
    images, texts = (tower.passing_bytes(is_half=is_half) for tower in (cost.image, cost.text))
    return max(at_once * images, _TEXTS_AT_ONCE * texts)


def _searching(
    cost: ModelCost, at_once: int, together: int, *, is_half: bool, is_cuda: bool, trains: bool = False
) -> int:
    """Images under patterns that are optimised: `together` in a step, fewer where fewer may pass at once."""
    kept = cost.image.kept_bytes(is_half=is_half, trains=trains, is_cuda=is_cuda)
    each = kept + _MORE_PIXEL_BYTES * cost.image.pixels
    return min(at_once, together) * each + (HALF * cost.image.matrices if is_half else 0)


def _together(searches: Sequence[CollapseDetectorOptions]) -> int:
    return max(one.restarts * one.images_per_step for one in searches)
