"""What the shared laws run on: moves and stochastic layers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gentoolkit import Chain, FunctionKernel, Gaussian, Step, standard_normal
from gentoolkit.core.chain import Target
from gentoolkit.flows import AffineCoupling
from gentoolkit.stochastic import (
    HMC,
    MALA,
    CorrectionMLP,
    GeometricPath,
    Langevin,
    MonteCarloDiffusion,
    Pairs,
    StochasticFlow,
    TrainedLangevin,
    annealed,
    even_schedule,
)
from gentoolkit.stochastic import Metropolis as RandomWalk
from gentoolkit.targets import GaussianMixture, eight_gaussians
from tests.laws.examples import lopsided
from tests.laws.kinds import Journey, Journeys, Models, Steps, perturbed
from tests.stochastic.mixed import diffusion


def autoencoder(dtype: torch.dtype) -> FunctionKernel:
    """A linear decoder 2 -> 3 and an encoder that is not its reversal."""
    torch.manual_seed(10)
    decoder, encoder = (nn.Linear(a, b, dtype=dtype) for a, b in ((2, 3), (3, 2)))
    return FunctionKernel(lambda x: Gaussian(decoder(x), 0.5), lambda y: Gaussian(encoder(y), 0.7))


def diffusing(dtype: torch.dtype) -> FunctionKernel:
    """A drift and a score that know nothing of each other."""
    torch.manual_seed(11)
    drift, score = (nn.Linear(2, 2, dtype=dtype) for _ in range(2))
    return diffusion(drift, score, 0.2, 0.9)


def correction(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A correction that is not linear."""
    torch.manual_seed(12)
    net = nn.Linear(4, 2, dtype=dtype)
    return lambda s: net(torch.cat([s, s.square()], 1))


STEPS: Steps = {
    "random walk": lambda d: (
        RandomWalk(eight_gaussians(dtype=d), 0.5, 3),
        torch.randn(16, 2, dtype=d),
    ),
    "mala": lambda d: (MALA(eight_gaussians(dtype=d), 0.05, 2), torch.randn(16, 2, dtype=d)),
    "hmc": lambda d: (HMC(eight_gaussians(dtype=d), 0.1, 3), torch.randn(16, 2, dtype=d)),
    "langevin": lambda d: (Langevin(eight_gaussians(dtype=d), 0.02), torch.randn(16, 2, dtype=d)),
    "corrected langevin": lambda d: (
        Langevin(eight_gaussians(dtype=d), 0.02, correction(d)),
        torch.randn(16, 2, dtype=d),
    ),
    "trained langevin": lambda d: (
        TrainedLangevin(eight_gaussians(dtype=d), 0.02).to(d),
        torch.randn(16, 2, dtype=d),
    ),
    "two laws of two widths": lambda d: (autoencoder(d), torch.randn(16, 2, dtype=d)),
    "step of a diffusion": lambda d: (diffusing(d), torch.randn(16, 2, dtype=d)),
}


def _annealing(target: GaussianMixture, move: Callable[[Target], Step]) -> Chain:
    path = GeometricPath(Gaussian(torch.zeros(1, 2), 2.5), target)
    return annealed(path, even_schedule(6), move)


def stochastic_flow() -> StochasticFlow:
    """Couplings between Langevin steps, towards three bumps."""
    target = lopsided()
    torch.manual_seed(13)
    layers = [
        AffineCoupling(2, (0,), (8,)),
        TrainedLangevin(target, 0.02),
        AffineCoupling(2, (1,), (8,)),
        TrainedLangevin(target, 0.03),
    ]
    return StochasticFlow(standard_normal(2), layers, target)


JOURNEYS: Journeys = {
    "annealed langevin": lambda: Journey(
        _annealing(lopsided(), lambda g: Langevin(g, 0.02)), lopsided()
    ),
    "annealed mala": lambda: Journey(_annealing(lopsided(), lambda g: MALA(g, 0.1)), lopsided()),
    "annealed hmc": lambda: Journey(_annealing(lopsided(), lambda g: HMC(g, 0.2)), lopsided()),
}


def learned() -> tuple[MonteCarloDiffusion, Pairs]:
    """Annealing with a learned way back, and pairs to train it on."""
    torch.manual_seed(14)
    path = GeometricPath(Gaussian(torch.zeros(1, 2), 2.5), lopsided())
    model = perturbed(MonteCarloDiffusion(path, even_schedule(4), 0.05, CorrectionMLP(2, 2, (8,))))
    return model, model.pool(6, generator=torch.Generator().manual_seed(0))


MODELS: Models = {
    "monte carlo diffusion": learned,
    "stochastic flow": lambda: (perturbed(stochastic_flow()), torch.randn(7, 2)),
}
