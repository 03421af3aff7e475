"""On a CUDA device a batch's views are those of the CPU to the last bit, and batches come as they were."""

import pytest
import torch

from sanitizer.augment.images import draw_operations
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.seeding import generator
from sanitizer.training.feeding import feed
from tests.fixtures.tiny_clips import tiny_batch


@pytest.mark.parametrize("side", [32, 224])
def test_views_on_cuda_are_those_of_the_cpu(cuda: torch.device, side: int) -> None:
    torch.manual_seed(1)
    images = torch.randint(0, 256, (300, 3, side, side), dtype=torch.uint8)
    drawn = encode([draw_operations(generator(3, "image_view", 0, number)) for number in range(300)])
    assert torch.equal(augment_batch(images.to(cuda), drawn).cpu(), augment_batch(images, drawn))


@pytest.mark.parametrize("copies", [True, False])
def test_batches_fed_one_ahead_are_the_loaders(cuda: torch.device, copies: bool) -> None:
    batches = [tiny_batch(64, seed=seed) for seed in range(8)]
    for fed, batch in zip(feed(iter(batches), cuda, copies=copies), batches, strict=True):
        assert fed.image_NCHW.is_cuda == copies
        assert torch.equal(fed.image_NCHW.cpu(), batch.image_NCHW)
        assert torch.equal(fed.image_view_NCHW.cpu(), batch.image_view_NCHW)
        assert torch.equal(fed.tokens_NL, batch.tokens_NL)
