"""What `make gpu` measures with: a model and images, the operator's or made once. Measures nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import torch

from cleanclip.vocabulary.jobspec import CONFIG_NAME
from cleanclip.vocabulary.model_cost import ModelCost, cost_of
from cleanclip.vocabulary.progress import ignore
from cleanclip.vocabulary.recipe import DeclaredOptions
from lab.benchmarks.speed.material import checkpoint, pictures, write_labelled, write_pairs
from lab.testbed.writing import made_whole
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.cli.canonical import canonical
from sanitizer.data.images import decode
from tests.fixtures.audited import ORIGIN, write_answered


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to measure. `folder` keeps what is made for it, `results` what was measured."""

    device: torch.device
    device_name: str
    device_bytes: int
    is_quick: bool
    model: str | None
    """A checkpoint's path, or open_clip's name of one that was downloaded. None: random weights."""
    data: Path | None
    """With the folders labelled/ and pairs/; one that is missing is made."""
    folder: Path
    results: Path

    @property
    def made_model(self) -> str:
        """Of the benchmarks' random weights."""
        return "tiny ViT" if self.is_quick else "ViT-B/32"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"object {number}" for number in range(12 if self.is_quick else 1_000))

    @property
    def checkpoint(self) -> Path:
        return made_whole(self.folder / "model", self._write_model)

    @property
    def cost(self) -> ModelCost:
        cost = cost_of(json.loads((self.checkpoint / CONFIG_NAME).read_text(encoding="utf-8")))
        assert cost is not None
        return cost

    def images(self, kind: str) -> Path:
        """ "pairs", "labelled", or "few": others with labels, for the audits around updates."""
        if self.data is not None and (self.data / kind).is_dir():
            return self.data / kind
        makers: dict[str, Callable[[Path], object]] = {
            "pairs": partial(write_pairs, num_pairs=96 if self.is_quick else 65_536, num_different=2_000),
            "few": partial(write_labelled, num_images=64, num_classes=8),
            "labelled": self._write_labelled,
        }
        return made_whole(self.folder / kind, makers[kind])

    def _write_labelled(self, folder: Path) -> None:
        """The labels are the model's own answers: an audit refuses a model that is no better than chance."""
        size, num = self.cost.image_size, 192 if self.is_quick else 4_096
        images = [decode(picture).resize((size, size)) for picture in pictures(num)]
        write_answered(folder, self.checkpoint, images, self.classes)

    def _write_model(self, folder: Path) -> None:
        if self.model is None:
            made = checkpoint(self.made_model)
            size, visual = made.architecture.image_size, made.model.visual
            images = [np.asarray(decode(picture).resize((size, size))) for picture in pictures(64)]
            image_NCHW = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 128 - 1
            with torch.no_grad():  # random weights give all images one embedding: without it they differ
                mean_D = made.model.encode_image(image_NCHW).mean(dim=0)
                visual.ln_post.bias -= torch.linalg.lstsq(visual.proj.T, mean_D).solution
            write_canonical(folder, made.model.state_dict(), made.architecture, ORIGIN)
            return
        path = Path(self.model)
        if not path.exists():
            name, _, pretrained = self.model.partition(":")
            path = Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, pretrained)))
        if canonical(path, folder, DeclaredOptions(), ignore) == path:
            shutil.copytree(path, folder)
