"""DDIM: marginals, DDPM as a case, exact Gaussian maps, encoding and interpolation."""

from itertools import pairwise

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.diffusion import (
    DDIM,
    Betas,
    Denoiser,
    PredictsNoise,
    ancestral,
    encode,
    even_times,
    slerp,
    sub_grid,
)
from tests.diffusion.carried import NORMAL, VP, Exact, exact, flow_end, run, slopes

B1000 = Betas.linear(1000)
ABAR = torch.cat(
    [torch.ones(1), (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)]
).double()


def straight(data):
    """A denoiser by `Straight`."""
    return Denoiser(Straight(data), B1000, PredictsNoise())


class Straight:
    """A net that always answers the same data: each step is then affine in its noise."""

    def __init__(self, data):
        self.data = data

    def __call__(self, x, t):
        abar = ABAR[(t * 1000).round().long()][:, None]
        return (x - abar.sqrt() * self.data) / (1 - abar).sqrt()


def one_step(eta, t, s, x, x0, z=True, sampler=None):
    """The end of one step, and the noise that it drew."""
    times = torch.tensor([t, s]) / 1000
    generator = torch.Generator().manual_seed(5)
    end = (sampler or DDIM(eta)).sample(straight(x0), x, times, generator)
    return end, torch.randn(x.shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_the_marginals_of_the_family_are_kept(eta):
    """Catches a direction that forgets -std^2: coefficient of x0 and variance along a grid."""
    grid = [1000, 750, 500, 250, 100]
    x0, generator = torch.full((4000, 1), 0.8), torch.Generator().manual_seed(1)
    x = ABAR[1000].sqrt() * x0 + (1 - ABAR[1000]).sqrt() * torch.randn(4000, 1, generator=generator)
    end = DDIM(eta).sample(straight(x0), x, torch.tensor(grid) / 1000, generator)
    abar = ABAR[100]
    centred = (end - abar.sqrt() * 0.8)[:, 0]
    for value, truth in ((centred, 0.0), (centred.square(), float(1 - abar))):
        result = checks.mean_is(value, truth)
        assert result, result
    # Exactly: one step's share of the old noise and its own add to the marginal's variance.
    for t, s in pairwise(grid):
        e = torch.ones(1, 1)
        xt = ABAR[t].sqrt() * 0.8 + (1 - ABAR[t]).sqrt() * e
        got, z = one_step(eta, t, s, xt, torch.full((1, 1), 0.8))
        std = eta * ((1 - ABAR[s]) / (1 - ABAR[t]) * (1 - ABAR[t] / ABAR[s])).sqrt()
        kept = (got - ABAR[s].sqrt() * 0.8 - std * z) / e
        assert float(kept**2 + std**2 - (1 - ABAR[s])) == pytest.approx(0.0, abs=1e-13)


def test_eta_one_is_ddpm():
    """Catches a wrong index or variance: the posterior in beta, alpha and their product."""
    x, x0 = torch.randn(6, 2), torch.randn(6, 2)
    for t in (1000, 400, 7, 2):
        beta = 1 - ABAR[t] / ABAR[t - 1]
        mean = (ABAR[t - 1].sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - ABAR[t - 1]) * x) / (
            1 - ABAR[t]
        )
        small = (beta * (1 - ABAR[t - 1]) / (1 - ABAR[t])).sqrt()
        for sampler, std in (
            (DDIM(1.0), small),
            (ancestral(wide=True), beta.sqrt()),
        ):
            got, z = one_step(1.0, t, t - 1, x, x0, sampler=sampler)
            torch.testing.assert_close(got, mean + std * z, rtol=0, atol=1e-12)
    for sampler in (DDIM(1.0), ancestral(wide=True)):
        got, _ = one_step(1.0, 1, 0, x, x0, sampler=sampler)
        torch.testing.assert_close(got, x0, rtol=0, atol=1e-12)


TABLE = {10: 0.39123, 20: 0.20649, 50: 0.08605, 100: 0.04380, 200: 0.02219, 500: 0.00900}


def test_eta_zero_is_the_flow_in_the_limit():
    """Catches an index that is off by one, which only many steps show: order 1 and no floor."""
    x = torch.linspace(-3, 3, 61)[:, None]
    truth = 1.3 + 0.5 * (x - ABAR[-1].sqrt() * 1.3) / (ABAR[-1] * 0.25 + 1 - ABAR[-1]).sqrt()
    for steps, error in TABLE.items():
        got = run(DDIM(), NORMAL, B1000, x, sub_grid(steps, 1000))
        assert float((got - truth).abs().max()) == pytest.approx(error, abs=1e-5)
    torch.testing.assert_close(flow_end(x, NORMAL, B1000, 1.0, 0.0), truth, rtol=0, atol=1e-9)


def affine_moments(eta, steps):
    """Mean and variance of the output on Gaussian data, step by step in the paper's letters."""
    mu, s2, m, v = 1.3, 0.25, 0.0, 1.0
    for t, s in pairwise(sub_grid(steps, 1000).mul(1000).round().long().tolist()):
        at, au = float(ABAR[t]), float(ABAR[s])
        slope = (1 - at) ** 0.5 / (at * s2 + 1 - at)  # e = slope (x - sqrt(at) mu)
        std = eta * ((1 - au) / (1 - at) * (1 - at / au)) ** 0.5
        toward = max(0.0, 1 - au - std**2) ** 0.5
        gain = (au / at) ** 0.5 * (1 - (1 - at) ** 0.5 * slope) + toward * slope
        at_centre = au**0.5 * mu
        m, v = at_centre + gain * (m - at**0.5 * mu), gain**2 * v + std**2
    return m, v


@pytest.mark.parametrize(
    ("eta", "steps", "mean", "variance"),
    [
        (0.0, 10, 1.29694, 0.13687),
        (0.0, 50, 1.29611, 0.22222),
        (0.5, 10, 1.29866, 0.13219),
        (0.5, 50, 1.29892, 0.21694),
        (1.0, 10, 1.29999, 0.11121),
        (1.0, 50, 1.29999, 0.19722),
    ],
)
def test_output_moments_on_gaussian_data(eta, steps, mean, variance):
    """Catches a lost -std^2 in the direction: the variance would be ten times as large."""
    m, v = affine_moments(eta, steps)
    assert (m, v) == pytest.approx((mean, variance), abs=1e-5)
    y = run(DDIM(eta), NORMAL, B1000, torch.randn(40_000, 1), sub_grid(steps, 1000), seed=4)[:, 0]
    for value, truth in ((y, m), ((y - m).square(), v)):
        result = checks.mean_is(value, truth)
        assert result, result
    assert not checks.mean_is((y - m).square(), 0.25)  # the control: not yet the data's


def test_the_round_trip_closes_at_order_one():
    """Catches an encoder that reads the noise at the wrong end: no order, or a floor."""
    x0 = torch.linspace(0.3, 2.3, 17)[:, None]
    model = exact(NORMAL, VP)
    gaps, codes = [], []
    for steps in (100, 200, 400):
        times = even_times(steps, 0.02)
        code = list(encode(model, x0, times))[-1].x
        back = DDIM().sample(model, code, times)
        gaps.append(float((back - x0).abs().mean()))
        codes.append(float((code - flow_end(x0, NORMAL, VP, 0.02, 1.0)).abs().mean()))
    assert slopes(gaps)[-1] == pytest.approx(1.0, abs=0.15)
    assert slopes(codes)[-1] == pytest.approx(1.0, abs=0.15)


def test_encoding_starts_at_clean_data():
    """Catches a division by no noise at time 0, and a first step that forgets the noise."""
    x0 = torch.linspace(0.3, 2.3, 11)[:, None]
    net, errors = Exact(NORMAL, B1000), []
    truth = flow_end(x0, NORMAL, B1000, 0.0, 1.0)
    for steps in (100, 200, 400):
        states = list(encode(Denoiser(net, B1000, PredictsNoise()), x0, sub_grid(steps, 1000)))
        assert len(states) == steps + 1 and torch.equal(states[0].x, x0)
        errors.append(float((states[-1].x - truth).abs().max()))
        t = torch.tensor(states[1].time).expand(11)
        a, s = B1000.levels(t[0])
        torch.testing.assert_close(states[1].x, a * x0 + s * net(a * x0, t))
    assert min(net.asked) > 0 and slopes(errors)[-1] == pytest.approx(1.0, abs=0.25)


def test_slerp_keeps_the_length_and_turns_evenly():
    """Catches weights of a line, an angle over the batch, and 0/0 for equal codes."""
    a, b = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    b = b / b.flatten(1).norm(dim=1)[:, None, None, None]
    a = a / a.flatten(1).norm(dim=1)[:, None, None, None]
    whole = (a * b).flatten(1).sum(1).acos()
    for w in (0.0, 0.25, 0.7, 1.0):
        c = slerp(a, b, w)
        torch.testing.assert_close(c.flatten(1).norm(dim=1), torch.ones(4))
        part = (a * c).flatten(1).sum(1).clamp(max=1.0).acos()
        torch.testing.assert_close(part, w * whole, rtol=0, atol=1e-7)
    torch.testing.assert_close(slerp(2 * a, 3 * b, 1.0), 3 * b)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    near = a + 1e-9 * b
    torch.testing.assert_close(slerp(a, near, 0.5), a + 0.5e-9 * b, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: DDIM(1.5), r"eta must lie in \[0, 1\]"),
        (lambda: DDIM(-0.1), r"eta must lie in \[0, 1\]"),
        (lambda: DDIM(float("nan")), r"eta must lie in \[0, 1\]"),
        (lambda: sub_grid(0, 1000), "at least 1"),
        (lambda: sub_grid(1001, 1000), "at most the 1000"),
        (lambda: encode(straight(0), torch.ones(1, 1), even_times(5).flip(0)), "must fall"),
        (lambda: slerp(torch.ones(1, 2), -torch.ones(1, 2), 0.5), "no shortest arc"),
        (lambda: slerp(torch.zeros(1, 2), torch.ones(1, 2), 0.5), "no direction"),
        (lambda: slerp(torch.ones(1, 2), torch.ones(2, 2), 0.5), "one shape"),
        (lambda: slerp(torch.full((1, 2), torch.nan), torch.ones(1, 2), 0.5), "finite"),
    ],
)
def test_bad_input_is_refused(call, words):
    """Catches step counts beyond the grid and codes without an arc."""
    with pytest.raises(ValueError, match=words):
        call()


def test_integer_codes_are_refused():
    """Catches pixels handed in as integers."""
    with pytest.raises(TypeError, match="floating-point codes"):
        slerp(torch.ones(1, 2, dtype=torch.int64), torch.ones(1, 2), 0.5)
    with pytest.raises(TypeError, match="floating-point numbers"):
        encode(straight(0), torch.ones(1, 1, dtype=torch.uint8), 5)
