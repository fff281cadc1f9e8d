"""What the shared laws run on: the plain steps of the core, and chains of them."""

import torch

from gentoolkit import (
    Bernoulli,
    Categorical,
    Chain,
    Composite,
    FunctionKernel,
    Gaussian,
    standard_normal,
)
from gentoolkit.targets import GaussianMixture, eight_gaussians
from tests.laws.examples import Affine, Flattened, Metropolis, Sinh, linear_gaussian, lopsided
from tests.laws.kinds import Bijections, Densities, Journey, Journeys, Steps


def discrete(dtype: torch.dtype) -> FunctionKernel:
    """A table each way: 4 states -> 5 states."""
    torch.manual_seed(2)
    f, b = torch.randn(4, 5, dtype=dtype), torch.randn(5, 4, dtype=dtype)
    return FunctionKernel(lambda x: Categorical(f[x]), lambda y: Categorical(b[y]))


def pixels(dtype: torch.dtype) -> FunctionKernel:
    """A latent point decoded to six black or white pixels."""
    torch.manual_seed(3)
    f, b = torch.randn(6, 2, dtype=dtype), torch.randn(2, 6, dtype=dtype)
    return FunctionKernel(lambda x: Bernoulli(x @ f.T), lambda y: Gaussian(y @ b.T, 0.5))


def affine(dtype: torch.dtype) -> Affine:
    torch.manual_seed(4)
    return Affine(torch.randn(3, 3, dtype=dtype), torch.randn(3, dtype=dtype))


STEPS: Steps = {
    "gaussian kernel": lambda d: (linear_gaussian(d), torch.randn(16, 2, dtype=d)),
    "categorical kernel": lambda d: (discrete(d), torch.randint(4, (16,))),
    "bernoulli kernel": lambda d: (pixels(d), torch.randn(16, 2, dtype=d)),
    "affine bijection": lambda d: (affine(d), torch.randn(16, 3, dtype=d)),
    "sinh bijection": lambda d: (Sinh(), torch.randn(16, 2, dtype=d)),
    "composite of maps": lambda d: (Composite([affine(d), Sinh()]), torch.randn(16, 3, dtype=d)),
    "map, then kernel": lambda d: (
        Composite([Sinh(), linear_gaussian(d)]),
        torch.randn(16, 2, dtype=d),
    ),
    "reversed kernel": lambda d: (reversed(linear_gaussian(d)), torch.randn(16, 3, dtype=d)),
    "reversed composite": lambda d: (
        reversed(Composite([affine(d), Sinh()])),
        torch.randn(16, 3, dtype=d),
    ),
    "metropolis": lambda d: (Metropolis(eight_gaussians(dtype=d)), torch.randn(16, 2, dtype=d)),
}

BIJECTIONS: Bijections = {
    "affine": lambda: (affine(torch.float64), torch.randn(6, 3)),
    "sinh": lambda: (Sinh(), torch.randn(6, 2)),
}

DENSITIES: Densities = {
    "standard normal": lambda: standard_normal(3),
    "gaussian": lambda: Gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.3, 2.0]])),
}


def bump() -> GaussianMixture:
    """One Gaussian bump of deviation 0.8 around (1, -1), with log Z = 1.7."""
    return GaussianMixture(
        torch.tensor([[1.0, -1.0]]), torch.tensor([0.8]), torch.ones(1), log_z=1.7
    )


def _noise_and_back(spread: float) -> Chain:
    """Pull: shrink to 0.6 y and add noise 0.7. Push: its exact reversal, but `spread` too wide.

    The middle is N(0.6 mu, s^2) with s^2 = 0.36 * 0.64 + 0.49, and the exact reversal has gain
    0.6 * 0.64 / s^2 and variance 0.64 * 0.49 / s^2.
    """
    mean, s2 = torch.tensor([[1.0, -1.0]]), 0.36 * 0.64 + 0.49
    gain, std = 0.6 * 0.64 / s2, (0.64 * 0.49 / s2) ** 0.5
    kernel = FunctionKernel(
        lambda x: Gaussian(mean + gain * (x - 0.6 * mean), spread * std),
        lambda y: Gaussian(0.6 * y, 0.7),
    )
    return Chain(Gaussian(0.6 * mean, spread * s2**0.5), [kernel])


def _mixed(target: GaussianMixture) -> Chain:
    """Every kind of step in one chain; the move keeps a density that is not the target."""
    stretch = Affine(torch.tensor([[1.5, 0.2], [-0.1, 1.2]]), torch.tensor([0.1, 0.0]))
    blur = FunctionKernel(lambda x: Gaussian(0.9 * x, 0.8), lambda y: Gaussian(0.8 * y, 0.9))
    return Chain(standard_normal(2), [stretch, blur, Metropolis(Flattened(target), 0.4)])


# A mean of weights has a finite variance only where the law that is drawn has the heavier tails:
# pushes are a little too wide for E[w], and a little too narrow for E_pull[1/w].
JOURNEYS: Journeys = {
    "empty": lambda: Journey(Chain(Gaussian(torch.zeros(1, 2), 2.5)), lopsided()),
    "kernel": lambda: Journey(_noise_and_back(1.15), bump()),
    "mixed": lambda: Journey(_mixed(lopsided()), lopsided()),
}
PULLED_JOURNEYS: Journeys = {
    "kernel": lambda: Journey(_noise_and_back(0.85), bump()),
    "move": lambda: Journey(
        Chain(
            _noise_and_back(0.85).source,
            [*_noise_and_back(0.85).steps, Metropolis(Flattened(bump()), 0.4)],
        ),
        bump(),
    ),
}
