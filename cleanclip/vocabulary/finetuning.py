"""The options that all methods of cleaning share. Free of torch."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval, Le
from pydantic import Strict

from cleanclip.vocabulary.bounds import NUMBER, Share, described, label


def _with_method(schema: dict[str, Any], kind: type) -> None:
    described(schema, kind)
    schema["required"] = ["method"]


NAMED: dict[str, Any] = {"json_schema_extra": _with_method}
"""Of every method but CleanCLIP, which is meant where a recipe names none."""

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class FinetuningOptions:
    """The options of every method's fine-tuning: AdamW; the learning rate ends by a cosine to zero."""

    epochs: Annotated[int, Interval(ge=1, le=100), NUMBER, label("Epochs")] = 10
    """Passes over the pairs, or over the labelled images."""
    batch_size: Annotated[int, Interval(ge=2, le=32768), NUMBER, label("Batch size", "pairs")] = 64
    """Samples per update, which a contrastive loss compares with each other."""
    chunk_size: Annotated[
        Annotated[int, Interval(ge=1, le=32768), NUMBER] | None, label("Chunk", "pairs", is_advanced=True)
    ] = None
    """Samples that pass through the towers at once, if a batch does not fit into memory; the result is the
    same. null: the whole batch."""
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER, label("Learning rate")] = 1e-5
    """The peak rate; a cosine schedule takes it to zero."""
    weight_decay: Annotated[float, Interval(ge=0, le=10), NUMBER, label("Weight decay", is_advanced=True)] = (
        0.1
    )
    """AdamW's weight decay, for matrices and kernels."""
    beta1: Annotated[float, Interval(ge=0, lt=1), NUMBER, label("Beta 1", is_advanced=True)] = 0.9
    """AdamW's decay rate of the first moment."""
    beta2: Annotated[float, Interval(ge=0, lt=1), NUMBER, label("Beta 2", is_advanced=True)] = 0.999
    """AdamW's decay rate of the second moment."""
    epsilon: Annotated[float, Interval(gt=0, le=1e-2), NUMBER, label("Epsilon", is_advanced=True)] = 1e-8
    """AdamW's epsilon."""
    max_grad_norm: Annotated[
        Annotated[float, Gt(0), Le(1e6), NUMBER] | None, label("Largest gradient", "norm", is_advanced=True)
    ] = 1.0
    """Gradients are scaled down to this norm; null: never."""
    freeze_batch_norm_statistics: Annotated[
        bool, Strict(), label("Freeze BatchNorm statistics", is_advanced=True)
    ] = True
    """Keep the running means and variances of BatchNorm of the input model."""
    precision: Annotated[Precision, label("Precision", is_advanced=True)] = "auto"
    """Precision of the towers in training; auto: bf16 if the hardware computes it fast."""
    max_skipped_share: Annotated[Share, label("Bad samples allowed", "from 0 to 1", is_advanced=True)] = 0.01
    """The data is refused above this share of bad samples."""

    @property
    def training_data(self) -> Literal["pairs", "labelled"]:
        """The kind of dataset that is trained on."""
        return "pairs"
