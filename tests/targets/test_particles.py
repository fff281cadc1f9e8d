"""Particle systems: numbers by quadrature, symmetry, and what they refuse."""

from math import exp, log, pi, sqrt

import pytest
import torch
from numpy.polynomial.legendre import leggauss

from gentoolkit.core import Unsupported
from gentoolkit.numerics import distances, without_mean
from gentoolkit.targets import DoubleWellParticles, LennardJones


def quadrature(f, high, nodes=400):
    x, w = leggauss(nodes)
    return (
        sum(float(b) * f(high * (float(a) + 1) / 2) for a, b in zip(x, w, strict=True)) * high / 2
    )


def pair(d):
    return 0.9 * (d - 4) ** 4 - 4 * (d - 4) ** 2


def test_the_pair_of_wells_has_its_two_minima():
    """Catches a misplaced centre: s = +- sqrt(4 / 1.8), depth -40/9."""
    target = DoubleWellParticles(2)
    wells = [4 - sqrt(4 / 1.8), 4 + sqrt(4 / 1.8)]
    d = torch.tensor(wells, requires_grad=True)
    u = target.pair(d)
    torch.testing.assert_close(u, torch.full((2,), -40 / 9), rtol=0, atol=1e-12)
    assert torch.autograd.grad(u.sum(), d)[0].abs().max() < 1e-12


@pytest.mark.parametrize("n", [2, 3])
def test_the_normaliser_of_two_particles(n):
    """Catches the measure of x_1 - x_2 in the place of y = (x_1 - x_2) / sqrt 2, a factor 2^(n/2).

    And a forgotten sphere, 2 pi s or 4 pi s^2.
    """
    sphere = {2: lambda s: 2 * pi * s, 3: lambda s: 4 * pi * s * s}[n]
    z = quadrature(lambda s: sphere(s) * exp(-pair(sqrt(2) * s)), 8.0)
    assert abs(DoubleWellParticles(2, n).log_z - log(z)) < 1e-7


def test_the_numbers_of_dw2():
    """Catches a drift of the target: log Z, mean energy and entropy, derived again here."""
    target = DoubleWellParticles(2)
    z = quadrature(lambda s: 2 * pi * s * exp(-pair(sqrt(2) * s)), 8.0)
    mean = quadrature(lambda s: 2 * pi * s * pair(sqrt(2) * s) * exp(-pair(sqrt(2) * s)), 8.0) / z
    assert abs(log(z) - 7.260393) < 1e-6 and abs(mean + 3.870727) < 1e-6
    assert abs(log(z) + mean - 3.389666) < 1e-6
    x = target.sample(40_000, torch.Generator().manual_seed(0))
    u = target.energy(x)
    assert abs(float(u.mean()) - mean) < 4 * float(u.std()) / 200
    assert float(x.mean(1).abs().max()) < 1e-12


def test_walks_reach_the_law_of_dw2():
    """Catches a proposal that is not symmetric on the subspace, and a walk that never cools."""
    target, generator = DoubleWellParticles(2), torch.Generator().manual_seed(2)
    u = target.energy(target.walk(3000, 800, generator=generator))
    assert abs(float(u.mean()) + 3.870727) < 4 * float(u.std()) / sqrt(3000)
    # The control: hot walks have another energy.
    hot = target.energy(target.walk(3000, 1, generator=generator))
    assert abs(float(hot.mean()) + 3.870727) > 1.0
    x = target.walk(50, 10, start=target.sample(50), generator=generator)
    assert x.shape == (50, 2, 2) and float(x.mean(1).abs().max()) < 1e-12


def test_each_pair_of_dw4_counts_once():
    """Catches a sum over ordered pairs, which doubles u, and a self pair, which adds u(0)."""
    torch.manual_seed(0)
    x = without_mean(torch.randn(3, 4, 2))
    by_hand = [
        sum(pair(float((row[i] - row[j]).norm())) for i in range(4) for j in range(i)) for row in x
    ]
    got = DoubleWellParticles().log_prob(x)
    torch.testing.assert_close(got, -torch.tensor(by_hand), rtol=1e-12, atol=1e-9)


def test_lennard_jones_pairs():
    """Catches a minimum elsewhere than at d = 1, another depth, a lost trap."""
    for depth in (1.0, 2.0):
        target = LennardJones(2, depth=depth)
        d = torch.tensor([1.0], requires_grad=True)
        x = torch.stack([d, -d], 1)[..., None] * torch.tensor([0.5, 0.0, 0.0])
        u = target.energy(x)
        (slope,) = torch.autograd.grad(u.sum(), d)
        # The pair's slope is 0 there; the trap holds d^2 / 4, with slope d / 2.
        assert abs(float(u.detach()) - (0.25 - depth)) < 1e-12 and abs(float(slope) - 0.5) < 1e-12
    far = torch.tensor([[[-50.0, 0, 0], [50.0, 0, 0]]])
    assert abs(float(target.energy(far)) - 2500) < 1e-6


@pytest.mark.parametrize("target", [DoubleWellParticles(), LennardJones()])
def test_energies_are_symmetric(target):
    """Catches an energy that knows the axes, the numbers, or an orientation."""
    torch.manual_seed(1)
    x = without_mean(2 * torch.randn(4, *target.event_shape))
    q = torch.linalg.qr(torch.randn(x.shape[2], x.shape[2])).Q
    for other in (x @ q, x.flip(1), -x):
        torch.testing.assert_close(target.log_prob(other), target.log_prob(x), rtol=1e-10, atol=0)


def test_distances_are_those_of_pairs():
    """Catches a pair counted twice or with itself."""
    x = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]])
    assert distances(x).tolist() == [[5.0, 1.0, sqrt(18)]]


def test_bad_input_is_refused():
    """Catches densities off the subspace, lone particles, coincident ones, unknown normalisers."""
    for target in (DoubleWellParticles(), LennardJones(4, 2)):
        good = without_mean(torch.randn(3, 4, 2))
        with pytest.raises(ValueError, match="centre of mass at zero.*got a mean.*without_mean"):
            target.log_prob(good + 0.1)
        same = good.clone()
        same[0, 0] = same[0, 1]
        with pytest.raises(ValueError, match="one place.*got a distance of 0.*move"):
            target.log_prob(without_mean(same))
        for bad in (good[:, :3], good[0], good.flatten(1), good * torch.nan):
            with pytest.raises(ValueError, match="got"):
                target.log_prob(bad)
    for make in (DoubleWellParticles, LennardJones):
        with pytest.raises(ValueError, match="got 1"):
            make(1, 2)
        with pytest.raises(ValueError, match="got 0"):
            make(2, 0)
    with pytest.raises(ValueError, match="depth"):
        LennardJones(depth=0.0)
    for refused in (lambda: DoubleWellParticles().log_z, lambda: DoubleWellParticles().sample(2)):
        with pytest.raises(Unsupported, match="got 4.*walk"):
            refused()
