"""The account of exact paths: with exact rates each path tells the exact log-probability."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gentoolkit.core import elbo
from gentoolkit.core.checks import bridge, mean_inverse_weight, mean_is, mean_weight
from gentoolkit.jumps.accounting import account, noising_log_density, path_log_density
from gentoolkit.jumps.simulate import gillespie, thinning, uniformization
from gentoolkit.jumps.table import Table
from gentoolkit.processes import ConstantRate, DenseRates, JumpProcess, UniformRates
from tests.jumps.exact import GENERATORS, LOPSIDED, table
from tests.jumps.spaces import every_state, rate_matrix

STATES = every_state(3, 2)


@dataclass(frozen=True)
class End:
    """The exact law at the end, as a source."""

    table: Table

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw."""
        flat = self.table.law(self.table.process.end).flatten()
        i = torch.multinomial(flat, n, replacement=True, generator=generator)
        return torch.stack([i // 3, i % 3], 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Score."""
        return self.table.law(self.table.process.end)[tuple(x.T)].log()


def tilted(exact: Table):
    """Rates that are wrong by factors around one: no chain of any data."""
    factor = torch.tensor([0.8, 1.0, 1.3])
    return lambda x, t: exact.rates(x, t) * factor[x][..., None] * (1.0 + 0.2 * t[:, None, None])


@pytest.mark.parametrize("simulate", [gillespie, uniformization])
@pytest.mark.parametrize("name", GENERATORS)
def test_every_exact_path_tells_the_exact_probability(name, simulate):
    """Catches any lost or misread term: a jump, its time, a sign, the integral, the source."""
    exact = table(name, "linear")
    x = exact.sample(300)
    path = simulate(exact.process, x)
    told = account(path, exact.process, exact.rates, End(exact), nodes=40)
    bound = 1e-8 if name != "absorbing" else 1e-4  # rates like 1/t
    assert (told.log_evidence() - exact.log_prob(x)).abs().max() < bound
    assert told.log_weight(exact.log_prob).abs().max() < bound
    assert torch.equal(told.states[-1], x) and torch.equal(told.states[0], path.final)
    # The control: rates of another time, and one that is left out.
    late = account(path, exact.process, lambda x, t: 1.1 * exact.rates(x, t), End(exact))
    assert (late.log_evidence() - exact.log_prob(x)).abs().max() > 0.02


def test_the_same_path_from_either_end_has_one_account():
    """Catches an account that depends on the direction of the run."""
    exact = table("lopsided", "linear")
    up = gillespie(exact.process, exact.sample(50))
    one, two = (account(p, exact.process, exact.rates, End(exact)) for p in (up, up.reversed()))
    torch.testing.assert_close(one.log_ratio, two.log_ratio, rtol=0, atol=1e-12)
    assert torch.equal(one.states[0], two.states[0])


def test_the_density_of_waits_by_hand():
    """Catches the exponent's sign, a rate read along columns, the last wait left out."""
    process = JumpProcess(DenseRates(LOPSIDED), ConstantRate(2.0), 1.0)
    path = gillespie(process, torch.full((200, 1), 2))
    one = int((path.counts == 1).nonzero()[0])
    t, to = float(path.times[one, 0]), int(path.tokens[one, 0])
    assert to == 0, "the only way out of 2"
    truth = torch.tensor(2 * 2.0).log() - 2 * 2.0 * t - 2 * 1.0 * (1 - t)
    assert float(noising_log_density(path, process)[one]) == pytest.approx(float(truth))
    # Two ways to the integral.
    by_sum = path_log_density(path, process.rates, nodes=20)
    torch.testing.assert_close(by_sum, noising_log_density(path, process), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_under_wrong_rates_still_tell_z(seed):
    """Catches a density of paths that is not that of the simulator; log Z = 0.9 is put in."""
    exact, generator = table("uniform", "linear"), torch.Generator().manual_seed(seed)
    process, rates = exact.process, tilted(exact)
    source, times = process.source(2), torch.linspace(1.0, 0.0, 7)
    exact_bounds = exact.bounds(times)
    down = thinning(
        rates,
        source.sample(4000, generator),
        times,
        lambda x: 1.6 * exact_bounds(x),
        generator=generator,
    )
    up = gillespie(process, exact.sample(4000, generator), generator=generator)
    pushed, pulled = (
        account(path, process, rates, source).log_weight(lambda x: exact.log_prob(x) + 0.9)
        for path in (down, up)
    )
    assert mean_weight(pushed, 0.9) and mean_inverse_weight(pulled, 0.9)
    assert bridge(pushed, pulled, 0.9)
    assert not bridge(pushed, pulled, 1.0)
    # The control: weights that belong to other rates than those that drew the paths.
    wrong = account(down, process, exact.rates, source)
    assert not bridge(wrong.log_weight(lambda x: exact.log_prob(x) + 0.9), pulled, 0.9)


def path_kl(exact: Table, rates, source: Tensor, steps: int = 80) -> float:
    """KL of the noising's paths from the learned ones: an integral over all states and edges.

    KL(q_T || source) + int sum_x q_t(x) sum_y [R log(R / A) - R + A] dt, R exact, A learned.
    """
    end = exact.law(exact.process.end).flatten()
    total = float((end * (end / source).log()).sum())
    middles, end = (torch.arange(steps) + 0.5) / steps, exact.process.end
    for u in middles.tolist():
        t, weight = end * u**3, end * 3 * u**2 / steps  # the rates are steep at 0
        law = exact.law(t).flatten()
        r, a = (rate_matrix(of(STATES, torch.full((9,), t)), STATES) for of in (exact.rates, rates))
        on = (r > 0) & ~torch.eye(9, dtype=torch.bool)
        gap = torch.where(on, r * (r.clamp_min(1e-300) / a.clamp_min(1e-300)).log() - r + a, 0.0)
        total += weight * float((law @ gap).sum())
    return total


@pytest.mark.parametrize("name", ["uniform", "lopsided"])
def test_the_mean_evidence_is_the_entropy_and_the_path_kl(name):
    """Catches a bound that is not the KL of path measures."""
    exact = table(name, "linear")
    process, rates = exact.process, tilted(exact)
    x = exact.sample(4000)
    told = account(gillespie(process, x), process, rates, process.source(2))
    law = process.rate_matrix.stationary()
    gap = path_kl(exact, rates, torch.outer(law, law).flatten())
    drop = exact.log_prob(x) - told.log_evidence()
    assert gap > 0.02 and mean_is(drop, gap), (gap, mean_is(drop, gap))
    assert float(elbo(told.log_evidence())) < float(exact.log_prob(x).mean())


UNIFORM = JumpProcess(UniformRates(3))
X = torch.zeros(4, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda: noising_log_density(gillespie(UNIFORM, X).reversed(), UNIFORM),
            "up in time",
        ),
        (
            lambda: account(gillespie(UNIFORM, X, 0.5), UNIFORM, UNIFORM.rates, UNIFORM.source(2)),
            "whole time",
        ),
        (lambda: path_log_density(gillespie(UNIFORM, X), UNIFORM.rates, nodes=0), "at least 1"),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Catches paths read from the wrong end, or over a part of the time."""
    with pytest.raises(ValueError, match=words) as caught:
        wrong()
    assert str(caught.value).count(";") >= 2
