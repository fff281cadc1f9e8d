"""The sandwich: ELBO <= log Z <= EUBO for every kind of chain of the course."""

import pytest
import torch

from gentoolkit import Chain, FunctionKernel, Gaussian, sandwich, standard_normal
from gentoolkit.flows import AffineCoupling, alternating_mask
from gentoolkit.stochastic import (
    MALA,
    CorrectionMLP,
    GeometricPath,
    Langevin,
    MonteCarloDiffusion,
    annealed,
    even_schedule,
)
from tests.core.cases import bump
from tests.flows.truth import perturbed
from tests.laws.examples import lopsided
from tests.stochastic.cases import diffusing, stochastic_flow
from tests.stochastic.mixed import END, LOG_Z, exact_elbo, linear_chain, path_laws

WIDE = Gaussian(torch.zeros(1, 2, dtype=torch.float64), 2.5)


def path() -> GeometricPath:
    return GeometricPath(WIDE, lopsided())


def couplings() -> Chain:
    torch.manual_seed(3)
    return Chain(
        WIDE, [perturbed(AffineCoupling(2, alternating_mask(2, t), (8,)), 0.2) for t in range(2)]
    )


def noise_and_back() -> Chain:
    """A kernel as in a VAE: the way there and the way back know little of each other."""
    kernel = FunctionKernel(lambda x: Gaussian(0.9 * x, 1.5), lambda y: Gaussian(0.5 * y, 1.2))
    return Chain(standard_normal(2), [kernel])


CHAINS = {
    "no step": lambda: (Chain(WIDE), lopsided()),
    "flow": lambda: (couplings(), lopsided()),
    "vae": lambda: (noise_and_back(), lopsided()),
    "diffusion": lambda: (Chain(WIDE, [diffusing(torch.float64)] * 4), bump()),
    "annealed langevin": lambda: (
        annealed(path(), even_schedule(8), lambda g: Langevin(g, 0.02)),
        lopsided(),
    ),
    "annealed mala": lambda: (
        annealed(path(), even_schedule(8), lambda g: MALA(g, 0.1)),
        lopsided(),
    ),
    "monte carlo diffusion": lambda: (
        perturbed(
            MonteCarloDiffusion(path(), even_schedule(8), 0.05, CorrectionMLP(2, 2, (8,))), 0.1
        ).chain(),
        lopsided(),
    ),
    "stochastic flow": lambda: (perturbed(stochastic_flow(), 0.1).chain(), lopsided()),
}


@pytest.mark.parametrize("name", CHAINS)
def test_both_bounds_hold(name):
    """Catches bounds that change places, and a pull of another law than the one it scores."""
    chain, target = CHAINS[name]()
    x = target.sample(4000, torch.Generator().manual_seed(0))
    bounds = sandwich(chain, target, x, generator=torch.Generator().manual_seed(1))
    assert bounds.holds(target.log_z), str(bounds)
    assert bounds.gap > 0
    # Each of these chains is far from exact, so that a shift by its gap must show.
    assert not bounds.holds(target.log_z + 2 * bounds.gap + 1)
    assert not bounds.holds(target.log_z - 2 * bounds.gap - 1)


def test_both_ends_are_the_exact_ones_on_gaussian_paths():
    """Catches a bound that holds but is another number: log Z - KL and log Z + KL of the paths."""
    pushed, pulled = (torch.distributions.MultivariateNormal(*law) for law in path_laws())
    upper = LOG_Z + float(torch.distributions.kl_divergence(pulled, pushed))
    bounds = sandwich(linear_chain(), END, END.sample(50_000))
    assert abs(bounds.lower - exact_elbo()) < 4 * bounds.lower_error
    assert abs(bounds.upper - upper) < 4 * bounds.upper_error
    assert abs(bounds.gap - (upper - exact_elbo())) < 4 * (bounds.lower_error + bounds.upper_error)


def test_an_exact_chain_has_no_gap():
    """Catches a bound that is loose where push and pull are one law."""
    bounds = sandwich(
        Chain(standard_normal(2)),
        lambda x: 1.3 + standard_normal(2).log_prob(x),
        torch.randn(50, 2),
    )
    assert bounds.lower == pytest.approx(1.3) and bounds.upper == pytest.approx(1.3)
    assert "ELBO 1.300 ± 0.000 <= log Z <= EUBO 1.300" in str(bounds)


def test_samples_of_another_law_break_the_upper_bound():
    """The control: rows that are not samples of the target give no bound."""
    chain, target = CHAINS["flow"]()
    x = 0.05 * target.sample(4000)
    assert not sandwich(chain, target, x).holds(target.log_z)


def test_one_path_is_no_bound():
    """Catches an error of one number: nan."""
    with pytest.raises(ValueError, match="two paths or more"):
        sandwich(Chain(WIDE), lopsided(), torch.randn(1, 2))
    with pytest.raises(ValueError, match="two paths or more"):
        sandwich(Chain(WIDE), lopsided(), torch.randn(8, 2), n=1)
