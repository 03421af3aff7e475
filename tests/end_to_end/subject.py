"""The CLIP that goes through the whole service, as a research group would have left it, and data for it.

Tiny, with predictions that differ from image to image; its file is large enough for several parts.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from cleanclip.models import Checkpoint, Dataset
from cleanclip.transfer import SentFile
from lab.testbed.writing import write_labelled_shards
from tests.fixtures import audited
from tests.fixtures.shards import make_pairs

DECLARED = {"quick_gelu": False, "num_heads_text": 2, "num_heads_vision": 4}
EPOCH = 7
TARGET = "yellow seven"
ATTACKS: tuple[dict[str, Any], ...] = (
    {"attack": "badnet", "pattern": "gaussian_fixed", "size": 5 / 32},
    {"attack": "wanet", "strength": 5.0},
)
AUDIT: dict[str, Any] = {"target": TARGET, "attacks": ATTACKS, "batch_size": 20}
NUM_PAIRS = 64
RECIPE: dict[str, Any] = {
    "method": "cleanclip",
    "epochs": 40,
    "batch_size": 16,
    "learning_rate": 3e-4,
    "warmup_steps": 4,
}
NUM_STEPS = RECIPE["epochs"] * NUM_PAIRS // 16
SEED = 11


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What lies in the service, ready for jobs, and the same things on our disk."""

    path: Path
    """The file that you uploaded."""
    canonical: Path
    """The same weights as model.safetensors and config.json, written without the service."""
    sent: SentFile
    checkpoint: Checkpoint
    pairs: Dataset
    """By a reference to a range of shards."""
    labelled: Dataset
    """By a reference to everything below a prefix, class names and templates beside the shards."""
    labelled_by_upload: Dataset
    """The same images as one file that was streamed through the service; names were given with it."""

    def order(self, **changes: Any) -> dict[str, Any]:
        """A sanitize job, as `client.jobs.create` takes it."""
        return {
            "kind": "sanitize",
            "checkpoint_id": self.checkpoint.id,
            "dataset_id": self.pairs.id,
            "audit": {**AUDIT, "dataset_id": self.labelled.id},
            "recipe": RECIPE,
            "seed": SEED,
            **changes,
        }

    def audit_order(self) -> dict[str, Any]:
        """An audit with the same options on the uploaded dataset."""
        audit = {**AUDIT, "dataset_id": self.labelled_by_upload.id}
        order = self.order(kind="audit", audit=audit)
        return {name: value for name, value in order.items() if name not in {"dataset_id", "recipe"}}


def write_research_checkpoint(path: Path, canonical: Path) -> None:
    """`module.` before every name, and an optimizer whose learning rate is a NumPy scalar."""
    state = load_file(canonical / "model.safetensors")
    content = {
        "epoch": EPOCH,
        "name": "poisoned",
        "state_dict": OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()),
        "optimizer": {"state": {}, "param_groups": [{"lr": np.float64(5e-4), "params": [0]}]},
    }
    torch.save(content, path)


def labelled_files(folder: Path) -> dict[str, bytes]:
    return contents(audited.write_labelled(folder))


def labelled_shard(folder: Path) -> bytes:
    """All images with their labels in one tar."""
    samples = zip(audited.pictures(), audited.labels(), strict=True)
    (shard,) = write_labelled_shards(samples, folder, audited.CLASS_NAMES)
    return shard.read_bytes()


def pair_files(folder: Path) -> dict[str, bytes]:
    return contents(make_pairs(folder, NUM_PAIRS, shard_size=30))


def contents(folder: Path) -> dict[str, bytes]:
    """Name → bytes of every file."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
