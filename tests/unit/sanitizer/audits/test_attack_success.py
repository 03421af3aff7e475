"""What is counted, against a loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.audits.attack_success import attack_success, target_rate
from sanitizer.errors import DatasetRejected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60), st.integers(0, 3))
def test_the_target_class_is_left_out_of_asr_and_kept_in_the_rest(
    predictions: list[tuple[int, int]], target: int
) -> None:
    predictions.append((0, (target + 1) % 4))
    success = attack_success(
        torch.tensor([predicted for predicted, _ in predictions]),
        torch.tensor([label for _, label in predictions]),
        target,
    )
    others = [(predicted, label) for predicted, label in predictions if label != target]
    assert success.asr.n == len(others)
    assert success.asr.successes == sum(predicted == target for predicted, _ in others)
    assert success.asr_including_target.n == success.pa.n == len(predictions)
    assert success.asr_including_target.successes == sum(predicted == target for predicted, _ in predictions)
    assert success.pa.successes == sum(predicted == label for predicted, label in predictions)


def test_a_perfect_model_has_no_attack_success_though_it_calls_target_images_the_target() -> None:
    label = torch.tensor([0, 1, 2, 2])
    success = attack_success(label, label, target=2)
    assert success.asr.value == 0
    assert success.asr_including_target.value == 0.5
    assert success.pa.value == 1


def test_a_set_of_target_images_only_is_refused() -> None:
    with pytest.raises(DatasetRejected) as refused:
        target_rate(torch.tensor([1, 1]), torch.tensor([1, 1]), target=1)
    assert refused.value.code == "only_target_images"
