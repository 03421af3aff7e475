"""Universal perturbations: differentiable patterns shared by many images, and how to find them in a tower."""
