"""What the shared laws run on: models with latents, and Gaussian posteriors."""

import torch

from gentoolkit.targets import eight_gaussians
from gentoolkit.vi import PPCA, VAE, HierarchicalVAE, MeanFieldGaussian
from tests.laws.kinds import Models, perturbed

MODELS: Models = {
    "vae": lambda: (
        perturbed(VAE(6, 2, hidden=(8,))),
        torch.randint(2, (7, 6)).to(torch.get_default_dtype()),
    ),
    "hierarchical vae": lambda: (
        perturbed(HierarchicalVAE(6, (3, 2), hidden=(8,))),
        torch.randint(2, (7, 6)).to(torch.get_default_dtype()),
    ),
    "linear vae": lambda: (
        perturbed(PPCA(torch.zeros(3), torch.randn(3, 2), 0.5)),
        torch.randn(7, 3),
    ),
    "mean field": lambda: (perturbed(MeanFieldGaussian(2, eight_gaussians())), torch.randn(7, 2)),
}
