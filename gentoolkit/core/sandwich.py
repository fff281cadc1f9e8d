"""Two-sided bounds: log Z between the log-weights of pushed and of pulled paths.

E_push[log w] = log Z - KL(push || pull)   <=   log Z
E_pull[log w] = log Z + KL(pull || push)   >=   log Z
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.core.chain import Chain, Target


@dataclass(frozen=True)
class Sandwich:
    """A lower and an upper bound of log Z, each a mean with its standard error.

    Arguments:
        lower: ELBO, the mean log-weight of pushed paths.
        lower_error: its standard error.
        upper: EUBO, the mean log-weight of paths pulled from exact samples of the target.
        upper_error: its standard error.
        pushed: the log-weights of the pushed paths, (n,).
        pulled: the log-weights of the pulled paths, (B,).
    """

    lower: float
    lower_error: float
    upper: float
    upper_error: float
    pushed: Tensor
    pulled: Tensor

    @property
    def gap(self) -> float:
        """The distance of the bounds: KL(push || pull) + KL(pull || push) of the paths."""
        return self.upper - self.lower

    def holds(self, log_z: float, errors: float = 4.0) -> bool:
        """Whether `log_z` lies between the bounds, give or take some standard errors."""
        low = self.lower - errors * self.lower_error
        return low <= log_z <= self.upper + errors * self.upper_error

    def __str__(self) -> str:
        return (
            f"ELBO {self.lower:.3f} ± {self.lower_error:.3f} <= log Z <= "
            f"EUBO {self.upper:.3f} ± {self.upper_error:.3f}"
        )


def sandwich(
    chain: Chain,
    target: Target,
    x: Tensor,
    n: int | None = None,
    generator: Generator | None = None,
) -> Sandwich:
    """Bound the log normaliser of a target from both sides by one chain, whatever its steps.

        mean log w of pushed paths  <=  log Z  <=  mean log w of paths pulled from the target

    in expectation. No gradient is kept.

    Arguments:
        chain: from a source to the target.
        target: its unnormalised log-density: a function (B, *event) -> (B,), or an object with
            `log_prob`.
        x: exact samples of the normalised target, (B, *event), B >= 2. Samples of another law, of
            MCMC too, make the upper bound no bound.
        n: pushed paths; as many as rows of `x` if left out.
        generator: source of randomness.

    Raises:
        ValueError: fewer than two paths either way, or a path is not finite.

    Reference: Grosse, Ghahramani, Adams 2015 (arXiv 1511.02543), bidirectional Monte Carlo.
    """
    rows = validate.batch("x", x).shape[0]
    n = rows if n is None else validate.positive_count("n", n)
    if min(n, rows) < 2:
        raise ValueError(
            f"a bound needs two paths or more each way; got {n} pushed and {rows} pulled; draw more"
        )
    with torch.no_grad():
        pushed = chain.push(n, generator).log_weight(target)
        pulled = chain.pull(x, generator).log_weight(target)
    return Sandwich(*_mean(pushed), *_mean(pulled), pushed, pulled)


def _mean(log_w: Tensor) -> tuple[float, float]:
    return float(log_w.mean()), float(log_w.std()) / sqrt(log_w.shape[0])
