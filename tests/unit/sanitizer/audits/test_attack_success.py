"""What is counted, against a loop."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.audits.attack_success import Triggered, attack_change, attack_success, target_rate

ANSWERS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60
)


@given(ANSWERS, st.integers(0, 3))
def test_the_target_class_is_left_out_of_asr_and_kept_in_the_rest(
    answers: list[tuple[int, int, int]], target: int
) -> None:
    answers.append((0, (target + 1) % 4, 2))
    success = attack_success(
        torch.tensor([predicted for predicted, _, _ in answers]),
        torch.tensor([rank for _, _, rank in answers]),
        torch.tensor([label for _, label, _ in answers]),
        target,
        num_classes=4,
    )
    predictions = [(predicted, label) for predicted, label, _ in answers]
    others = [(predicted, label) for predicted, label in predictions if label != target]
    assert success.asr.n == len(others)
    assert success.asr.successes == sum(predicted == target for predicted, _ in others)
    assert success.asr_including_target.n == success.pa.n == len(predictions)
    assert success.asr_including_target.successes == sum(predicted == target for predicted, _ in predictions)
    assert success.pa.successes == sum(predicted == label for predicted, label in predictions)
    assert [one.k for one in success.top_k] == [2, 3]
    assert success.rank.n == len(others)
    for one in success.top_k:
        assert one.share.n == len(others)
        among_first = sum(rank < one.k for _, label, rank in answers if label != target)
        assert one.share.successes == among_first


@given(ANSWERS, st.integers(0, 3))
def test_what_an_attack_lost_is_counted_image_by_image(
    answers: list[tuple[int, int, int]], target: int
) -> None:
    """Of each image its class, and what it was called before and after."""
    answers.append(((target + 1) % 4, target, 0))
    label = torch.tensor([own for own, _, _ in answers])
    was, now = (
        Triggered(is_target_N=called == target, is_right_N=called == label)
        for called in (torch.tensor([one[side] for one in answers]) for side in (1, 2))
    )
    change = attack_change("sig", was, now, label, target)
    others = [(before, after) for own, before, after in answers if own != target]
    assert change.attack == "sig"
    assert (change.asr_lost.n, change.pa_lost.n) == (len(others), len(answers))
    assert change.asr_lost.lost == sum(before == target != after for before, after in others)
    assert change.asr_lost.gained == sum(before != target == after for before, after in others)
    assert change.pa_lost.lost == sum(before == own != after for own, before, after in answers)
    assert change.pa_lost.gained == sum(before != own == after for own, before, after in answers)


def test_a_perfect_model_has_no_attack_success_though_it_calls_target_images_the_target() -> None:
    label = torch.tensor([0, 1, 2, 2])
    success = attack_success(label, torch.tensor([3, 3, 0, 0]), label, target=2, num_classes=4)
    assert success.asr.value == 0
    assert success.asr_including_target.value == 0.5
    assert success.pa.value == 1
    assert [(one.k, one.share.value) for one in success.top_k] == [(2, 0), (3, 0)]


def test_a_set_of_target_images_only_is_refused() -> None:
    with pytest.raises(DatasetRejected) as refused:
        target_rate(torch.tensor([1, 1]), torch.tensor([1, 1]), target=1)
    assert refused.value.code == "only_target_images"
