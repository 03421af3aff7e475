"""A ViT's first layer as a matrix product: the same features and gradients, whatever its pictures' size."""

import pytest
import torch

from sanitizer.training import towers
from tests.fixtures.tiny_clips import tiny_clip


@pytest.mark.parametrize("tower", ["vit", "resnet"])
@pytest.mark.parametrize("is_channels_last", [True, False])
def test_features_and_gradients_are_those_of_the_convolution(tower: str, is_channels_last: bool) -> None:
    model = tiny_clip(tower).double().eval()
    image_NCHW = torch.rand(5, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if is_channels_last:
        image_NCHW = image_NCHW.contiguous(memory_format=torch.channels_last)
    found = []
    for encode in (model.encode_image, lambda images: towers.encode_image(model, images)):
        model.zero_grad()
        features = encode(image_NCHW)
        features.square().sum().backward()
        found.append((features.detach(), [p.grad.clone() for p in model.visual.parameters()]))
    (theirs, their_gradients), (ours, our_gradients) = found
    assert torch.allclose(ours, theirs, rtol=1e-11, atol=0)
    for our, their in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(our, their, rtol=1e-9, atol=1e-12)
    assert "forward" not in vars(model.visual.conv1), "others see the layer as it was"


def test_pixels_that_fill_no_patch_are_left_out_as_a_convolution_does() -> None:
    visual = tiny_clip("vit").visual
    image_NCHW = torch.rand(2, 3, 37, 44, generator=torch.Generator().manual_seed(0))
    expected = visual.conv1(image_NCHW)
    with towers.patches_by_matrix_product(visual):
        assert torch.allclose(visual.conv1(image_NCHW), expected, atol=1e-5)


def test_a_model_whose_product_failed_is_left_as_it_was() -> None:
    model = tiny_clip("vit")
    with pytest.raises(RuntimeError):
        towers.encode_image(model, torch.rand(2, 4, 32, 32))
    assert "forward" not in vars(model.visual.conv1)
