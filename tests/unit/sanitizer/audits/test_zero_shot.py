"""Ties, ranks, chunks and numbers that are not finite."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.audits import zero_shot
from sanitizer.audits.accuracy import top_k
from sanitizer.audits.zero_shot import class_embeddings, first_argmax, image_embeddings, rank_of_label
from sanitizer.checkpoints.model import LoadedCheckpoint
from tests.fixtures.audited import CLASS_NAMES, TEMPLATES
from tests.numerics import reference

CPU = torch.device("cpu")
FEW_VALUES = st.lists(
    st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=8
)  # many ties


@given(FEW_VALUES)
def test_among_equals_the_first_class_wins(rows: list[list[int]]) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    assert first_argmax(logits).tolist() == [reference.classify(row) for row in rows]


@given(FEW_VALUES, st.integers(0, 3))
def test_the_rank_of_a_label_is_its_place_in_the_ranking(rows: list[list[int]], label: int) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    ranks = rank_of_label(logits, torch.full((len(rows),), label))
    assert ranks.tolist() == [reference.ranking(row).index(label) for row in rows]
    assert torch.equal(ranks == 0, first_argmax(logits) == label)


def test_with_fewer_than_five_classes_every_image_is_in_the_top_five() -> None:
    ranks = rank_of_label(torch.rand(20, 3), torch.arange(20) % 3)
    assert top_k(ranks, 5).value == 1
    assert top_k(ranks, 1).successes == int((ranks == 0).sum())


def test_texts_are_embedded_in_chunks_without_a_difference(
    checkpoint: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    done: list[int] = []
    for texts in (7, 2):
        monkeypatch.setattr(zero_shot, "TEXTS_AT_ONCE", texts)
        in_chunks = class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU, after_classes=done.append)
        assert torch.allclose(in_chunks, at_once, atol=1e-6)
    assert done == [2, 4, 6, 7, 1, 2, 3, 4, 5, 6, 7]


def test_class_embeddings_have_unit_length_in_float64(checkpoint: LoadedCheckpoint) -> None:
    embeddings = class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    assert embeddings.dtype == torch.float64
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(CLASS_NAMES), dtype=torch.float64))


@torch.no_grad()
def test_bf16_is_the_towers_arithmetic_and_ends_with_them(checkpoint: LoadedCheckpoint) -> None:
    images = torch.rand(8, 3, 32, 32)
    for embed in (
        lambda precision: image_embeddings(checkpoint, images, precision=precision),
        lambda precision: class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU, precision=precision),
    ):
        exact, rounded = embed("fp32"), embed("bf16")
        assert rounded.dtype == torch.float64
        error = (rounded - exact).norm(dim=1) / exact.norm(dim=1)
        assert 1e-4 < error.max() < 0.05
    assert not torch.is_autocast_enabled("cpu")
    assert all(weight.dtype == torch.float32 for weight in checkpoint.model.parameters())


def test_embeddings_that_are_not_finite_are_refused(checkpoint: LoadedCheckpoint) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        image_embeddings(checkpoint, torch.full((1, 3, 32, 32), float("nan")))
    assert refused.value.code == "embeddings_not_finite"
    checkpoint.model.text_projection.data.fill_(float("inf"))
    with pytest.raises(CheckpointRejected, match="NaN or infinite"):
        class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
