"""What is refused of an anchor, the model that is trusted beside a suspect. Said alike where a job is ordered
and where the models are opened. Free of torch.

Configurations are open_clip's own, as `config.json` and inspections have them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.scan_options import ScanOptions


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


def of_options(options: ScanOptions, *, has_anchor: bool) -> Iterator[OptionsRejected]:
    """A detector has what it needs, and what is given is used."""
    if "residual" in options.detectors and not has_anchor:
        yield OptionsRejected(
            "scan_anchor_missing",
            "The detector 'residual' compares the model with an anchor, and none was given.",
            "Give another CLIP checkpoint that you trust as the anchor, or leave the detector out.",
            where="scan.detectors",
        )
    if has_anchor and "residual" not in options.detectors:
        yield OptionsRejected(
            "scan_anchor_unused",
            "An anchor was given, and no detector uses it.",
            "Add 'residual' to scan.detectors, or leave the anchor out.",
            where="anchor_checkpoint_id",
        )


def of_anchor(suspect: Model, anchor: Model) -> Iterator[OptionsRejected]:
    """Any architecture will do: each model sees its own pixels and tokens, and nothing is compared across
    spaces but by ranks and a regression."""
    if anchor.weights_sha256 == suspect.weights_sha256:
        yield OptionsRejected(
            "anchor_is_the_suspect",
            "The anchor has the weights of the suspect, so it believes whatever the suspect does.",
            "Give a model from another source as the anchor, or none.",
            where="anchor_checkpoint_id",
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
            where="anchor_checkpoint_id",
        )
