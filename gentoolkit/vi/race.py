"""The race of coordinate ascent and Gibbs on one probit posterior, sweep for sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.vi.probit import cavi_probit, gibbs_probit, probit_moments


@dataclass(frozen=True)
class ProbitRace:
    """What each method knows of the posterior after each budget of sweeps.

    Arguments:
        budgets: numbers of sweeps.
        cavi: root-mean-square error of the mean over coefficients, in posterior deviations.
        gibbs: the same for the second half of the draws, root mean square over the chains too.
        cavi_sd: deviations of q(b) over the exact ones, one a coefficient.
        gibbs_sd: deviations of the second half of the draws over the exact ones: rows as
            `budgets`, the mean over chains; NaN where half the budget is one draw.
    """

    budgets: tuple[int, ...]
    cavi: tuple[float, ...]
    gibbs: tuple[float, ...]
    cavi_sd: tuple[float, ...]
    gibbs_sd: tuple[tuple[float, ...], ...]

    def nearer(self) -> tuple[bool, ...]:
        """Return for each budget whether coordinate ascent is nearer to the posterior mean."""
        return tuple(a < b for a, b in zip(self.cavi, self.gibbs, strict=True))


def probit_race(
    x: Tensor,
    y: Tensor,
    prior_variance: float,
    budgets: Sequence[int] = (10, 30, 100, 300, 1000, 3000),
    chains: int = 20,
    seed: int = 0,
) -> ProbitRace:
    """Run both methods from b = 0 and measure them against quadrature.

    One sweep of either costs the same two matrix products. At the default budgets it takes about
    a second on one core.

    Arguments:
        x: inputs, (n, 2).
        y: labels in {-1, +1}, (n,).
        prior_variance: of each coefficient.
        budgets: numbers of sweeps, rising.
        chains: independent Gibbs chains.
        seed: of the Gibbs chains.

    Raises:
        ValueError: `budgets` is empty or not rising, or bad input as in `cavi_probit`.
    """
    if not budgets or list(budgets) != sorted(set(budgets)):
        raise ValueError(
            f"budgets must be rising numbers of sweeps; got {list(budgets)}; for example (10, 30)"
        )
    for budget in budgets:
        validate.positive_count("budget", budget)
    exact = probit_moments(x, y, prior_variance)
    sd = exact.covariance.diagonal().sqrt()
    last = budgets[-1]
    states = list(islice(cavi_probit(x, y, prior_variance), last))
    generator = torch.Generator(device=x.device).manual_seed(seed)
    draws = torch.stack(list(islice(gibbs_probit(x, y, prior_variance, chains, generator), last)))

    def error(mean: Tensor) -> float:
        return float(((mean - exact.mean) / sd).square().mean().sqrt())

    kept = [draws[k // 2 : k] for k in budgets]  # (k - k // 2, chains, D)
    return ProbitRace(
        budgets=tuple(budgets),
        cavi=tuple(error(states[k - 1].mean) for k in budgets),
        gibbs=tuple(error(half.mean(0)) for half in kept),
        cavi_sd=tuple((states[-1].covariance.diagonal().sqrt() / sd).tolist()),
        gibbs_sd=tuple(
            tuple((half.var(0, correction=int(len(half) > 1)).mean(0).sqrt() / sd).tolist())
            for half in kept
        ),
    )
