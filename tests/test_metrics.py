"""Metrics against closed forms and known laws."""

import pytest
import torch

from gentoolkit.metrics import energy_distance, ess, frechet_distance, mmd


def test_energy_distance_of_two_normals():
    """Catches a lost factor 2: for N(0,1) and N(d,1) the closed form uses the folded normal."""
    d = 1.5
    x, y = torch.randn(4000, 1), d + torch.randn(4000, 1)
    # E|N(m, 2)| = 2/sqrt(pi) exp(-m^2/4) + m erf(m/2)
    m = torch.tensor(d)
    between = 2 / torch.pi**0.5 * (-m.square() / 4).exp() + m * (m / 2).erf()
    exact = 2 * between - 2 * (2 / torch.pi**0.5)
    draws = torch.stack(
        [energy_distance(torch.randn(500, 1), d + torch.randn(500, 1)) for _ in range(40)]
    )
    assert abs(float(draws.mean() - exact)) < 4 * float(draws.std()) / 40**0.5
    assert float(energy_distance(x, y)) == pytest.approx(float(exact), abs=0.08)


@pytest.mark.parametrize("metric", [energy_distance, mmd])
def test_the_same_law_is_at_distance_zero_in_the_mean(metric):
    """Catches the biased estimate, whose diagonal makes equal laws look apart."""
    draws = torch.stack([metric(torch.randn(60, 2), torch.randn(60, 2)) for _ in range(400)])
    assert abs(float(draws.mean())) < 4 * float(draws.std()) / 20
    assert float(draws.min()) < 0
    assert float(metric(torch.randn(300, 2), 1 + torch.randn(300, 2))) > 5 * float(draws.std())


def test_mmd_of_two_normals():
    """Catches the bandwidth squared wrongly: the Gaussian kernel has a closed form."""
    d, h = 1.0, 0.8
    c = h / (h**2 + 2) ** 0.5
    exact = 2 * c * (1 - torch.tensor(-(d**2) / (2 * (h**2 + 2))).exp())
    draws = torch.stack(
        [mmd(torch.randn(300, 1), d + torch.randn(300, 1), bandwidth=h) for _ in range(60)]
    )
    assert abs(float(draws.mean() - exact)) < 4 * float(draws.std()) / 60**0.5


def test_ess_between_one_and_all():
    """Catches a normalisation by the largest weight."""
    assert float(ess(torch.zeros(50))) == pytest.approx(50)
    assert float(ess(torch.tensor([0.0, -50.0, -60.0]))) == pytest.approx(1)


@pytest.mark.parametrize("metric", [energy_distance, mmd, frechet_distance])
@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.zeros(0, 2), torch.zeros(3, 2), "empty"),
        (torch.zeros(1, 2), torch.zeros(3, 2), "two rows"),
        (torch.zeros(3, 2), torch.zeros(3, 3), "one space"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), "finite"),
    ],
)
def test_bad_samples_are_refused(metric, x, y, words):
    """Catches samples of different spaces and empty ones."""
    with pytest.raises(ValueError, match=words):
        metric(x, y)


def test_a_bad_bandwidth_is_refused():
    """Catches a kernel of width zero, whose discrepancy is silently zero."""
    with pytest.raises(ValueError, match="bandwidth"):
        mmd(torch.randn(3, 1), torch.randn(3, 1), bandwidth=0.0)
    with pytest.raises(ValueError, match="bandwidth"):
        mmd(torch.zeros(3, 1), torch.zeros(3, 1))


@pytest.mark.parametrize("offset", [0.0, 3e3, 1e4, 1e5, -1e5])
@pytest.mark.parametrize("metric", [energy_distance, mmd])
def test_float32_far_from_zero(metric, offset):
    """Catches distances by inner products: .0566, .033, .016 for .0494, and a bandwidth of zero."""
    # Multiples of 1/64, so that every shift is exact in float32.
    x, y = ((torch.randn(500, 2) * 64).round() / 64 for _ in range(2))
    y = y + 0.25
    truth = float(metric(x, y))
    shifted = metric(x.float() + offset, y.float() + offset)
    assert float(shifted) == pytest.approx(truth, rel=2e-5, abs=2e-6)
    far = torch.cdist(x.float() + 1e4, y.float() + 1e4) - torch.cdist(x, y)
    assert float(far.abs().max()) > 0.1  # the control


def _with_moments(n, mean, root):
    """A sample whose empirical mean and covariance are exactly `mean` and `root root^T`."""
    x = torch.randn(n, len(mean))
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.mT))).mT
    return mean + x @ root.mT


def test_frechet_distance_of_gaussians_in_closed_form():
    """Catches a root of the wrong product, and a lost factor 2.

    Covariances that commute have the closed form |m|^2 + sum (sqrt l - sqrt k)^2 of eigenvalues; a
    map that transports one Gaussian to another, symmetric and positive, has E|x - Ax|^2.
    """
    zero, m = torch.zeros(3), torch.tensor([1.0, -2.0, 0.5])
    x = _with_moments(50, zero, torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    y = _with_moments(70, m, torch.diag(torch.tensor([2.0, 0.5, 3.0])))
    assert float(frechet_distance(x, y)) == pytest.approx(1 + 4 + 0.25 + 1 + 2.25)
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    assert float(frechet_distance(x @ turn, y @ turn)) == pytest.approx(8.5)
    root = torch.randn(3, 3)
    shift = root @ root.mT + torch.eye(3)  # does not commute with the covariance of x
    z = x @ shift.mT
    moved = (torch.cov((x - z).mT)).trace()
    assert float(frechet_distance(x, z)) == pytest.approx(float(moved))
    assert float(frechet_distance(x, x)) == pytest.approx(0.0, abs=1e-9)
    # More numbers than rows: the covariances are singular.
    wide = torch.randn(4, 6)
    assert float(frechet_distance(wide, wide + 1.0)) == pytest.approx(6.0, abs=1e-6)
