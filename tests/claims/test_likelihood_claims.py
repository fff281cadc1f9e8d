"""The metrics of S08 and S14: a perfect network must score perfectly, a broken one must not."""

import torch

from tests.claims import s08_truncation as s08
from tests.claims import s14_high_order as s14


def test_a_perfect_network_has_no_error_and_exact_samples():
    """Catches a metric with a floor of its own, and quantiles of another law."""
    noise = lambda u: u[:, 0].exp()  # noqa: E731

    def perfect(x, log_noise):
        return s08.exact_noise(x, noise(log_noise))

    bound, large, w1 = s08.measure(perfect)
    assert float(bound.max()) < 1e-6 and float(large.max()) < 1e-6
    assert float(w1.max()) < 0.02
    # Control: one percent too much noise is seen by both.
    bound, _, w1 = s08.measure(lambda x, u: 1.03 * perfect(x, u))
    assert float(bound.min()) > 1e-3 and float(w1.min()) > 0.02


def test_soft_cuts_share_data_and_noise_with_hard_ones():
    """Catches arms that differ in more than the cut: after one step of the same numbers only the
    times differ."""
    g = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    assert torch.equal(s08.cuts_of("hard", 4, g()), torch.full((4,), s08.LOW))
    soft = s08.cuts_of("soft", 2000, g())
    assert torch.equal(soft, s08.cuts_of("soft, weight Z", 2000, g()))
    assert abs(float((soft < 1e-2).double().mean()) - 0.5) < 0.05


def test_the_exact_score_has_the_exact_density():
    """Catches a KL on too coarse a grid, and an error of the score with a wrong sign."""

    def exact(x, t):
        a, s = (float(v) for v in s14.VP.levels(t[:1].double()))
        return -s * s14.LAW.noised(a, s).score(x)

    kl, mass, error = s14.measure(exact, 50)
    assert abs(kl) < 1e-3 and abs(mass - 1) < 1e-3 and error < 1e-8
    rippled = lambda x, t: exact(x, t) - s14.VP.noise(t)[:, None] * 0.1 * (8 * x).sin()  # noqa: E731
    kl, _, error = s14.measure(rippled, 50)
    assert kl > 2.0 and abs(error - 0.02512) < 5e-4
