"""Opens what a scan is given: draws and decodes its images once, embeds its class names. Runs no detector.

What cannot be scanned with is refused here, before anything is inverted.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from cleanclip.kinds.scan import check_images, check_names, scanned_names
from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.scan_options import MIN_IMAGES, ScanOptions
from sanitizer.attacks.trigger_images import resize_matrix
from sanitizer.audits.measuring import measuring
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.pixels import normalise, to_model_pixels
from sanitizer.data.skipping import Skipped, good_ones
from sanitizer.perturbations.ascent import Embed
from sanitizer.scans.meter import Meter
from sanitizer.scans.subject import Anchor, Subject, embedded, refuse_alike, refuse_unusable
from sanitizer.seeding import generator
from sanitizer.training.device import towers_dtype
from sanitizer.training.inverting import embedder


@dataclass(frozen=True, kw_only=True)
class ScanImages:
    """Drawn by the seed, decoded and resized once: uint8, [3, H, W] each. The two halves share no image."""

    image_MCHW: Tensor
    held_NCHW: Tensor
    held_index: tuple[int, ...]
    """In the labelled set."""
    held_label: tuple[int, ...]
    labelled_names: tuple[str, ...]
    """Of the classes that `held_label` counts, also where the scan has no class names."""
    skipped: tuple[Skipped, ...]
    num_enlarged: int
    """Images that have fewer pixels than the model takes."""


def class_names_of(labelled: LabelledDataset, options: ScanOptions) -> tuple[str, ...]:
    """Those of the labelled set and the further ones, or none. Raises OptionsRejected."""
    for refusal in check_names(options, labelled.class_names):
        raise refusal
    return scanned_names(options, labelled.class_names)


def draw_images(labelled: LabelledDataset, image_size: int, options: ScanOptions, seed: int) -> ScanImages:
    """Decode as many as the options ask for, in an order drawn by the seed.

    Raises DatasetRejected `scan_too_few_images`, `scan_images_equal` or `scan_one_class`.
    """
    wanted = options.num_images + options.num_held_out
    order = map(int, generator(seed, "scan_images").permutation(len(labelled)))
    skipped: list[Skipped] = []
    pixels: list[Tensor] = []
    index: list[int] = []
    label: list[int] = []
    num_enlarged = 0
    for at, sample in good_ones(labelled, order, skipped):
        pixels.append(to_model_pixels(sample.image, image_size))
        index.append(at)
        label.append(sample.label)
        num_enlarged += min(sample.image.size) < image_size
        if len(pixels) == wanted:
            break
    _check(pixels, label, skipped)
    cut = options.num_images if len(pixels) == wanted else max(MIN_IMAGES, len(pixels) // 3)
    return ScanImages(
        image_MCHW=torch.stack(pixels[:cut]),
        held_NCHW=torch.stack(pixels[cut:]),
        held_index=tuple(index[cut:]),
        held_label=tuple(label[cut:]),
        labelled_names=labelled.class_names,
        skipped=tuple(skipped),
        num_enlarged=num_enlarged,
    )


def _check(pixels: Sequence[Tensor], label: Sequence[int], skipped: Sequence[Skipped]) -> None:
    for refusal in check_images(len(pixels), None):
        refusal.where = str(skipped[0]) if skipped else None
        raise refusal
    if len({image.numpy().tobytes() for image in pixels}) < MIN_IMAGES:
        raise DatasetRejected(
            "scan_images_equal",
            f"Of {len(pixels)} images fewer than {MIN_IMAGES} differ from each other.",
            "Give different images: what one image does shows no universal pattern.",
        )
    for refusal in check_images(None, len(set(label))):
        raise refusal


@contextmanager
def scanning(
    checkpoint: LoadedCheckpoint,
    images: ScanImages,
    options: ScanOptions,
    *,
    class_names: Sequence[str],
    templates: Sequence[str],
    seed: int,
    device: torch.device,
    meter: Meter,
    anchor: LoadedCheckpoint | None = None,
) -> Iterator[Subject]:
    """The model in eval mode on `device`, its weights without gradients, as a subject; then as it was.

    Raises OptionsRejected `scan_classes_alike`; CheckpointRejected `embeddings_not_finite` and
    `embeddings_constant` of an anchor.
    """
    image_MCHW, held_NCHW = images.image_MCHW.to(device), images.held_NCHW.to(device)
    class_CD, at_once = None, options.images_at_once
    if class_names:
        with measuring(checkpoint, device):
            class_CD = class_embeddings(checkpoint, class_names, templates, device)
        class_CD = class_CD.clone().float()  # what is made under inference_mode may not enter a graph
        refuse_alike(class_CD)
    with ExitStack() as stack:
        stack.enter_context(torch.backends.cudnn.flags(deterministic=True, allow_tf32=False))
        known = None
        if anchor is not None:
            embed = stack.enter_context(_frozen(anchor, options, device))
            held_NG = embedded(embed, held_NCHW, at_once, meter)
            refuse_unusable(held_NG, "anchor")
            image_MG = embedded(embed, image_MCHW, at_once, meter)
            known = Anchor(embed=embed, image_MG=image_MG, held_NG=held_NG)
        embed = stack.enter_context(_frozen(checkpoint, options, device))
        yield Subject(
            embed=embed,
            image_MCHW=image_MCHW,
            held_NCHW=held_NCHW,
            class_CD=class_CD,
            label_N=images.held_label,
            seed=seed,
            at_once=at_once,
            meter=meter,
            anchor=known,
        )


@contextmanager
def _frozen(checkpoint: LoadedCheckpoint, options: ScanOptions, device: torch.device) -> Iterator[Embed]:
    """Pixels of any square size → unit embeddings; the model in eval mode, its weights without gradients,
    then as it was but for the layout of its weights, which is the fastest for convolutions from then on."""
    model, architecture = checkpoint.model, checkpoint.architecture
    wanted_gradients = {name: one.requires_grad for name, one in model.named_parameters()}
    model.to(device).eval().requires_grad_(False)
    if device.type == "cpu" or options.precision == "bf16":
        model.to(memory_format=torch.channels_last)
    try:
        yield embedder(
            model,
            lambda pixels: normalise(
                resized(pixels, architecture.image_size), architecture.image_mean, architecture.image_std
            ),
            towers_dtype(options.precision, device, model),
        )
    finally:
        for name, one in model.named_parameters():
            one.requires_grad_(wanted_gradients[name])


def resized(image_NCHW: Tensor, size: int) -> Tensor:
    """Square images at another side, by a triangle filter; a product of matrices, so that gradients are
    deterministic on every device."""
    if image_NCHW.shape[-1] == size:
        return image_NCHW
    weight_SH = resize_matrix(image_NCHW.shape[-1], size).to(image_NCHW)
    return weight_SH @ image_NCHW @ weight_SH.T
