"""Derivatives of the score by denoising, and what their errors do to the density of the ODE."""

import numpy as np
import pytest
import torch

from gentoolkit.core import Chain, Unsupported
from gentoolkit.diffusion import (
    Denoiser,
    PredictsNoise,
    PredictsScore,
    ProbabilityFlowMap,
    derivatives,
    high_order_matching,
)
from gentoolkit.nets import MLP, TimeMLP
from gentoolkit.numerics import divergence, rk4
from tests.diffusion.carried import PLANE, VP, law_at, mixture

LAW = mixture([-1.2, 0.3, 1.5], [0.0625] * 3, [0.5, 0.3, 0.2])
GRID = torch.linspace(-3.2, 3.2, 1201, dtype=torch.float64)[:, None]


def score(x, t):
    """The exact score of the noised law at one time for the whole batch."""
    return law_at(LAW, VP, float(t[0])).score(x)


def posterior(x, t, f):
    """E[f(e) | x_t = x], by Gauss-Hermite inside each component."""
    a, s = (float(v) for v in VP.levels(torch.tensor(t).double()))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    nodes, weights = torch.tensor(nodes), torch.tensor(weights) / weights.sum()
    noised = law_at(LAW, VP, t)
    r = noised.responsibilities(x)  # (B, K)
    v = LAW.stds**2 * s**2 / noised.stds**2  # variance of x_0 given x_t and the component
    mean = LAW.means[:, 0] + a * LAW.stds**2 / noised.stds**2 * (x - a * LAW.means[:, 0])
    x_0 = mean[..., None] + v.sqrt()[:, None] * nodes  # (B, K, nodes)
    e = (x[..., None] - a * x_0) / s
    return (r[..., None] * weights * f(e)).sum((1, 2))


@pytest.mark.parametrize("t", [0.05, 0.15, 0.6])
def test_targets_are_the_derivatives_of_the_log_density(t):
    """Catches a lost -1, e for l, and the sign of the third order, against autograd."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    s = float(VP.noise(torch.tensor(t).double()))
    law = law_at(LAW, VP, t)
    first, second, third = derivatives(lambda at: law.score(at), x)
    scaled = s * first[:, 0]  # l = e + noise score
    assert torch.allclose(posterior(x, t, lambda e: -e) / s, first[:, 0], atol=1e-12)
    shifted = lambda p: posterior(x, t, lambda e: (e + scaled[:, None, None]) ** p)  # noqa: E731
    assert torch.allclose((shifted(2) - 1) / s**2, second[:, 0], atol=1e-10)
    assert torch.allclose(-shifted(3) / s**3, third[:, 0], atol=1e-9)
    # Negative controls: without the -1, and with e in place of l.
    assert float((shifted(2) / s**2 - second[:, 0]).abs().max()) > 1.0
    unshifted = posterior(x, t, lambda e: e**2 - 1) / s**2
    assert float((unshifted - second[:, 0]).abs().max()) > 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_exact_net_leaves_only_the_noise_of_its_targets(dtype):
    """Catches a wrong power of the noise: the exact net has the least mean of each order."""
    n, t = 60_000, 0.15
    x = LAW.sample(n, torch.Generator().manual_seed(0)).to(dtype)
    law = law_at(LAW, VP, t).to(dtype)
    s = float(VP.noise(torch.tensor(t).double()))
    at = torch.full((n,), t, dtype=dtype)

    def mean(change, **orders):
        net = lambda x, t: -s * law.score(x) + change(x)  # noqa: E731
        denoiser = Denoiser(net, VP, PredictsNoise())
        loss = high_order_matching(denoiser, x, at, torch.Generator().manual_seed(1), **orders)
        assert loss.shape == (n,) and loss.dtype == dtype
        return float(loss.mean())

    for orders in ({"second": 0.5}, {"second": 0.5, "third": 0.1}):
        least = mean(lambda x: 0 * x, **orders)
        assert mean(lambda x: 0.02 * (8 * x).sin(), **orders) > least
        assert mean(lambda x: -0.02 * (8 * x).sin(), **orders) > least


def test_orders_add_up_as_the_formula_says():
    """Catches a weight on the wrong order, and a gradient that flows through the target."""
    torch.manual_seed(0)
    net = TimeMLP(1, 1, (8,), activation=torch.nn.Tanh)
    denoiser, x = Denoiser(net, VP, PredictsNoise()), LAW.sample(5)
    t = torch.tensor([0.1, 0.2, 0.3, 0.5, 0.9], dtype=torch.float64)
    g = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    loss = high_order_matching(denoiser, x, t, g(), second=0.5, third=0.1)
    e = torch.randn(x.shape, generator=g(), dtype=x.dtype)
    a, s = (v[:, None] for v in VP.levels(t))
    at = (a * x + s * e).requires_grad_()
    n = net(at, t)
    (slope,) = torch.autograd.grad(n.sum(), at, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), at, create_graph=True)
    rest = (e - n).detach()
    expected = (n - e) ** 2 + 0.5 * (-s * slope - rest**2 + 1) ** 2
    expected = (expected + 0.1 * (-(s**2) * bend + rest**3) ** 2)[:, 0]
    assert torch.allclose(loss, expected, atol=1e-12)
    parameters = list(net.parameters())
    ours = torch.autograd.grad(loss.sum(), parameters)
    theirs = torch.autograd.grad(expected.sum(), parameters)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(ours, theirs, strict=True))


def test_in_the_plane_the_trace_is_matched():
    """Catches D = 1 in |l|^2 - D: the residual has mean zero against functions of the state."""
    t, n = 0.3, 40_000
    law = law_at(PLANE, VP, t)
    a, s = (float(v) for v in VP.levels(torch.tensor(t).double()))
    x = PLANE.sample(n, torch.Generator().manual_seed(0))
    e = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    at = torch.full((n,), t, dtype=torch.float64)
    denoiser = Denoiser(lambda x, t: -s * law.score(x), VP, PredictsNoise())
    noised, rest = a * x + s * e, e + s * law.score(a * x + s * e)
    trace = divergence(law.score, noised)[1]
    residual = s * s * trace - (rest.square().sum(1) - 2)
    for f in (torch.ones(n), noised[:, 0], noised.square().sum(1)):
        product = residual * f
        assert abs(float(product.mean())) < 4 * float(product.std()) / n**0.5
    assert float(residual.mean() - 1) < -4 * float(residual.std()) / n**0.5  # the control
    loss = high_order_matching(denoiser, x, at, torch.Generator().manual_seed(1), second=0.7)
    assert torch.allclose(loss, rest.square().sum(1) + 0.7 * residual.square(), atol=1e-9)


def flow_of(amplitude, k, steps=120, end=1e-3):
    """The exact score with a ripple, as the bijection of its ODE."""
    net = lambda x, t: score(x, t) + amplitude * (k * x).sin()  # noqa: E731
    u = torch.linspace(1.0, end**0.5, steps + 1, dtype=torch.float64)
    return ProbabilityFlowMap(Denoiser(net, VP, PredictsScore()), u**2, rk4)


def divergence_of(amplitude, k):
    """KL(q | p of the ODE) on a grid at time 1e-3, and the mass of p on it."""
    source = VP.source((1,), like=GRID)
    with torch.no_grad():
        model = Chain(source, [flow_of(amplitude, k)]).log_prob(GRID)
    truth = law_at(LAW, VP, 1e-3).log_prob(GRID)
    kl = torch.trapezoid(truth.exp() * (truth - model), GRID[:, 0])
    return float(kl), float(torch.trapezoid(model.exp(), GRID[:, 0]))


def test_the_density_of_the_ode_with_the_exact_score_is_that_of_the_data():
    """Catches g^2 in place of g^2 / 2, and the sign of the divergence."""
    kl, mass = divergence_of(0.0, 1.0)
    assert abs(kl) < 1e-5 and mass == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("k", "error", "kl"), [(2, 0.02509, 0.29343), (8, 0.02512, 2.43118)])
def test_a_ripple_hides_from_the_first_order_and_breaks_the_ode(k, error, kl):
    """Catches the theorem the wrong way round: equal errors of the score, unequal densities."""
    times = torch.linspace(1e-3, 1.0, 801, dtype=torch.float64)
    at = torch.linspace(-7, 7, 2001, dtype=torch.float64)[:, None]
    means = [
        float(
            torch.trapezoid(
                law_at(LAW, VP, t).log_prob(at).exp() * (0.1 * (k * at[:, 0]).sin()) ** 2, at[:, 0]
            )
        )
        for t in times.tolist()
    ]
    beta = 0.1 + 19.9 * times
    total = float(torch.trapezoid(0.5 * beta * torch.tensor(means).double(), times))
    # The smallest 1e-3 of time adds at most 0.1^2 * 0.06e-3.
    assert total == pytest.approx(error, abs=1e-4)
    assert divergence_of(0.1, k)[0] == pytest.approx(kl, abs=1e-3)


def test_one_gaussian_has_its_second_derivative():
    """Catches e^2 - 1 in place of l^2 - 1, which adds the square of the score."""
    m, v, t = 0.7, 0.3, 0.2
    a, s = (float(x) for x in VP.levels(torch.tensor(t).double()))
    total = a * a * v + s * s
    x = torch.linspace(-2, 2, 7, dtype=torch.float64)
    # e | x is normal: mean s (x - a m) / total, variance a^2 v / total.
    mean, variance = s * (x - a * m) / total, a * a * v / total
    first = -(x - a * m) / total
    target = (mean + s * first) ** 2 + variance - 1
    assert torch.allclose(target / s**2, torch.full_like(x, -1 / total), atol=1e-12)
    wrong = (mean**2 + variance - 1) / s**2
    assert torch.allclose(wrong, -1 / total + first**2, atol=1e-12)


def test_bad_input_is_named():
    """Catches an order that silently does nothing."""
    denoiser = Denoiser(lambda x, t: x, VP, PredictsNoise())
    t = torch.full((3,), 0.5)
    with pytest.raises(Unsupported, match="one dimension"):
        high_order_matching(denoiser, torch.zeros(3, 2), t, third=0.1)
    with pytest.raises(ValueError, match="must not be negative"):
        high_order_matching(denoiser, torch.zeros(3, 1), t, second=-1.0)
    with pytest.raises(ValueError, match=r"shape \(B, D\)"):
        high_order_matching(denoiser, torch.zeros(3, 1, 2), t)
    net = MLP(1, 1, (8,), activation=torch.nn.ReLU)
    straight = Denoiser(lambda x, t: net(x), VP, PredictsNoise())
    with pytest.raises(ValueError, match="piecewise linear"):
        high_order_matching(straight, torch.randn(3, 1), t, third=0.1)
