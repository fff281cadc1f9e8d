"""The chain's account against enumeration and closed forms."""

from dataclasses import dataclass, replace
from math import log

import pytest
import torch
from torch import distributions as D

from gentoolkit import Categorical, Chain, FunctionKernel, Gaussian, log_z, standard_normal
from gentoolkit.core import Frozen, base_measure
from gentoolkit.core.chain import draw
from tests.laws.examples import Affine, Metropolis, Sinh, linear_gaussian, lopsided


def test_evidence_averages_to_p_of_x_by_enumeration():
    """Catches a lost log-source and a ratio of the wrong sign: 3 x 4 x 5 states, all summed."""
    source, f1, f2 = torch.randn(1, 3), torch.randn(3, 4), torch.randn(4, 5)
    b1, b2 = torch.randn(4, 3), torch.randn(5, 4)
    chain = Chain(
        Categorical(source),
        [
            FunctionKernel(lambda x: Categorical(f1[x]), lambda y: Categorical(b1[y])),
            FunctionKernel(lambda x: Categorical(f2[x]), lambda y: Categorical(b2[y])),
        ],
    )
    x0, x1, x2 = (g.flatten() for g in torch.meshgrid(*map(torch.arange, (3, 4, 5)), indexing="ij"))
    trajectory = chain.replay([x0, x1, x2])
    pulled = b2.log_softmax(-1)[x2, x1].exp() * b1.log_softmax(-1)[x1, x0].exp()  # b(x0, x1 | x2)
    p = torch.zeros(5).index_add(0, x2, pulled * trajectory.log_evidence().exp())
    exact = source.softmax(-1) @ f1.softmax(-1) @ f2.softmax(-1)
    torch.testing.assert_close(p, exact[0], rtol=0, atol=1e-14)


def test_bijections_give_the_density_of_the_image():
    """Catches the sign of the log-determinant: N(0, I) through A x + c is N(c, A A')."""
    a, c = torch.tensor([[1.5, 0.4], [-0.3, 0.8]]), torch.tensor([1.0, -2.0])
    x = torch.randn(20, 2)
    exact = D.MultivariateNormal(c, a @ a.T).log_prob(x)
    got = Chain(standard_normal(2), [Affine(a, c)]).log_prob(x)
    torch.testing.assert_close(got, exact, rtol=0, atol=1e-12)


def test_log_prob_refuses_a_random_step_and_names_it():
    """Catches an estimate of log p(x) passed off as the density."""
    chain = Chain(standard_normal(2), [Sinh(), Metropolis(lopsided())])
    with pytest.raises(ValueError, match=r"steps\[1\], a Metropolis"):
        chain.log_prob(torch.randn(3, 2))


def test_log_prob_refuses_an_estimated_determinant_and_says_why():
    """Catches a random number passed off as a density."""

    class Noisy(Sinh):
        estimated = True

        def transform(self, x, generator=None):
            y, log_det = super().transform(x)
            return y, log_det + torch.randn(len(x), generator=generator)

        def inverse(self, y, generator=None):
            x, log_det = super().inverse(y)
            return x, log_det + torch.randn(len(y), generator=generator)

    chain = Chain(standard_normal(2), [Sinh(), Noisy()])
    with pytest.raises(ValueError, match=r"steps\[1\], a Noisy, which estimates its own"):
        chain.log_prob(torch.randn(3, 2))
    assert chain.pull(torch.randn(3, 2)).log_evidence().shape == (3,)


def test_an_exact_reversal_has_a_constant_evidence():
    """Catches the variance of noise in place of the posterior's: data N(0, 0.3), one step."""
    v, alpha = 0.3, 0.8
    last = alpha * v + 1 - alpha
    gain = alpha**0.5 * v / last
    left = v - gain**2 * last
    kernel = FunctionKernel(
        lambda x: Gaussian(gain * x, left**0.5),
        lambda y: Gaussian(alpha**0.5 * y, (1 - alpha) ** 0.5),
    )
    chain = Chain(Gaussian(torch.zeros(1, 1), last**0.5), [kernel])
    x = torch.randn(100, 1)
    exact = -0.5 * x[:, 0] ** 2 / v - 0.5 * log(2 * torch.pi * v)
    evidence = chain.pull(x).log_evidence()
    torch.testing.assert_close(evidence, exact, rtol=0, atol=1e-10)
    wrong = FunctionKernel(lambda x: Gaussian(gain * x, (1 - alpha) ** 0.5), kernel.b)
    assert Chain(chain.source, [wrong]).pull(x).log_evidence().sub(exact).std() > 0.01


def test_the_empty_chain_is_importance_sampling():
    """Catches an account that starts from a bare zero of another dtype or shape."""
    chain = Chain(standard_normal(2, dtype=torch.float32))
    trajectory = chain.push(5)
    assert trajectory.log_ratio.shape == (0, 5) and trajectory.log_ratio.dtype == torch.float32
    torch.testing.assert_close(trajectory.log_evidence(), trajectory.log_source)
    assert chain.log_prob(torch.zeros(3, 2, dtype=torch.float32)).shape == (3,)


def test_the_ledger_ends_in_the_evidence():
    """Catches a running sum that is off by one step."""
    kernel = linear_gaussian(torch.float64)
    trajectory = Chain(standard_normal(2), [kernel, Sinh()]).push(6)
    ledger = trajectory.ledger()
    assert ledger.shape == (3, 6)
    torch.testing.assert_close(ledger[0], trajectory.log_source)
    torch.testing.assert_close(ledger[-1], trajectory.log_evidence())
    torch.testing.assert_close(ledger[0] - ledger[1], trajectory.log_ratio[0])


def test_a_torch_distribution_will_do_as_a_source():
    """Catches a generator that is ignored, and a global random state that is left changed."""
    normal = D.Independent(D.Normal(torch.zeros(2), torch.ones(2)), 1)
    chain = Chain(normal, [Sinh()])
    own = Chain(standard_normal(2), [Sinh()])
    x = torch.randn(4, 2)
    torch.testing.assert_close(chain.log_prob(x), own.log_prob(x))
    before = torch.random.get_rng_state()
    one = draw(normal, 3, torch.Generator().manual_seed(1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one, draw(normal, 3, torch.Generator().manual_seed(1)))
    assert not torch.equal(one, draw(normal, 3, torch.Generator().manual_seed(2)))


def test_states_off_the_map_are_refused():
    """Catches a replayed pair that a bijection cannot have produced."""
    chain = Chain(standard_normal(2), [Sinh()])
    x = torch.randn(4, 2)
    chain.replay([x, x.sinh()])
    with pytest.raises(ValueError, match="off the map"):
        chain.replay([x, x.sinh() + 0.01])


def _explodes(x):
    return Gaussian(x * 1e300 * 1e300, 1.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.push(0), ValueError, "at least 1"),
        (lambda c: c.push(2.5), TypeError, "whole number"),
        (lambda c: c.push(True), TypeError, "whole number"),
        (lambda c: c.pull(torch.empty(0, 2)), ValueError, "empty"),
        (lambda c: c.pull([[1.0, 2.0]]), TypeError, "Tensor"),
        (lambda c: c.pull(torch.full((2, 2), torch.nan)), ValueError, "finite"),
        (lambda c: c.replay([torch.zeros(2, 2)]), ValueError, "1 steps has 2 states"),
        (lambda c: c.replay([torch.zeros(2, 2), torch.zeros(3, 2)]), ValueError, r"\[2, 3\]"),
        (lambda c: Chain(c.source, [torch.sinh]), TypeError, r"steps\[0\] must be a Step"),
        (lambda c: c.push(3).log_weight(lambda x: x.sum()), ValueError, "one number per sample"),
        (lambda c: c.push(3).log_weight(lambda x: x[:, :1]), ValueError, "trailing 1"),
        (lambda c: c.push(3).log_weight(3.0), TypeError, "function"),
        (
            lambda c: Chain(c.source, [FunctionKernel(_explodes, _explodes)]).push(3),
            ValueError,
            "finite",
        ),
    ],
)
def test_bad_input_is_refused(call, error, words):
    """Catches input that would give a silent wrong number."""
    with pytest.raises(error, match=words):
        call(Chain(standard_normal(2), [Sinh()]))


def test_more_paths_tighten_the_bound():
    """Catches log_z over the wrong dimension: E[log_z over K] rises with K to log p(x)."""
    kernel = FunctionKernel(lambda z: Gaussian(2 * z, 0.5), lambda x: Gaussian(0.3 * x, 0.6))
    chain = Chain(standard_normal(1), [kernel])
    x = torch.full((1, 1), 1.5)
    exact = Gaussian(torch.zeros(1, 1), (4 + 0.25) ** 0.5).log_prob(x).item()
    evidence = chain.pull(x.expand(64 * 2000, 1)).log_evidence().reshape(64, 2000)
    bounds = [log_z(evidence[:k]).mean().item() for k in (1, 4, 16, 64)]
    assert bounds == sorted(bounds) and bounds[-1] < exact
    assert bounds[-1] == pytest.approx(exact, abs=0.02)


@dataclass(frozen=True)
class OnCircle:
    """The uniform law of the circle, as a density against its own length, or against Lebesgue."""

    base_measure: str = "length of the circle"

    def sample(self, n, generator=None):
        return 2 * torch.pi * torch.rand(n, 1, generator=generator)

    def log_prob(self, x):
        return torch.zeros(x.shape[0])


def test_a_weight_is_a_quotient_of_densities_against_one_measure():
    """Catches a target on a group that is weighed against a source of the plane, in silence."""
    paths = Chain(OnCircle()).push(3)
    assert paths.log_weight(OnCircle()).shape == (3,)
    for other in (OnCircle("another"), lopsided(), OnCircle("another").log_prob):
        with pytest.raises(ValueError, match="against one measure; got length of the circle and"):
            paths.log_weight(other)
    with pytest.raises(ValueError, match="got Lebesgue measure and length of the circle"):
        Chain(standard_normal(1)).push(3).log_weight(OnCircle())
    # The control: a plain function says nothing, and paths of unknown measure are not refused.
    assert paths.log_weight(lambda x: x[:, 0]).shape == (3,)
    assert Chain(OnCircle()).replay(paths.states).base_measure == OnCircle().base_measure
    assert replace(paths, base_measure=None).log_weight(lopsided_line).shape == (3,)


def lopsided_line(x):
    return -x[:, 0].square()


def test_the_measure_of_a_density_is_the_one_it_names():
    """Catches a wrapper that forgets the measure of what it holds."""

    class Named(Gaussian):
        base_measure = "counting"

    normal = D.Independent(D.Normal(torch.zeros(2), torch.ones(2)), 1)
    assert base_measure(standard_normal(2)) == base_measure(normal) == "Lebesgue measure"
    assert base_measure(Frozen(standard_normal(2))) == "Lebesgue measure"
    assert base_measure(Frozen(Named(torch.zeros(1, 2), 1.0))) == "counting"
    assert base_measure(OnCircle().log_prob) == "length of the circle"
    assert base_measure(lopsided_line) is None
