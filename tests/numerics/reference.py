"""The independent reference: what a cleaned file does, measured without the library or the service.

`measure` loads `model.safetensors` + `config.json` with safetensors and open_clip alone, prepares images with
open_clip's own transform, and counts CA, ASR and PA in plain loops with its own intervals. Triggers,
intervals, losses and schedule are written a second time beside this file and are offered here under one name.
Comparisons are float64. Passes through the towers are float32, with as many texts and images at a time as the
service takes: other shapes round differently in the last bit, and an image between two classes would flip.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import image_transform
from PIL import Image
from safetensors.torch import load_file

from tests.numerics.reference_overlay import trigger
from tests.numerics.reference_statistics import newcombe, rank_figures, wilson
from tests.numerics.reference_training import cleanclip, contrastive, cosine, learning_rates, one_way
from tests.numerics.reference_triggers import Array, badnet, blended, sig, stream, wanet, wanet_grid

__all__ = [
    "badnet",
    "blended",
    "classify",
    "cleanclip",
    "contrastive",
    "cosine",
    "count",
    "drift",
    "embeddings",
    "learning_rates",
    "mean_direction",
    "measure",
    "newcombe",
    "one_way",
    "probabilities",
    "rank_figures",
    "sig",
    "stream",
    "trigger",
    "wanet",
    "wanet_grid",
    "wilson",
]

AT_ONCE = 256


def measure(
    model_folder: Path | str,
    *,
    images: Sequence[Any],
    labels: Sequence[int],
    class_names: Sequence[str],
    templates: Sequence[str],
    target: str,
    attack: dict[str, Any],
    seed: int,
    batch_size: int = AT_ONCE,
) -> dict[str, Any]:
    """CA, ASR (without and with images of the target, also for the first k), PA, places of the target and the
    floors of one attack.

    `images` are PIL images or uint8 arrays [H, W, 3], in the order of the labelled set; `attack` is an
    attack's options as a report prints them. Every share is {"value", "n", "successes", "low", "high"};
    "smallest_margin" is the least distance, in cosine, between the best and the second class of any image.
    """
    model, config = _load(model_folder)
    classes = _class_directions(model, config, class_names, templates)
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    to_pixels = image_transform(size, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    clean: list[list[float]] = []
    triggered: list[list[float]] = []
    for start in range(0, len(images), batch_size):
        pixels = [
            np.asarray(to_pixels(_picture(image)), dtype=np.float64)
            for image in images[start : start + batch_size]
        ]
        clean += _similarities(model, config, pixels, classes)
        stamped = [trigger(image, start + offset, attack, seed) for offset, image in enumerate(pixels)]
        triggered += _similarities(model, config, stamped, classes)
    return count(clean, triggered, labels, list(class_names).index(target))


def drift(
    before_folder: Path | str,
    after_folder: Path | str,
    *,
    images: Sequence[Any],
    class_names: Sequence[str],
    templates: Sequence[str],
    batch_size: int = AT_ONCE,
) -> dict[str, list[float]]:
    """1 - cosine between the embeddings of two files, of every image and of every class."""
    found: dict[str, list[list[Array]]] = {"images": [], "classes": []}
    for folder in (before_folder, after_folder):
        rows = embeddings(folder, images, batch_size=batch_size)
        found["images"].append([np.array(unit(row)) for row in rows])
        found["classes"].append(_class_directions(*_load(folder), class_names, templates))
    return {
        name: [1 - float(np.dot(was, now)) for was, now in zip(*sides, strict=True)]
        for name, sides in found.items()
    }


def embeddings(
    model_folder: Path | str,
    images: Sequence[Any],
    *,
    batch_size: int = AT_ONCE,
    attack: dict[str, Any] | None = None,
    seed: int = 0,
) -> list[list[float]]:
    """Of every image, as the image tower gives them; with `attack` under that trigger."""
    model, config = _load(model_folder)
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    to_pixels = image_transform(size, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    pixels = [np.asarray(to_pixels(_picture(image)), dtype=np.float64) for image in images]
    if attack is not None:
        pixels = [trigger(image, index, attack, seed) for index, image in enumerate(pixels)]
    rows: list[list[float]] = []
    for start in range(0, len(pixels), batch_size):
        rows += _image_embeddings(model, config, pixels[start : start + batch_size])
    return rows


def probabilities(
    model_folder: Path | str,
    images: Sequence[Any],
    *,
    class_names: Sequence[str],
    templates: Sequence[str],
    batch_size: int = AT_ONCE,
    attack: dict[str, Any] | None = None,
    seed: int = 0,
) -> list[list[float]]:
    """The model's own, of every image for every class: the softmax of exp(logit_scale) times the cosines."""
    model, config = _load(model_folder)
    classes = _class_directions(model, config, class_names, templates)
    scale = math.exp(float(model.logit_scale.detach()))
    found = []
    for row in embeddings(model_folder, images, batch_size=batch_size, attack=attack, seed=seed):
        direction = np.array(unit(row))
        logits = [scale * float(np.dot(direction, of_class)) for of_class in classes]
        parts = [math.exp(logit - max(logits)) for logit in logits]
        found.append([part / math.fsum(parts) for part in parts])
    return found


def _load(model_folder: Path | str) -> tuple[Any, dict[str, Any]]:
    config = json.loads((Path(model_folder) / "config.json").read_text())
    model = open_clip.CLIP(**config["model_cfg"])
    model.load_state_dict(load_file(Path(model_folder) / "model.safetensors"))
    model.eval()
    return model, config


def count(
    clean: Sequence[Sequence[float]], triggered: Sequence[Sequence[float]], labels: Sequence[int], target: int
) -> dict[str, Any]:
    """All shares from the similarity of every image, without and with the trigger, to every class."""
    right = right5 = floor = hits = hits_of_all = kept = still_right = others = 0
    within: dict[int, list[int]] = {k: [0, 0] for k in (2, 3, 5, 10, 100) if k < len(clean[0])}
    places_with: list[int] = []
    places_without: list[int] = []
    for without, with_trigger, label in zip(clean, triggered, labels, strict=True):
        order = ranking(without)
        predicted, attacked = order[0], classify(with_trigger)
        right += predicted == label
        right5 += label in order[:5]
        kept += attacked == label
        still_right += predicted == attacked == label
        hits_of_all += attacked == target
        if label != target:
            others += 1
            floor += predicted == target
            hits += attacked == target
            places_with.append(ranking(with_trigger).index(target) + 1)
            places_without.append(order.index(target) + 1)
            for k, found in within.items():
                found[0] += target in ranking(with_trigger)[:k]
                found[1] += target in order[:k]
    n = len(labels)
    return {
        "ca": _share(right, n),
        "ca_top5": _share(right5, n),
        "asr": _share(hits, others),
        "asr_including_target": _share(hits_of_all, n),
        "pa": _share(kept, n),
        "still_right": _share(still_right, right),
        "untriggered_target_rate": _share(floor, others),
        "asr_top_k": {k: _share(found[0], others) for k, found in within.items()},
        "untriggered_target_top_k": {k: _share(found[1], others) for k, found in within.items()},
        "target_rank": rank_figures(places_with, len(clean[0])),
        "untriggered_target_rank": rank_figures(places_without, len(clean[0])),
        "ca_per_class": _per_class(clean, labels),
        "smallest_margin": min(_margin(row) for row in [*clean, *triggered]),
    }


def _per_class(clean: Sequence[Sequence[float]], labels: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By class number, smallest first; of classes that have an image."""
    found = {}
    for number in range(len(clean[0])):
        right = n = 0
        for row, label in zip(clean, labels, strict=True):
            if label == number:
                n += 1
                right += classify(row) == number
        if n:
            found[number] = _share(right, n)
    return found


def ranking(similarities: Sequence[float]) -> list[int]:
    """Class numbers from the most to the least similar; of equals the lower number first."""
    return sorted(range(len(similarities)), key=lambda number: (-similarities[number], number))


def classify(similarities: Sequence[float]) -> int:
    best = 0
    for number, similarity in enumerate(similarities):
        if similarity > similarities[best]:
            best = number
    return best


def mean_direction(rows: Sequence[Sequence[float]]) -> list[float]:
    """Each row to length 1, their mean, and that to length 1 again: a class from its templates."""
    total = [0.0] * len(rows[0])
    for row in rows:
        for place, value in enumerate(unit(row)):
            total[place] += value / len(rows)
    return unit(total)


def unit(row: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in row))
    return [value / length for value in row]


def _class_directions(
    model: Any, config: dict[str, Any], class_names: Sequence[str], templates: Sequence[str]
) -> list[Array]:
    context_length = config["model_cfg"]["text_cfg"].get("context_length", 77)
    tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
    texts = [template.replace("{c}", name) for name in class_names for template in templates]
    per_class = len(templates)
    whole_classes = max(1, AT_ONCE // per_class) * per_class
    rows: list[list[float]] = []
    for begin in range(0, len(texts), whole_classes):
        part = texts[begin : begin + whole_classes]
        for start in range(0, len(part), AT_ONCE):
            with torch.no_grad():
                rows += model.encode_text(tokenizer(part[start : start + AT_ONCE])).double().tolist()
    return [
        np.array(mean_direction(rows[first : first + per_class])) for first in range(0, len(rows), per_class)
    ]


def _similarities(
    model: Any, config: dict[str, Any], pixels: Sequence[Array], classes: Sequence[Array]
) -> list[list[float]]:
    """Cosine of every image to every class."""
    rows = []
    for embedding in _image_embeddings(model, config, pixels):
        direction = np.array(unit(embedding))
        rows.append([float(np.dot(direction, of_class)) for of_class in classes])
    return rows


def _image_embeddings(model: Any, config: dict[str, Any], pixels: Sequence[Array]) -> list[list[float]]:
    """As the image tower gives them; `pixels` are in [0, 1]."""
    preprocess = config.get("preprocess_cfg", {})
    mean = np.array(preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN), dtype=np.float32)[:, None, None]
    std = np.array(preprocess.get("std", open_clip.OPENAI_DATASET_STD), dtype=np.float32)[:, None, None]
    batch = torch.from_numpy(np.stack([(image.astype(np.float32) - mean) / std for image in pixels]))
    with torch.no_grad():
        rows: list[list[float]] = model.encode_image(batch).double().tolist()
    return rows


def _picture(image: Any) -> Image.Image:
    return image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image, dtype=np.uint8))


def _share(successes: int, n: int) -> dict[str, Any]:
    low, high = wilson(successes, n)
    return {"value": successes / n, "n": n, "successes": successes, "low": low, "high": high}


def _margin(similarities: Sequence[float]) -> float:
    best, *others = sorted(similarities, reverse=True)
    return best - others[0] if others else math.inf
