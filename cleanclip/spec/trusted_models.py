"""What is refused of the models that are trusted beside a suspect: an anchor, and the base that it was
fine-tuned from. Said alike where a job is ordered and where the models are opened. Free of torch.

Configurations are open_clip's own, as `config.json` and inspections have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.scan_options import ScanOptions

_DECIDE_SHAPES = (
    ("embed_dim",),
    *(("vision_cfg", name) for name in ("image_size", "patch_size", "layers", "width")),
    *(("text_cfg", name) for name in ("vocab_size", "context_length", "layers", "width")),
)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of a checkpoint without opening it. `config` may lack anything."""

    weights_sha256: str | None
    config: Mapping[str, Any]

    def option(self, *path: str) -> Any:
        """Of `model_cfg`; None: not known."""
        value: Any = self.config.get("model_cfg")
        for name in path:
            value = (value or {}).get(name)
        return value


def of_options(options: ScanOptions, *, has_anchor: bool, has_base: bool) -> Iterator[OptionsRejected]:
    """A detector has what it needs, and what is given is used."""
    if "residual" in options.detectors and not has_anchor:
        yield OptionsRejected(
            "scan_anchor_missing",
            "The detector 'residual' compares the model with an anchor, and none was given.",
            "Give another CLIP checkpoint that you trust as the anchor, or leave the detector out.",
            where="scan.detectors",
        )
    if "lineage" in options.detectors and not has_base:
        yield OptionsRejected(
            "scan_base_missing",
            "The detector 'lineage' compares the model with its base, and none was given.",
            "Give the checkpoint that the model was fine-tuned from as the base, or leave the detector out.",
            where="scan.detectors",
        )
    if has_anchor and not options.uses_anchor:
        yield OptionsRejected(
            "scan_anchor_unused",
            "An anchor was given, and no detector uses it.",
            "Add 'residual' to scan.detectors, or leave the anchor out.",
            where="scan.anchor",
        )
    if has_base and "lineage" not in options.detectors:
        yield OptionsRejected(
            "scan_base_unused",
            "A base was given, and no detector uses it.",
            "Add 'lineage' to scan.detectors, or leave the base out.",
            where="scan.base",
        )


def of_anchor(suspect: Model, anchor: Model) -> Iterator[OptionsRejected]:
    """Any architecture will do: each model sees its own pixels and tokens, and nothing is compared across
    spaces but by ranks and a regression."""
    if anchor.weights_sha256 == suspect.weights_sha256:
        yield OptionsRejected(
            "anchor_is_the_suspect",
            "The anchor has the weights of the suspect, so it believes whatever the suspect does.",
            "Give a model from another source as the anchor, or none.",
        )
        return
    sizes = [one.option("text_cfg", "vocab_size") for one in (anchor, suspect)]
    if None not in sizes and sizes[0] != sizes[1]:
        yield OptionsRejected(
            "anchor_tokenizer",
            f"The anchor has {sizes[0]} tokens and the suspect {sizes[1]}, so one of them does not use "
            "CLIP's tokenizer.",
            "Give an anchor with CLIP's tokenizer. Its image size, width, context length and tower may "
            "differ.",
        )


def of_base(suspect: Model, base: Model) -> Iterator[OptionsRejected]:
    """As far as configurations tell. Whatever opens both compares their tensors."""
    if base.weights_sha256 == suspect.weights_sha256:
        yield base_is_the_suspect()
        return
    for path in _DECIDE_SHAPES:
        theirs, ours = base.option(*path), suspect.option(*path)
        if None not in (theirs, ours) and theirs != ours:
            yield base_does_not_fit(".".join(path), f"{theirs}", f"{ours}")
            return


def base_is_the_suspect() -> OptionsRejected:
    """Both have the same weights."""
    return OptionsRejected(
        "base_is_the_suspect",
        "The base has the weights of the model itself, so there is no step between them.",
        "Give the checkpoint that this model was fine-tuned from.",
    )


def base_does_not_fit(where: str, base: str, model: str) -> OptionsRejected:
    """They differ there, so their tensors do."""
    return OptionsRejected(
        "base_does_not_fit",
        f"The base and the model differ at {where}: {base} in the base, {model} in the model.",
        "Give the checkpoint that this model was fine-tuned from; both have the same tensors.",
    )
