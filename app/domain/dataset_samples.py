"""A few samples of a dataset as people see them: what lies in samples.json, beside its summary. Pure.

A worker writes it as a file of the validation, so it goes where that goes: with the dataset. Every image
in it was made by the worker, of pixels; nothing of a customer's file is in it but short texts.
"""

from __future__ import annotations

from dataclasses import dataclass

SAMPLES_NAME = "samples.json"
MAX_SAMPLES_BYTES = 2 * 2**20


@dataclass(frozen=True, kw_only=True)
class DatasetSample:
    """One sample: `caption` of a pair, `label` and `class_name` of a labelled image."""

    index: int
    key: str
    caption: str | None
    label: int | None
    class_name: str | None
    width: int
    height: int
    jpeg_base64: str


@dataclass(frozen=True, kw_only=True)
class DatasetSamples:
    """Drawn by `seed` from all good samples, in the order of the set."""

    object: str = "dataset_samples"
    seed: int
    samples: tuple[DatasetSample, ...]
