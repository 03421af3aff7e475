"""Opens the models that are trusted beside a suspect: an anchor, and the base that it was fine-tuned from.

Raised here, and nowhere else: OptionsRejected `anchor_is_the_suspect`, `anchor_tokenizer`,
`base_is_the_suspect`, `base_does_not_fit`, and for a scan's options `scan_anchor_missing`,
`scan_base_missing`, `scan_anchor_unused`, `scan_base_unused`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.scan_options import ScanOptions
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical


@dataclass(frozen=True, kw_only=True)
class TrustedModels:
    """Canonical checkpoint folders. `anchor` may be of any architecture; `base` has the suspect's."""

    anchor: Path | None = None
    base: Path | None = None


NO_TRUSTED_MODELS = TrustedModels()


def check_needed(options: ScanOptions, trusted: TrustedModels) -> None:
    """A detector has what it needs, and what is given is used."""
    if "residual" in options.detectors and trusted.anchor is None:
        raise OptionsRejected(
            "scan_anchor_missing",
            "The detector 'residual' compares the model with an anchor, and none was given.",
            "Give another CLIP checkpoint that you trust as the anchor, or leave the detector out.",
            where="scan.detectors",
        )
    if "lineage" in options.detectors and trusted.base is None:
        raise OptionsRejected(
            "scan_base_missing",
            "The detector 'lineage' compares the model with its base, and none was given.",
            "Give the checkpoint that the model was fine-tuned from as the base, or leave the detector out.",
            where="scan.detectors",
        )
    if trusted.anchor is not None and not options.uses_anchor:
        raise OptionsRejected(
            "scan_anchor_unused",
            "An anchor was given, and no detector uses it.",
            "Add 'residual' to scan.detectors, or leave the anchor out.",
            where="scan.anchor",
        )
    if trusted.base is not None and "lineage" not in options.detectors:
        raise OptionsRejected(
            "scan_base_unused",
            "A base was given, and no detector uses it.",
            "Add 'lineage' to scan.detectors, or leave the base out.",
            where="scan.base",
        )


def open_anchor(folder: Path, suspect: LoadedCheckpoint) -> LoadedCheckpoint:
    """Any architecture will do: each model sees its own pixels and tokens, and nothing is compared across
    spaces but by ranks and a regression."""
    anchor = load_canonical(folder)
    if anchor.weights_sha256 == suspect.weights_sha256:
        raise OptionsRejected(
            "anchor_is_the_suspect",
            "The anchor has the weights of the suspect, so it believes whatever the suspect does.",
            "Give a model from another source as the anchor, or none.",
        )
    sizes = [one.architecture.text.vocab_size for one in (anchor, suspect)]
    if sizes[0] != sizes[1]:
        raise OptionsRejected(
            "anchor_tokenizer",
            f"The anchor has {sizes[0]} tokens and the suspect {sizes[1]}, so one of them does not use "
            "CLIP's tokenizer.",
            "Give an anchor with CLIP's tokenizer. Its image size, width, context length and tower may "
            "differ.",
        )
    return anchor


def open_base(folder: Path, suspect: LoadedCheckpoint) -> LoadedCheckpoint:
    """A model with the suspect's tensors, by name and shape, and other weights."""
    base = load_canonical(folder)
    theirs, ours = base.model.state_dict(), suspect.model.state_dict()
    for name in sorted(theirs.keys() | ours.keys()):
        shapes = [list(one[name].shape) if name in one else None for one in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise OptionsRejected(
                "base_does_not_fit",
                f"The base and the model differ at the tensor '{name}': {_shape(shapes[0])} in the base, "
                f"{_shape(shapes[1])} in the model.",
                "Give the checkpoint that this model was fine-tuned from; both have the same tensors.",
            )
    if all(bool((theirs[name] == ours[name]).all()) for name in ours):
        raise OptionsRejected(
            "base_is_the_suspect",
            "The base has the weights of the model itself, so there is no step between them.",
            "Give the checkpoint that this model was fine-tuned from.",
        )
    return base


def _shape(shape: list[int] | None) -> str:
    return "it is missing" if shape is None else f"shape {shape}"
