"""The lab's detector `ease`: a planted class, plain loops, gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from lab.zoo.baselines import ease
from sanitizer.seeding import generator
from tests.numerics.test_scan_detectors import BLEND, TARGET, linear_clip, subject, texts

OPTIONS = ease.EaseOptions(
    families=(BLEND,),
    heats=(ease.Heat(share=1.0, most=100, steps=8), ease.Heat(share=0.25, most=100, steps=24)),
    steps=(4, 8, 16),
    restarts=2,
)


def test_ease_finds_the_planted_class_and_sets_it_apart_from_the_others() -> None:
    planted = ease.detect(subject(linear_clip(0.15)), BLEND, OPTIONS)
    control = ease.detect(subject(linear_clip(0.0)), BLEND, OPTIONS)
    others = [value for number, value in enumerate(planted.ease) if number != TARGET]
    assert planted.ease[TARGET] > 0.5 > max(others)
    assert planted.ease[TARGET] > control.ease[TARGET] + 0.2
    assert planted.num_steps[TARGET] == 24
    assert sorted(planted.num_steps) == [8] * 9 + [24] * 3


def test_margins_are_those_of_a_plain_loop_and_leave_synonyms_out() -> None:
    class_CD = texts()
    class_CD[4] = normalize(class_CD[3] + 0.1 * class_CD[4], dim=0)
    near_CC = ease.neighbours(class_CD, 0.9)
    assert near_CC[3].nonzero().flatten().tolist() == [3, 4]
    embedding_KND = normalize(
        torch.from_numpy(generator(8, "embeddings").normal(size=(2, 5, 16))).float(), dim=2
    )
    targets = torch.tensor([3, 9])
    ours = ease.margins(embedding_KND, class_CD, near_CC[targets], targets)
    for k, target in enumerate(targets.tolist()):
        for n in range(5):
            cosines = [float(embedding_KND[k, n] @ text) for text in class_CD]
            rivals = [cosine for c, cosine in enumerate(cosines) if not bool(near_CC[target, c])]
            assert float(ours[k, n]) == pytest.approx(max(rivals) - cosines[target], abs=1e-6)


def test_the_margin_climbs_along_what_finite_differences_say() -> None:
    class_CD = texts().double()
    near_CC = ease.neighbours(class_CD, 0.9)
    targets = torch.tensor([2, 5])

    def value(raw_KND: torch.Tensor) -> torch.Tensor:
        return ease.margins(normalize(raw_KND, dim=2), class_CD, near_CC[targets], targets).mean(dim=1)

    raw = torch.from_numpy(generator(9, "raw").normal(size=(2, 4, 16))).requires_grad_()
    assert torch.autograd.gradcheck(value, (raw,))


def test_classes_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="no rival"):
        ease.neighbours(texts()[:1].expand(4, -1).clone(), 0.9)
