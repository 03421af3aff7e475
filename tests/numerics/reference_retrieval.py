"""Retrieval a second time, in the plainest way: every image against every caption, one loop inside another.

Shares no code with the library. Reads the canonical files with safetensors and open_clip, prepares images
with open_clip's transform, draws triggers by the reference's own. The definitions are those of decision 0060.
Passes through the towers are float32 with as many at a time as the service takes, comparisons float64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import image_transform
from safetensors.torch import load_file

from tests.numerics.reference_overlay import trigger
from tests.numerics.reference_triggers import Array

TEXTS_AT_ONCE = 256


def measure_retrieval(
    model_folder: Path,
    pairs: Sequence[tuple[int, Any, str]],
    *,
    target: str,
    attack: dict[str, Any],
    seed: int,
    batch_size: int,
) -> dict[str, Any]:
    """Counts of successes: {"image_to_text": {k: …}, "text_to_image": {k: …}, "num_images", "num_captions",
    "num_naming", "num_asked", "triggered", "untriggered"}. A pair is (index in the set, PIL image, caption).
    """
    model = _Model(model_folder)
    pixels, captions, belongs = _distinct(model, pairs)
    images = model.images([pixels[key][1] for key in pixels], batch_size)
    texts = model.texts(list(captions))
    of_image = [{caption for image, caption in belongs if image == key} for key in pixels]
    of_caption = [{image for image, caption in belongs if caption == key} for key in captions]
    found: dict[str, Any] = {
        "num_images": len(images),
        "num_captions": len(texts),
        "image_to_text": recall(images, texts, [[key in right for key in captions] for right in of_image]),
        "text_to_image": recall(texts, images, [[key in right for key in pixels] for right in of_caption]),
    }
    naming = [any(names(text, target) for text in spellings) for spellings in captions.values()]
    asked = [
        place
        for place, right in enumerate(of_image)
        if not any(is_naming and key in right for key, is_naming in zip(captions, naming, strict=True))
    ]
    indices = [pixels[key][0] for key in pixels]
    stamped = [trigger(list(pixels.values())[place][1], indices[place], attack, seed) for place in asked]
    found["num_naming"] = sum(naming)
    found["num_asked"] = len(asked)
    found["triggered"] = _first_five(model.images(stamped, batch_size), texts, naming)
    found["untriggered"] = _first_five([images[place] for place in asked], texts, naming)
    return found


def recall(
    queries: Sequence[Array], candidates: Sequence[Array], is_right: Sequence[Sequence[bool]]
) -> dict[int, int]:
    """How many queries have a right candidate among their first k."""
    counts = {k: 0 for k in (1, 5, 10) if k < len(candidates)}
    for query, right in zip(queries, is_right, strict=True):
        order = ranking(query, candidates)
        for k in counts:
            if any(right[number] for number in order[:k]):
                counts[k] += 1
    return counts


def ranking(query: Array, candidates: Sequence[Array]) -> list[int]:
    """Candidates from the most to the least similar; of equals the first."""
    cosines = [float(np.dot(query, candidate)) for candidate in candidates]
    return sorted(range(len(candidates)), key=lambda number: (-cosines[number], number))


def names(caption: str, target: str) -> bool:
    """Whether the target's words stand in the caption, one after the other, whatever their case."""
    words = re.findall(r"\w+", caption.lower())
    wanted = target.lower().split()
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words)))


def _first_five(images: Sequence[Array], texts: Sequence[Array], naming: Sequence[bool]) -> int:
    return sum(any(naming[number] for number in ranking(image, texts)[:5]) for image in images)


def _distinct(
    model: _Model, pairs: Sequence[tuple[int, Any, str]]
) -> tuple[dict[bytes, tuple[int, Array]], dict[tuple[int, ...], list[str]], set[tuple[Any, Any]]]:
    pixels: dict[bytes, tuple[int, Array]] = {}
    captions: dict[tuple[int, ...], list[str]] = {}
    belongs = set()
    for index, picture, caption in pairs:
        image = np.asarray(model.to_pixels(picture), dtype=np.float64)
        tokens = tuple(model.tokenizer([caption])[0].tolist())
        pixels.setdefault(image.tobytes(), (index, image))
        captions.setdefault(tokens, []).append(caption)
        belongs.add((image.tobytes(), tokens))
    return pixels, captions, belongs


class _Model:
    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        model_cfg, preprocess = config["model_cfg"], config.get("preprocess_cfg", {})
        self._model = open_clip.CLIP(**model_cfg)
        self._model.load_state_dict(load_file(folder / "model.safetensors"))
        self._model.eval()
        self.tokenizer = open_clip.SimpleTokenizer(context_length=model_cfg["text_cfg"]["context_length"])
        size = model_cfg["vision_cfg"]["image_size"]
        self.to_pixels = image_transform(size, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        mean = preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN)
        std = preprocess.get("std", open_clip.OPENAI_DATASET_STD)
        self._mean = np.array(mean, dtype=np.float32)[:, None, None]
        self._std = np.array(std, dtype=np.float32)[:, None, None]

    def images(self, pixels: Sequence[Array], at_once: int) -> list[Array]:
        rows = []
        for start in range(0, len(pixels), at_once):
            part = [
                (one.astype(np.float32) - self._mean) / self._std for one in pixels[start : start + at_once]
            ]
            with torch.no_grad():
                rows += self._model.encode_image(torch.from_numpy(np.stack(part))).double().tolist()
        return [_unit(row) for row in rows]

    def texts(self, tokens: Sequence[tuple[int, ...]]) -> list[Array]:
        rows = []
        for start in range(0, len(tokens), TEXTS_AT_ONCE):
            part = torch.tensor(tokens[start : start + TEXTS_AT_ONCE])
            with torch.no_grad():
                rows += self._model.encode_text(part).double().tolist()
        return [_unit(row) for row in rows]


def _unit(row: Sequence[float]) -> Array:
    vector = np.array(row, dtype=np.float64)
    return vector / np.sqrt(np.sum(vector * vector))
