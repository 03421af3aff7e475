"""The options that all methods of cleaning share. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval, Le
from pydantic import Strict

from cleanclip.vocabulary.bounds import NUMBER, Share

NAMED: dict[str, Any] = {"json_schema_extra": {"required": ["method"]}}
"""Of every method but CleanCLIP, which is meant where a recipe names none."""

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class FinetuningOptions:
    """The options of every method's fine-tuning: AdamW; the learning rate ends by a cosine to zero."""

    epochs: Annotated[int, Interval(ge=1, le=100), NUMBER] = 10
    batch_size: Annotated[int, Interval(ge=2, le=32768), NUMBER] = 64
    chunk_size: Annotated[int, Interval(ge=1, le=32768), NUMBER] | None = None
    """Pairs that pass through the towers at once; smaller than batch_size: gradients by cached embeddings."""
    learning_rate: Annotated[float, Interval(gt=0, le=1), NUMBER] = 1e-5
    weight_decay: Annotated[float, Interval(ge=0, le=10), NUMBER] = 0.1
    beta1: Annotated[float, Interval(ge=0, lt=1), NUMBER] = 0.9
    beta2: Annotated[float, Interval(ge=0, lt=1), NUMBER] = 0.999
    epsilon: Annotated[float, Interval(gt=0, le=1e-2), NUMBER] = 1e-8
    max_grad_norm: Annotated[float, Gt(0), Le(1e6), NUMBER] | None = 1.0
    freeze_batch_norm_statistics: Annotated[bool, Strict()] = True
    precision: Precision = "auto"
    max_skipped_share: Share = 0.01

    @property
    def training_data(self) -> Literal["pairs", "labelled"]:
        """The kind of dataset that is trained on."""
        return "pairs"
