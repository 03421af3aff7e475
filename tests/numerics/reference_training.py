"""Losses and schedule, written a second time in loops and float64; nothing is imported from the library."""

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def one_way(anchors: Rows, candidates: Rows, scale: float) -> float:
    """-1/N sum_j log( exp(s cos(a_j, c_j)) / sum_k exp(s cos(a_j, c_k)) )."""
    total = 0.0
    for j, anchor in enumerate(anchors):
        logits = [scale * cosine(anchor, candidate) for candidate in candidates]
        top = max(logits)
        log_sum = top + math.log(math.fsum(math.exp(logit - top) for logit in logits))
        total += log_sum - logits[j]
    return total / len(anchors)


def contrastive(images: Rows, texts: Rows, scale: float) -> float:
    """CLIP's symmetric loss: the mean of both directions."""
    return (one_way(images, texts, scale) + one_way(texts, images, scale)) / 2


def cleanclip(
    images: Rows,
    texts: Rows,
    image_views: Rows,
    text_views: Rows,
    *,
    scale: float,
    lambda1: float,
    lambda2: float,
) -> float:
    """L = lambda1 L_CLIP + lambda2 (L_II~ + L_TT~) / 2, from the original to its view (arXiv 2303.03323)."""
    within = (one_way(images, image_views, scale) + one_way(texts, text_views, scale)) / 2
    return lambda1 * contrastive(images, texts, scale) + lambda2 * within


def learning_rates(base: float, warmup_steps: int, total_steps: int, initial: float = 0.0) -> list[float]:
    """Every update's rate: from `initial` in equal parts to `base`, then half a cosine wave down."""
    rates = []
    for step in range(total_steps):
        if step < warmup_steps:
            rates.append(initial + (base - initial) / warmup_steps * (step + 1))
        else:
            angle = math.pi * (step - warmup_steps) / (total_steps - warmup_steps)
            rates.append(base * (1 + math.cos(angle)) / 2)
    return rates


def classification(images: Rows, labels: Sequence[int], classes: Rows, scale: float) -> float:
    """Cross-entropy of each image's class among the classes."""
    total = 0.0
    for image, label in zip(images, labels, strict=True):
        logits = [scale * cosine(image, one) for one in classes]
        top = max(logits)
        total += top + math.log(math.fsum(math.exp(logit - top) for logit in logits)) - logits[label]
    return total / len(images)


def distance(rows: Rows, before: Rows) -> float:
    """The mean squared Euclidean distance of unit rows."""
    total = 0.0
    for row, was in zip(rows, before, strict=True):
        length = math.sqrt(math.fsum(x * x for x in row))
        length_before = math.sqrt(math.fsum(y * y for y in was))
        total += math.fsum((x / length - y / length_before) ** 2 for x, y in zip(row, was, strict=True))
    return total / len(rows)


def par(
    images: Rows, texts: Rows, images_before: Rows, texts_before: Rows, *, scale: float, threshold: float
) -> float:
    """L_CLIP less half of each mean distance that is not over the threshold (arXiv 2412.00727)."""
    loss = contrastive(images, texts, scale)
    for rows, before in ((images, images_before), (texts, texts_before)):
        if distance(rows, before) <= threshold:
            loss -= distance(rows, before) / 2
    return loss


def uar(images: Rows, before: Rows, texts: Rows | None, *, scale: float, weight: float) -> float:
    """CLIP's loss, where there are captions, and `weight` times the mean of 1 less each row's cosine."""
    away = math.fsum(1 - cosine(row, was) for row, was in zip(images, before, strict=True)) / len(images)
    return weight * away + (0.0 if texts is None else contrastive(images, texts, scale))
