"""Stochastic flows: the exact truths A to D, and what training reaches."""

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor

from gentoolkit import Bijection, Chain, FunctionKernel, Gaussian, Reversible, standard_normal
from gentoolkit.core import checks
from gentoolkit.flows import AffineCoupling, alternating_mask
from gentoolkit.stochastic import (
    MALA,
    Langevin,
    Metropolis,
    StochasticFlow,
    TrainedLangevin,
)
from gentoolkit.stochastic.flow import _meeting_shapes
from tests.flows.truth import perturbed
from tests.laws.examples import Affine, lopsided
from tests.laws.quadratic import quadratic
from tests.stochastic.linear import Full
from tests.stochastic.mixed import END, LOG_Z, exact_elbo, linear_chain, path_laws


class NoLogDet(Affine):
    """A log-determinant left out."""

    def _log_det(self, x):
        return torch.zeros(x.shape[0])


class Negated(Langevin):
    """The Langevin term with its sign turned."""

    def push(self, x, generator=None):
        y, ratio = super().push(x, generator)
        return y, -ratio


class FlippedLogDet(Affine):
    """A log-determinant of the wrong sign."""

    def _log_det(self, x):
        return -super()._log_det(x)


@dataclass(frozen=True)
class OneEnd(Langevin):
    """The gradient of the reversal taken at x instead of y."""

    def push(self, x, generator=None):
        f = self.push_law(x)
        y = f.sample(generator=generator)
        return y, Gaussian(y + f.mean - x, f.std).log_prob(x) - f.log_prob(y)


def moments(chain: Chain):
    return quadratic(lambda n: chain.push(n).log_weight(END), 10)


def test_truth_a_the_bound_of_a_linear_gaussian_chain():
    """Catches a wrong sign, determinant or end in any of four kinds of layers."""
    exact = moments(linear_chain())
    assert exact.mean == pytest.approx(exact_elbo(), abs=1e-10)
    assert exact.log_mean_exp == pytest.approx(LOG_Z, abs=1e-10)
    log_w = linear_chain().push(200_000).log_weight(END).detach()
    assert checks.mean_is(log_w, exact_elbo())


SLIPS = {
    "log-det flipped": lambda: linear_chain(affine=FlippedLogDet),
    "log-det missing": lambda: linear_chain(affine=NoLogDet),
    "gradient at x": lambda: linear_chain(langevin=OneEnd),
    "langevin negated": lambda: linear_chain(langevin=Negated),
}


@pytest.mark.parametrize("name", SLIPS)
def test_truth_a_tells_the_slips(name):
    """The controls: each is many standard errors (0.004 of 200,000 paths) off the truth."""
    log_w = SLIPS[name]().push(200_000).log_weight(END).detach()
    assert not checks.mean_is(log_w, exact_elbo())
    assert abs(moments(SLIPS[name]()).mean - exact_elbo()) > 0.03


def test_truth_b_exact_reversals_leave_no_variance():
    """Catches any single slip without statistics: log w is log c on every path."""
    (mean, cov), _ = path_laws()
    blocks = [slice(0, 2), slice(2, 4), slice(4, 7), slice(7, 10)]
    g = torch.distributions.MultivariateNormal(mean[blocks[3]], cov[blocks[3], blocks[3]])

    def reversed_exactly(step, before: slice, after: slice) -> FunctionKernel:
        gain = cov[before, after] @ cov[after, after].inverse()
        rest = cov[before, before] - gain @ cov[after, before]
        return FunctionKernel(step, lambda y: Full(mean[before] + (y - mean[after]) @ gain.T, rest))

    steps = linear_chain().steps
    laws = [step.push_law for step in steps[1:]]  # pyright: ignore
    kernels = [
        reversed_exactly(law, a, b) for law, a, b in zip(laws, blocks[:-1], blocks[1:], strict=True)
    ]
    # A move that keeps the law it meets is its own exact reversal.
    chain = Chain(standard_normal(2), [steps[0], *kernels, MALA(g, 0.1, moves=2)])
    log_w = chain.push(500).log_weight(lambda x: g.log_prob(x) + 2.5)
    torch.testing.assert_close(log_w, torch.full((500,), 2.5), rtol=0, atol=1e-12)


@dataclass(frozen=True)
class Shuffle(Bijection):
    """A permutation of finite states."""

    order: Tensor

    def transform(self, x):
        return self.order[x], torch.zeros(x.shape[0])

    def inverse(self, y):
        return self.order.argsort()[y], torch.zeros(y.shape[0])


@dataclass(frozen=True)
class FiniteMetropolis(Reversible):
    """Metropolis with a uniform proposal among finite states."""

    log_table: Tensor

    def log_g(self, x):
        return self.log_table[x]

    def matrix(self) -> Tensor:
        n = len(self.log_table)
        take = (self.log_table - self.log_table[:, None]).exp().clamp_max(1.0) / n
        return take - take.sum(1).diag() + torch.eye(n)

    def move(self, x, generator=None):
        return torch.multinomial(self.matrix()[x], 1, generator=generator)[:, 0]


class Flipped(FiniteMetropolis):
    def log_ratio(self, x, y):
        return -super().log_ratio(x, y)


class Dropped(FiniteMetropolis):
    def log_ratio(self, x, y):
        return torch.zeros(x.shape[0])


class Table:
    """A density on finite states."""

    def __init__(self, probs: Tensor) -> None:
        self.probs = probs

    def log_prob(self, x):
        return self.probs[x].log()


def enumerated(kind: type[FiniteMetropolis]) -> tuple[float, float]:
    """Sum over all 6^4 paths of P(path) w(path), and Z."""
    generator = torch.Generator().manual_seed(0)
    tables = torch.randn(3, 6, generator=generator)
    source = Table(torch.rand(6, generator=generator).softmax(0))
    gamma = torch.randn(6, generator=generator)
    order = torch.tensor([2, 0, 5, 1, 4, 3])
    steps = [kind(tables[0]), Shuffle(order), kind(tables[1]), kind(tables[2])]
    paths = torch.tensor(list(product(range(6), repeat=4)))
    x0, x1, x3, x4 = paths.unbind(1)
    states = (x0, x1, order[x1], x3, x4)
    first, second, third = (s.matrix() for s in steps if isinstance(s, FiniteMetropolis))
    chance = source.probs[x0] * first[x0, x1] * second[states[2], x3] * third[x3, x4]
    replayed = Chain(source, steps).replay(states)  # pyright: ignore[reportArgumentType]
    log_w = replayed.log_weight(lambda x: gamma[x])
    return float((chance * log_w.exp()).sum()), float(gamma.exp().sum())


def test_truth_c_all_paths_of_a_finite_chain():
    """Catches a Metropolis term with its sign turned or left out."""
    total, z = enumerated(FiniteMetropolis)
    assert total == pytest.approx(z, abs=1e-12)
    for slip in (Flipped, Dropped):
        assert abs(enumerated(slip)[0] - z) > 0.1


def test_truth_d_a_last_metropolis_moves_particles_and_no_weight():
    """Catches a last move that is charged to the path; the histogram stands exactly still."""
    g = lopsided()
    layers = [perturbed(AffineCoupling(2, alternating_mask(2, 0), (8,)), 0.3), Langevin(g, 0.02)]
    before = Chain(standard_normal(2), layers).push(200, torch.Generator().manual_seed(1))
    for move in (Metropolis(g, 0.4, moves=9), MALA(g, 0.1, moves=3)):
        after = Chain(standard_normal(2), [*layers, move]).push(
            200, torch.Generator().manual_seed(1)
        )
        assert not torch.equal(after.states[-1], before.states[-1])
        torch.testing.assert_close(after.log_weight(g), before.log_weight(g), rtol=0, atol=1e-11)
    other = Metropolis(lambda x: 0.5 * g.log_prob(x), 0.4, moves=9)
    changed = Chain(standard_normal(2), [*layers, other]).push(
        200, torch.Generator().manual_seed(1)
    )
    assert bool((changed.log_weight(g) - before.log_weight(g)).abs().max() > 0.1)


def mixed(pushed: float = 0.5) -> StochasticFlow:
    """A coupling, trained Langevin steps, another coupling, MALA."""
    g = lopsided()
    torch.manual_seed(1)
    layers = [
        AffineCoupling(2, alternating_mask(2, 0), (8,)),
        TrainedLangevin(g, 0.02),
        AffineCoupling(2, alternating_mask(2, 1), (8,)),
        MALA(g, 0.05),
    ]
    return perturbed(StochasticFlow(standard_normal(2), layers, g, pushed), 0.3)


def test_losses_are_the_means_of_the_weights():
    """Catches a loss of another sign or of another direction."""
    model, x = mixed(), lopsided().sample(300)
    seed = lambda: torch.Generator().manual_seed(2)  # noqa: E731
    pushed = model.chain().push(300, seed()).log_weight(lopsided())
    pulled = model.chain().pull(x, seed()).log_evidence()
    assert model.pushed_loss(300, generator=seed()).item() == pytest.approx(-pushed.mean().item())
    for share in (0.0, 1.0):
        alone = mixed(share)
        want = -pushed.mean() if share else -pulled.mean()
        assert alone.loss(x, generator=seed()).item() == pytest.approx(want.item())


@pytest.mark.parametrize("name", ["loss", "pushed_loss", "elbo"])
def test_every_loss_reaches_every_parameter(name):
    """Catches a layer that is not registered, and a path cut by a random layer."""
    model, x = mixed(), lopsided().sample(40)
    by = {
        "loss": lambda: model.loss(x),
        "pushed_loss": lambda: model.pushed_loss(40),
        "elbo": lambda: -model.elbo(x).mean(),
    }
    assert checks.dead_parameters(by[name], model) == []


def test_a_flow_without_a_target_learns_from_data_alone():
    """Catches a pushed loss that asks a missing target."""
    layers = [AffineCoupling(2, alternating_mask(2, 0), (8,))]
    model = StochasticFlow(standard_normal(2), layers)
    assert model.loss(torch.randn(5, 2)).shape == ()
    with pytest.raises(ValueError, match="needs a target"):
        model.pushed_loss(5)
    with pytest.raises(ValueError, match="pushed must lie"):
        StochasticFlow(standard_normal(2), layers, lopsided(), 1.5)


def test_a_target_with_parameters_is_not_trained():
    """Catches a target that is pulled towards the flow: its parameters are no part of the model."""

    class Learned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = torch.nn.Parameter(torch.zeros(2))

        def log_prob(self, x):
            return -(x - self.mean).square().sum(1)

    step = TrainedLangevin(Learned(), 0.1)
    model = StochasticFlow(standard_normal(2), [step, step], Learned())
    assert [name for name, _ in model.named_parameters()] == ["layers.0.log_step"]


def test_layers_must_meet():
    """Catches an error deep in a net: both shapes, and the layer, are named."""
    decoder, encoder = torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)
    widen = FunctionKernel(lambda x: Gaussian(decoder(x), 0.5), lambda y: Gaussian(encoder(y), 0.7))
    narrow = AffineCoupling(2, alternating_mask(2, 0), (8,))
    good = StochasticFlow(standard_normal(2), [narrow, widen])
    assert _meeting_shapes(good.chain()) == ((2,), (2,), (3,))
    with pytest.raises(ValueError, match=r"shape \('B', 3\) from layers\[0\].*layers\[1\], a Aff"):
        StochasticFlow(standard_normal(2), [widen, narrow])
    wrong = FunctionKernel(lambda x: Gaussian(decoder(x), 0.5), lambda y: Gaussian(y, 0.7))
    with pytest.raises(
        ValueError, match=r"must meet in shape.*layers\[0\], a FunctionKernel.*\(2, 2\)"
    ):
        StochasticFlow(standard_normal(2), [wrong])
    with pytest.raises(TypeError, match="must be a Step"):
        StochasticFlow(standard_normal(2), [decoder])  # pyright: ignore[reportArgumentType]
