"""Sequential Monte Carlo: annealing with a population that is resampled on its way.

The sampler yields its particles after each density, so an animation or a schedule costs nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core import Reversible, Step, ess, validate
from gentoolkit.core import log_z as log_mean_exp
from gentoolkit.core.chain import draw, log_density
from gentoolkit.stochastic.annealing import Transition, steps_of
from gentoolkit.stochastic.paths import Path, checked_schedule


@dataclass(frozen=True)
class Particles:
    """A weighted population at one density of a path.

    Arguments:
        beta: how far along.
        x: states, (n, *event).
        log_w: log-weights since the last resampling, (n,).
        log_z: estimate of log Z of the density; its exponential is unbiased on a fixed schedule.
        ess: effective sample size of the weights, before a resampling if there was one.
        ancestors: which particle of the state before each one comes from, (n,); None where the
            population was not resampled.
    """

    beta: float
    x: Tensor
    log_w: Tensor
    log_z: float
    ess: float
    ancestors: Tensor | None = None


NextBeta = Callable[[Particles, Path], float]
"""Chooses the next density while the particles move: a beta above the present one, at most 1."""


@dataclass(frozen=True)
class ConstantESS:
    """Steps that keep the conditional effective sample size constant, found by bisection.

        n (sum_i W_i v_i)^2 / sum_i W_i v_i^2 = share n,   v = g_next(x) / g_present(x)

    A schedule that looks at its own particles biases Z a little. For an unbiased Z run again with
    the betas of a pilot: `torch.tensor([p.beta for p in smc(path, ConstantESS(), ...)])`.

    Arguments:
        share: between 0 and 1; nearer to 1 means more steps.
        bisections: halvings of the interval.
        least: shortest step that counts as getting on.

    Raises:
        ValueError: `share` is not strictly between 0 and 1.

    Reference: Zhou, Johansen, Aston 2016 (arXiv 1303.3123).
    """

    share: float = 0.9
    bisections: int = 40
    least: float = 1e-6

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ValueError(
                f"share must lie strictly between 0 and 1; got {self.share}; 0.9 is a careful pace"
            )
        validate.positive_count("bisections", self.bisections)

    def __call__(self, particles: Particles, path: Path) -> float:
        """Return the beta at which the conditional effective sample size falls to its share.

        Raises:
            ValueError: no step of `least` or more keeps that share.
        """

        def kept(beta: float) -> float:
            v = _increment(particles, path, beta)
            w = particles.log_w - particles.log_w.logsumexp(0)
            return float((2.0 * (w + v).logsumexp(0) - (w + 2.0 * v).logsumexp(0)).exp())

        if kept(1.0) >= self.share:
            return 1.0
        low, high = particles.beta, 1.0
        for _ in range(self.bisections):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if kept(middle) >= self.share else (low, middle)
        if high - particles.beta < self.least:
            raise ValueError(
                f"the next density must keep a share {self.share} of the particles; got stuck at "
                f"beta = {particles.beta:.3g}, where steps of {self.least:g} lose more; use more "
                "particles, a lower share, or a source with heavier tails"
            )
        return high


def smc(
    path: Path,
    betas: Tensor | NextBeta,
    transition: Transition,
    n: int,
    resample_below: float = 0.5,
    generator: Generator | None = None,
) -> Iterator[Particles]:
    """Yield `n` particles at each density of a path, with their weights and log Z.

        log_w += log g_k(x_k) - log g_{k-1}(x_{k-1}) + log_ratio_k

    Where the effective sample size falls below `resample_below n`, the particles are drawn anew by
    their weights (systematic resampling), and log Z takes the mean weight. For moves in detailed
    balance the increment is known before the move, so resampling comes first and the move spreads
    the copies; where a density is zero a particle is then dead: it weighs nothing, and stays until
    others take its place. With `resample_below = 0` this is annealed importance sampling.

    Arguments:
        path: from the source to the target.
        betas: (K+1,), from 0 to 1, or a rule of (particles, path) such as `ConstantESS(0.9)`.
        transition: makes the step or the steps for one density.
        n: particles, two or more.
        resample_below: share of n, from 0 (never) to 1 (always).
        generator: source of randomness.

    Yields:
        `Particles` at beta = 0, ..., 1. No gradient is kept.

    Raises:
        TypeError: `betas` is neither a floating-point tensor nor a function.
        ValueError: `betas` does not run from 0 to 1, fewer than two particles, `resample_below` is
            outside [0, 1], a step leaves the real numbers, or meets a density of zero without
            detailed balance.

    Reference: Del Moral, Doucet, Jasra 2006, Sequential Monte Carlo samplers.
    """
    if validate.positive_count("n", n) < 2:
        raise ValueError("a population needs two particles or more; got 1; use n=1000")
    if not 0.0 <= resample_below <= 1.0:
        raise ValueError(
            f"resample_below must lie in [0, 1], a share of n; got {resample_below}; 0.5 is usual"
        )
    rule = betas if callable(betas) else _fixed(checked_schedule(betas).tolist())
    return _smc(path, rule, transition, n, resample_below, generator)


def _fixed(betas: list[float]) -> NextBeta:
    return lambda particles, path: next(beta for beta in betas if beta > particles.beta)


def _smc(
    path: Path,
    rule: NextBeta,
    transition: Transition,
    n: int,
    resample_below: float,
    generator: Generator | None,
) -> Iterator[Particles]:
    with torch.no_grad():
        x = draw(path.source, n, generator)
        here = Particles(0.0, x, log_density(path.source, x).new_zeros(n), 0.0, float(n))
    yield here
    while here.beta < 1.0:
        # Gradients are switched off inside a turn only: between turns the caller's code runs.
        with torch.no_grad():
            here = _turn(here, rule, path, transition, resample_below, generator)
        yield here


def _turn(
    here: Particles,
    rule: NextBeta,
    path: Path,
    transition: Transition,
    resample_below: float,
    generator: Generator | None,
) -> Particles:
    beta = rule(here, path)
    steps, n = steps_of(transition, path.at(beta)), here.x.shape[0]
    # g_k(x_{k-1}) / g_{k-1}(x_{k-1}) needs no move that is its own reversal: choose first, and let
    # the move spread the copies.
    choose_first = all(isinstance(step, Reversible) for step in steps)
    if choose_first:
        x, log_w = here.x, here.log_w + _increment(here, path, beta)
    else:
        x, ratio = _moved(here.x, None, steps, beta, generator)
        end = path.log_prob(x, beta)
        if bool((end == -torch.inf).any()):
            raise ValueError(
                "a density that is zero somewhere needs moves in detailed balance; got particles "
                f"of density zero at beta = {beta:.4g} after a {type(steps[-1]).__name__}, whose "
                "paths may leave the support and come back; use Metropolis, MALA or HMC"
            )
        log_w = here.log_w + end - path.log_prob(here.x, here.beta) + ratio
    # What earlier resamplings banked is the estimate before, less the weights still open then.
    log_z = here.log_z - float(log_mean_exp(here.log_w)) + float(log_mean_exp(log_w))
    size, ancestors = float(ess(log_w)), None
    if size < resample_below * n:
        ancestors = systematic(log_w, generator)
        x, log_w = x[ancestors], torch.zeros_like(log_w)
    if choose_first:
        x = _moved(x, log_w > -torch.inf, steps, beta, generator)[0]
    return Particles(beta, x, log_w, log_z, size, ancestors)


def _increment(here: Particles, path: Path, beta: float) -> Tensor:
    """Return `log g_beta(x) - log g_present(x)`, (n,), and zero for particles that are dead."""
    change = path.log_prob(here.x, beta) - path.log_prob(here.x, here.beta)
    return torch.where(here.log_w > -torch.inf, change, 0.0)


def _moved(
    x: Tensor, alive: Tensor | None, steps: list[Step], beta: float, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    """Move all particles, or those that are alive; return them, and their log-ratios, (n,)."""
    if not steps:
        raise ValueError("a transition must make at least one step; got none; return one in a list")
    total = x.new_zeros(x.shape[0])
    for step in steps:
        there, ratio = step.push(x, generator)
        if alive is not None:
            there = torch.where(alive.reshape(-1, *[1] * (x.ndim - 1)), there, x)
            ratio = torch.where(alive, ratio, 0.0)
        x, total = there, total + ratio
        if not bool(torch.isfinite(total.sum() + x.sum())):
            raise ValueError(
                f"particles must stay finite; got NaN or infinity at beta = {beta:.4g} from a "
                f"{type(step).__name__}; {step.advice or 'check the log-density there'}"
            )
    return x, total


def systematic(log_w: Tensor, generator: Generator | None = None) -> Tensor:
    """Return the numbers of the particles that are kept, one uniform number for all, (n,).

    Particle i is drawn `floor` or `ceil` of `n W_i` times, and `n W_i` times on average.

    Arguments:
        log_w: (n,) log-weights.
        generator: source of randomness.

    Reference: Carpenter, Clifford, Fearnhead 1999.
    """
    n = log_w.shape[0]
    edges = log_w.double().softmax(0).cumsum(0)
    u = torch.rand(1, dtype=torch.float64, device=log_w.device, generator=generator)
    points = (torch.arange(n, dtype=torch.float64, device=log_w.device) + u) / n
    # Rounding may leave the last edge below the last point.
    return torch.searchsorted(edges / edges[-1], points).clamp_max(n - 1)
