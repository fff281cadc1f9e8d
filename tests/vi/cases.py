"""What the shared laws run on: models with latents."""

import torch

from gentoolkit.vi import VAE, HierarchicalVAE
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
}
