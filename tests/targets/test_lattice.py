"""Class functions and the gauge action against Bessel functions, quadrature and small integrals."""

from itertools import product
from math import exp, log, pi

import numpy as np
import pytest
import torch
from scipy.special import iv

from gentoolkit import ess
from gentoolkit.core import checks
from gentoolkit.numerics import gauge_transform, haar, loops, special_unitary, su_n
from gentoolkit.targets import ClassFunction, GaugeAction, mean_plaquette
from gentoolkit.targets.lattice import dimension, representations

COEFFICIENTS = [(0.98, -0.63, -0.21), (0.17, -0.65, 1.22), (1.0, 0.0, 0.0)]


@pytest.mark.parametrize("beta", [0.3, 1.0, 1.8, 2.2, 2.7, 20.0])
def test_one_plaquette_of_su2_is_a_quotient_of_bessel_functions(beta):
    """Catches beta / 2N for beta / N, and a flat measure: I_1 / I_0 would be larger."""
    target = ClassFunction(2, beta=beta)
    assert target.log_z == pytest.approx(log(2 * iv(1, beta) / beta), abs=1e-10)
    assert target.mean_trace == pytest.approx(iv(2, beta) / iv(1, beta), abs=1e-10)
    assert abs(target.mean_trace - iv(1, beta) / iv(0, beta)) > 1e-2


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
@pytest.mark.parametrize("n", [2, 3])
def test_normalisers_are_those_of_quadrature(n, coefficients):
    """Catches a sum over k that stops early, and a mean along the wrong coefficient."""
    target = ClassFunction(n, coefficients, 9.0)
    points = 2 * np.pi * np.arange(600) / 600
    free = np.meshgrid(*[points] * (n - 1), indexing="ij")
    theta = np.stack([*free, -sum(free)])
    volume = np.ones(theta.shape[1:])
    for j in range(n):
        for k in range(j):
            volume = volume * np.abs(np.exp(1j * theta[j]) - np.exp(1j * theta[k])) ** 2
    action = sum(c * np.cos((m + 1) * theta) for m, c in enumerate(coefficients)).sum(0)
    weight = volume / volume.mean() * np.exp(9.0 / n * action)
    assert target.log_z == pytest.approx(log(weight.mean()), abs=1e-9)
    mean = (weight * np.cos(theta).mean(0)).mean() / weight.mean()
    assert target.mean_trace == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize(
    ("beta", "expected"), [(1, 0.0601265548), (4, 0.2796191494), (5, 0.3539544367)]
)
def test_one_plaquette_of_su3(beta, expected):
    """Catches a determinant sum whose index is transposed: numbers of three other routes."""
    assert ClassFunction(3, beta=beta).mean_trace == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("side", "beta", "log_z", "plaquette"),
    [
        (4, 1.8, 6.093503, 0.3993726),
        (4, 2.2, 8.862958, 0.4644805),
        (4, 2.7, None, 0.5329806),
        (2, 2.7, None, 0.5512286),
    ],
)
def test_the_torus_of_su2_is_a_sum_over_bessel_functions(side, beta, log_z, plaquette):
    """Catches d_r to the wrong power (a sphere or a disk), and V for the number of links."""
    target = GaugeAction(side, 2, beta)
    area = side**2

    def z(b):
        return sum((2 * iv(m, b) / b) ** area for m in range(1, 60))

    assert target.log_z == pytest.approx(log(z(beta)), abs=1e-9)
    slope = (log(z(beta + 1e-5)) - log(z(beta - 1e-5))) / 2e-5 / area
    assert target.plaquette == pytest.approx(slope, abs=1e-8)
    assert target.plaquette == pytest.approx(plaquette, abs=1e-7)
    if log_z is not None:
        assert target.log_z == pytest.approx(log_z, abs=1e-6)


def test_the_torus_of_su3_agrees_with_importance_sampling():
    """Catches a character coefficient of the conjugate representation: a wide sample of Haar."""
    target = GaugeAction(2, 3, 1.5)
    u = haar(3, 40_000, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    log_w = target.log_prob(u)
    assert float(ess(log_w)) > 10_000
    assert checks.mean_weight(log_w, target.log_z)
    assert not checks.mean_weight(log_w, 4 * ClassFunction(3, beta=1.5).log_z + 0.05), "control"
    mean = (log_w - target.log_z).exp() * mean_plaquette(u)
    assert checks.mean_is(mean, target.plaquette)


def test_dimensions_are_those_of_young_diagrams():
    """Catches a product over half of the pairs: the first representations of SU(3)."""
    sizes = {(0, 0, 0): 1, (1, 0, 0): 3, (1, 1, 0): 3, (2, 0, 0): 6, (2, 1, 0): 8, (3, 0, 0): 10}
    assert {r: dimension(r) for r in sizes} == sizes
    assert len(representations(3, 4)) == 15
    assert all(dimension((k, 0)) == k + 1 for k in range(6))


@pytest.mark.parametrize("n", [2, 3])
def test_samples_of_a_class_function_fit_it(n):
    """Catches a ceiling that is too low, angles without the Vandermonde, a frame that is fixed."""
    target = ClassFunction(n, (0.98, -0.63, -0.21), 4.0)
    x = target.sample(40_000, torch.Generator().manual_seed(1))
    special_unitary("x", x)
    t = su_n.trace(x).real / n
    assert checks.mean_is(t, target.mean_trace)
    # E over the target of 1/w is 1/Z, for weights from Haar.
    assert checks.mean_is((target.log_z - target.log_prob(x)).exp(), 1.0)
    # Frames are uniform: no entry off the diagonal is preferred.
    assert checks.mean_is(x[:, 0, 1].real, 0.0)
    assert checks.mean_is(x[:, 0, 0].abs().square() - x[:, 1, 1].abs().square(), 0.0)


def test_the_action_does_not_see_frames():
    """Catches a plaquette that is not closed; Wilson loops are as invariant."""
    u, g = haar(3, 2, 2, 4, 4), haar(3, 4, 4)
    target = GaugeAction(4, 3, 2.0)
    turned = gauge_transform(u, g)
    torch.testing.assert_close(target.log_prob(turned), target.log_prob(u))
    both = [su_n.trace(loops(v, 2, 3)) for v in (u, turned)]
    torch.testing.assert_close(*both)
    trivial = torch.eye(3, dtype=u.dtype).expand(1, 2, 4, 4, 3, 3)
    assert float(target.log_prob(trivial)) == pytest.approx(2.0 * 16)


def test_zero_coupling_is_haar():
    """Catches a division by beta, and a normaliser of Haar that is not 1."""
    for target in (ClassFunction(3, beta=0.0), GaugeAction(4, 2, 0.0)):
        assert target.log_z == pytest.approx(0.0, abs=1e-12)
    assert ClassFunction(2, beta=0.0).mean_trace == 0.0
    assert GaugeAction(4, 2, 0.0).plaquette == pytest.approx(0.0, abs=1e-12)


def test_character_coefficients_of_su2_by_direct_integrals():
    """Catches a shift of the determinant's index: int f chi_r over angles, one r at a time."""
    from gentoolkit.targets.lattice import _fourier, _integral

    beta = 1.7
    g, top = _fourier(beta / 2, torch.ones(1, dtype=torch.float64))
    theta = (np.arange(4000) + 0.5) * pi / 4000
    for r in range(4):
        character = np.sin((r + 1) * theta) / np.sin(theta)
        exact = (2 * np.sin(theta) ** 2 * np.exp(beta * np.cos(theta)) * character).mean()
        assert float(_integral(g, (r, 0))) * exp(2 * float(top)) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: GaugeAction(4, 2, -1.0), ValueError, "beta must be at least 0"),
        (lambda: ClassFunction(2, beta=float("nan")), ValueError, "beta must be at least 0"),
        (lambda: GaugeAction(1), ValueError, "side of 2 or more"),
        (lambda: GaugeAction(4, 1), ValueError, "two or more"),
        (lambda: ClassFunction(2, ()), ValueError, "coefficients"),
        (lambda: ClassFunction(2, (float("inf"),)), ValueError, "finite"),
        (lambda: ClassFunction(2).log_prob(1.1 * haar(2, 3)), ValueError, "special unitary"),
        (lambda: ClassFunction(2).log_prob(haar(3, 3)), ValueError, "shape"),
        (lambda: ClassFunction(2).log_prob(torch.zeros(3, 2, 2)), TypeError, "complex"),
        (lambda: GaugeAction(4).log_prob(haar(2, 3, 2, 4, 5)), ValueError, "shape"),
        (lambda: ClassFunction(4).sample(3), ValueError, r"for SU\(2\) and SU\(3\)"),
        (lambda: ClassFunction(2).sample(0), ValueError, "at least 1"),
    ],
)
def test_bad_input_is_refused(make, error, words):
    """Catches a negative beta, matrices off the group, another lattice."""
    with pytest.raises(error, match=words):
        make()


def test_targets_follow_the_model_that_holds_them():
    """Catches a sample of another precision, and a log-density of one."""
    for n, dtype in product((2, 3), (torch.float32, torch.float64)):
        target = ClassFunction(n, beta=2.0).to(dtype)
        x = target.sample(5)
        assert x.real.dtype == target.log_prob(x).dtype == dtype
        u = haar(n, 3, 2, 4, 4, dtype=dtype)
        assert GaugeAction(4, n, 2.0).log_prob(u).dtype == dtype
