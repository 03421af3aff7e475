"""The attacker's pattern learns through every operation that the defence may apply."""

import torch
from torchvision.transforms import v2

from lab.testbed.adaptive import DifferentiableAutoAugment


def test_augmented_pictures_are_torchvisions_and_every_operation_hands_gradients_on() -> None:
    ours, theirs = DifferentiableAutoAugment(), v2.AutoAugment()
    for seed in range(200):  # every operation of the policy comes up
        torch.manual_seed(seed)
        image = torch.rand(2, 3, 8, 8)
        leaf = image.clone().requires_grad_()
        torch.manual_seed(seed)
        augmented = ours(leaf)
        torch.manual_seed(seed)
        assert torch.allclose(augmented, theirs(image), atol=1e-6)
        torch.autograd.backward(augmented.sum())
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0
