"""One training step: a batch in, one update out.

    towers → unit embeddings → (gathered over ranks) → loss → gradient of the embeddings → towers → update

The loss is differentiated twice over, in two legs that meet at the embeddings. Because the loss sees only
embeddings, their gradient is all that the towers need: so a batch that does not fit can pass in chunks,
first without a graph to know all embeddings, then again with one, each chunk fed its share of the
gradient (cached embeddings: Gao et al. 2021, arXiv 2101.06983). The result is that of the whole batch,
because nothing in the towers mixes the rows of a batch once BatchNorm's statistics are frozen.

Legend: N pairs of this rank's batch (or of a chunk), C H W an image, L places for tokens, D embedding width.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn.functional import normalize

from sanitizer.augment.tensor_images import augment_batch
from sanitizer.checkpoints.text_tower import cut_padding, encode_text
from sanitizer.data.batches import PairBatch
from sanitizer.methods.method import Losses, Method
from sanitizer.training.device import autocast
from sanitizer.training.distributed import World
from sanitizer.training.optimizer import ClipAdamW, clip_gradients
from sanitizer.training.towers import encode_image

Perturb = Callable[[Tensor, slice], Tensor]
"""(uint8 images [N, C, H, W] on the device, their rows in this rank's batch) → pixels in [0, 1]."""

MAX_LOG_SCALE = math.log(100.0)
"""CLIP's bound on its logit scale (Radford et al. 2021, section 2.5)."""


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What one step obeys. `to_input` makes model input (float, normalised) from uint8 pixels;
    `input_model` is the frozen model that came in (for a teacher, its image tower), `class_CD` the unit
    embeddings of the classes, where the method has them."""

    to_input: Callable[[Tensor], Tensor]
    method: Method
    input_model: CLIP | None = None
    class_CD: Tensor | None = None
    chunk_size: int | None
    max_grad_norm: float | None
    towers_dtype: torch.dtype


@dataclass(frozen=True)
class StepResult:
    """The loss of the whole gathered batch, its parts (`Method.parts`), the gradient norm before clipping."""

    loss: float
    parts: Mapping[str, float]
    grad_norm: float

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def take_step(
    model: CLIP,
    optimizer: ClipAdamW,
    batch: PairBatch,
    options: StepOptions,
    world: World,
    *,
    perturb: Perturb | None = None,
) -> StepResult:
    """Compute the gradient of `batch`, clip it, update `model` and clamp its logit scale.

    If the loss or the gradient is not finite, nothing is updated: look at `is_finite`.
    """
    optimizer.zero_grad(set_to_none=True)
    if options.method.trains_text:
        optimizer.expect(batch.tokens_NL)
    optimizer.expect(batch.tokens_view_NL)
    losses = accumulate_gradients(model, batch, options, world, perturb=perturb)
    norm = _clip(model, options)
    names = options.method.parts
    loss, grad_norm, *parts = read_numbers(losses.total, norm, *(losses.parts[name] for name in names))
    result = StepResult(loss=loss, parts=dict(zip(names, parts, strict=True)), grad_norm=grad_norm)
    if result.is_finite:
        optimizer.step()
        clamp_logit_scale(model)
    return result


def _clip(model: CLIP, options: StepOptions) -> Tensor:
    """The norm of all gradients before they are clipped; those of towers that are trained beside each other
    are clipped apart, so that neither changes the other."""
    largest = options.max_grad_norm or math.inf
    if not options.method.inserts_words:
        return clip_gradients(model.parameters(), largest)
    towers: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        towers[name.startswith("visual.")].append(parameter)
    return torch.hypot(*(clip_gradients(tower, largest) for tower in towers.values()))


def read_numbers(first: Tensor, *others: Tensor) -> list[float]:
    """Numbers of the device, in one copy: a step waits for its device here and nowhere else."""
    numbers: list[float] = torch.stack([first, *(one.to(first.dtype) for one in others)]).tolist()
    return numbers


def clamp_logit_scale(model: CLIP) -> None:
    """Keep the logit scale's logarithm in [0, ln 100], in place. A SigLIP's has no such bound, and is not
    trained here."""
    if model.logit_bias is not None:
        return
    with torch.no_grad():
        _log_scale(model).clamp_(0, MAX_LOG_SCALE)


def accumulate_gradients(
    model: CLIP, batch: PairBatch, options: StepOptions, world: World, *, perturb: Perturb | None = None
) -> Losses:
    """Set every parameter's `.grad` to the gradient of the whole gathered batch's loss; return that loss.

    `perturb` changes the images that are trained on, not those of the teacher. What it takes part with in the
    graph gets its gradient too, from this rank's images alone.
    """
    chunks = list(_chunks(len(batch.image_NCHW), options.chunk_size))
    is_cached = len(chunks) > 1
    with torch.no_grad() if is_cached else nullcontext():
        local = _embed_all(model, batch, chunks, options, perturb)
    fixed = _fixed(model, batch, chunks, options, world)
    losses, gradients, scale_gradient = _loss_at_embeddings(model, local, fixed, options, world)
    own = [world.own(gradient) for gradient in gradients]
    if is_cached:
        for rows in chunks:
            embeddings = _embed(model, batch, rows, options, perturb)
            torch.autograd.backward(embeddings, [gradient[rows] for gradient in own])
    else:
        torch.autograd.backward(local, own)
    log_scale = _log_scale(model)
    world.sum_gradients(p for p in model.parameters() if p is not log_scale)
    log_scale.grad = scale_gradient  # of the whole loss already, on every rank
    return Losses(losses.total.detach(), {name: part.detach() for name, part in losses.parts.items()})


def _chunks(num_rows: int, chunk_size: int | None) -> Iterator[slice]:
    size = min(chunk_size or num_rows, num_rows)
    for start in range(0, num_rows, size):
        yield slice(start, start + size)


def _embed_all(
    model: CLIP, batch: PairBatch, chunks: list[slice], options: StepOptions, perturb: Perturb | None = None
) -> list[Tensor]:
    """`_embed` of the whole batch, chunk by chunk."""
    parts = [_embed(model, batch, rows, options, perturb) for rows in chunks]
    return [torch.cat(column) for column in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]


def _embed(
    model: CLIP, batch: PairBatch, rows: slice, options: StepOptions, perturb: Perturb | None = None
) -> list[Tensor]:
    """Unit embeddings of some pairs in the order of `Objective`: two, or four where the method has views;
    else those of images, and of captions with words inserted where the method has them."""
    if not options.method.trains_text:
        own = [_embed_images(model, batch, rows, options, perturb)]
        if options.method.inserts_words:
            assert batch.tokens_view_NL is not None
            own.append(_embed_texts(model, batch.tokens_view_NL[rows], options))
        return own
    device = _log_scale(model).device
    images, texts = [batch.image_NCHW[rows].to(device, non_blocking=True)], [batch.tokens_NL[rows]]
    if options.method.has_views:
        assert batch.tokens_view_NL is not None
        images.append(_image_view(batch, rows, images[0]))
        texts.append(batch.tokens_view_NL[rows])
    pixels = options.to_input(torch.cat(images))
    tokens = cut_padding(model, torch.cat(texts)).to(device, non_blocking=True)
    with autocast(device, options.towers_dtype):
        image_features, text_features = encode_image(model, pixels), encode_text(model, tokens)
    image_parts = _unit(image_features).chunk(len(images))
    text_parts = _unit(text_features).chunk(len(texts))
    return [part for both in zip(image_parts, text_parts, strict=True) for part in both]


def _embed_images(
    model: CLIP, batch: PairBatch, rows: slice, options: StepOptions, perturb: Perturb | None = None
) -> Tensor:
    device = _log_scale(model).device
    pixels = batch.image_NCHW[rows].to(device, non_blocking=True)
    if perturb is not None:
        pixels = perturb(pixels, rows)
    with autocast(device, options.towers_dtype):
        return _unit(encode_image(model, options.to_input(pixels)))


def _embed_texts(model: CLIP, tokens_NL: Tensor, options: StepOptions) -> Tensor:
    device = _log_scale(model).device
    tokens = cut_padding(model, tokens_NL).to(device, non_blocking=True)
    with autocast(device, options.towers_dtype):
        return _unit(encode_text(model, tokens))


def _image_view(batch: PairBatch, rows: slice, image_NCHW: Tensor) -> Tensor:
    """The augmented view of the rows' images, which are `image_NCHW` already; on their device."""
    if batch.operation_N2 is not None:
        return augment_batch(image_NCHW, batch.operation_N2[rows])
    assert batch.image_view_NCHW is not None
    return batch.image_view_NCHW[rows].to(image_NCHW.device, non_blocking=True)


def _fixed(
    model: CLIP, batch: PairBatch, chunks: list[slice], options: StepOptions, world: World
) -> list[Tensor]:
    """What the objective takes beside the embeddings that are trained, of all ranks."""
    if options.method.has_teacher:
        assert options.input_model is not None
        with torch.no_grad():
            parts = [_embed_images(options.input_model, batch, rows, options) for rows in chunks]
            before = [torch.cat(parts)]
            if options.method.reads_captions:
                # Where the text tower is not trained, the teacher shares it.
                texts = options.input_model if options.method.inserts_words else model
                parts = [_embed_texts(texts, batch.tokens_NL[rows], options) for rows in chunks]
                before.append(torch.cat(parts))
        return [world.gather(part) for part in before]
    if options.class_CD is not None:
        label_N = batch.tokens_NL[:, 0].to(options.class_CD.device, non_blocking=True)
        return [world.gather(label_N), options.class_CD]
    if options.input_model is not None:
        with torch.no_grad():
            before = _embed_all(options.input_model, batch, chunks, options)
        return [world.gather(part) for part in before]
    return []


def _unit(features_ND: Tensor) -> Tensor:
    if features_ND.dtype in (torch.float16, torch.bfloat16):
        features_ND = features_ND.float()
    return normalize(features_ND, dim=-1)


def _loss_at_embeddings(
    model: CLIP, local: list[Tensor], fixed: list[Tensor], options: StepOptions, world: World
) -> tuple[Losses, list[Tensor], Tensor | None]:
    """The loss over all ranks' rows, its gradient at every embedding, and at the logit scale's logarithm,
    which is None where the method does not train it."""
    leaves = [world.gather(tensor).requires_grad_() for tensor in local]
    log_scale = _log_scale(model)
    losses = options.method.objective([*leaves, *fixed], log_scale.exp())
    *gradients, scale_gradient = torch.autograd.grad(losses.total, [*leaves, log_scale], allow_unused=True)
    return losses, gradients, scale_gradient


def _log_scale(model: CLIP) -> nn.Parameter:
    parameter = model.logit_scale
    assert isinstance(parameter, nn.Parameter)
    return parameter
