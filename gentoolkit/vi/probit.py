"""Bayesian probit regression: coordinate ascent races Gibbs, sweep for sweep.

A sweep of either costs the same two matrix products.

b ~ N(0, prior_variance I),   u_i ~ N(x_i . b, 1),   y_i = sign(u_i) in {-1, +1}
V = (x'x + I / prior_variance)^-1
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log, pi, sqrt

import torch
from torch import Generator, Tensor
from torch.special import erfcx, log_ndtr, ndtr, ndtri

from gentoolkit.core import validate


@dataclass(frozen=True)
class ProbitState:
    """The Gaussian factor `q(b) = N(mean, covariance)` after a sweep, and the bound.

    Arguments:
        mean: (D,).
        covariance: (D, D), the same in every sweep.
        elbo: lower bound of log p(y) with the best q(u) for this mean, shape ().
    """

    mean: Tensor
    covariance: Tensor
    elbo: Tensor


@dataclass(frozen=True)
class ProbitMoments:
    """Exact posterior mean (D,) and covariance (D, D), and the log-evidence log p(y), shape ()."""

    mean: Tensor
    covariance: Tensor
    log_evidence: Tensor


def _regression(x: Tensor, y: Tensor, prior_variance: float) -> None:
    validate.batch("x", x)
    validate.batch("y", y)
    validate.shapes("one label per row", x=(x, "n D"), y=(y, "n"))
    if not bool((y.abs() == 1).all()):
        raise ValueError(
            f"labels must be -1 or +1; got values from {float(y.min())} to {float(y.max())}; "
            "turn zeros and ones into 2 * y - 1"
        )
    validate.positive("prior_variance", prior_variance)


def probit_data(
    n: int, coefficients: Tensor, generator: Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Simulate `n` rows of a regression with an intercept and standard normal inputs.

    From coefficients (D,), the intercept first: x (n, D), whose first column is one, and labels
    y (n,) in {-1, +1}.
    """
    validate.positive_count("n", n)
    size = validate.batch("coefficients", coefficients).shape[0]
    like = {"dtype": coefficients.dtype, "device": coefficients.device}
    inputs = torch.randn(n, size - 1, generator=generator, **like)
    x = torch.cat([torch.ones(n, 1, **like), inputs], 1)
    noise = torch.randn(n, generator=generator, **like)
    positive = x @ coefficients + noise > 0
    return x, torch.where(positive, 1.0, -1.0).to(coefficients.dtype)


def _posterior_factor(x: Tensor, prior_variance: float) -> Tensor:
    """Return V, the covariance of b once u is known, (D, D)."""
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.inv(x.T @ x + eye / prior_variance)


def cavi_probit(x: Tensor, y: Tensor, prior_variance: float) -> Iterator[ProbitState]:
    """Coordinate ascent on q(b) q(u) from mean zero, one sweep a state, without end.

        E[u_i] = c_i + y_i phi(c_i) / Phi(y_i c_i),   c = x mean
        mean <- V x' E[u],   q(b) = N(mean, V)

    Arguments:
        x: inputs, (n, D).
        y: labels in {-1, +1}, (n,).
        prior_variance: of each coefficient.

    Yields:
        A `ProbitState` after each sweep; its bound never falls.

    Raises:
        ValueError: at the call, for a wrong shape, NaN, other labels, or a variance not positive.

    Reference: Girolami and Rogers 2006; Albert and Chib 1993 for the augmented model.
    """
    _regression(x, y, prior_variance)
    covariance = _posterior_factor(x, prior_variance)
    # log det(I + prior_variance x'x) / 2, what q(b) = N(mean, V) pays for being narrower.
    narrowing = -0.5 * torch.logdet(covariance) + 0.5 * x.shape[1] * log(prior_variance)

    def sweeps(mean: Tensor) -> Iterator[ProbitState]:
        while True:
            centre = x @ mean
            mean = covariance @ (x.T @ (centre + y * _hazard(-y * centre)))
            fit = log_ndtr(y * (x @ mean)).sum()
            elbo = fit - 0.5 * mean.square().sum() / prior_variance - narrowing
            yield ProbitState(mean, covariance, elbo)

    return sweeps(x.new_zeros(x.shape[1]))


def gibbs_probit(
    x: Tensor,
    y: Tensor,
    prior_variance: float,
    chains: int = 1,
    generator: Generator | None = None,
) -> Iterator[Tensor]:
    """Gibbs sampling of the augmented model from b = 0, one sweep a state, without end.

        u_i ~ N(x_i . b, 1) on the side of y_i,   b ~ N(V x'u, V)

    Arguments and errors are those of `cavi_probit`; `chains` independent ones run side by side.

    Yields:
        b after each sweep, (chains, D).
    """
    _regression(x, y, prior_variance)
    validate.positive_count("chains", chains)
    covariance = _posterior_factor(x, prior_variance)
    factor, to_mean = torch.linalg.cholesky(covariance), x @ covariance  # (D, D), (n, D)
    like = {"dtype": x.dtype, "device": x.device, "generator": generator}

    def sweeps(b: Tensor) -> Iterator[Tensor]:
        while True:
            centre = b @ x.T  # (chains, n)
            u = _one_sided(centre, y, torch.rand(centre.shape, **like))
            b = u @ to_mean + torch.randn(b.shape, **like) @ factor.T
            yield b

    return sweeps(x.new_zeros(chains, x.shape[1]))


def _hazard(t: Tensor) -> Tensor:
    """Return `phi(t) / Phi(-t)`, elementwise: in the far tail both underflow, their ratio not."""
    return sqrt(2 / pi) / erfcx(t / sqrt(2))


def _one_sided(centre: Tensor, y: Tensor, uniform: Tensor) -> Tensor:
    """Map uniforms to N(centre, 1) restricted to the side of y, elementwise: `y u > 0`."""
    edge, tiny = -y * centre, torch.finfo(centre.dtype).tiny
    p = uniform.clamp(min=tiny, max=1.0 - torch.finfo(centre.dtype).eps)
    # y u exceeds 0 by s, with Phi(-(edge + s)) = p Phi(-edge).
    s = -ndtri(ndtr(-edge) * p) - edge
    far = edge > 3.0  # there Phi(-edge) underflows before long: see the tail from its edge
    if bool(far.any()):
        s = s.masked_scatter(far, _tail(edge[far], p[far]))
    return y * s.clamp(min=tiny)


def _tail(edge: Tensor, p: Tensor) -> Tensor:
    """Return s >= 0 with `Phi(-(edge + s)) = p Phi(-edge)`, for an edge above zero.

    The log of both sides is `-s (2 edge + s) / 2 + log erfcx(t / sqrt 2)`, t = edge + s, which is
    concave in s and loses no digits however far the edge is. Newton's method starts at the tail of
    a Rayleigh law, which lies above the root, and falls monotonically.

    Reference: Marsaglia 1964 for the start.
    """
    start, s = erfcx(edge / sqrt(2)), -2 * p.log() / (edge + (edge.square() - 2 * p.log()).sqrt())
    for _ in range(4):
        tail = erfcx((edge + s) / sqrt(2))
        off = -0.5 * s * (2 * edge + s) + (tail / start).log() - p.log()
        s = s + off * tail * sqrt(pi / 2)
    return s


def probit_moments(x: Tensor, y: Tensor, prior_variance: float, points: int = 401) -> ProbitMoments:
    """Return the posterior's mean, covariance and evidence by quadrature in two dimensions.

    A square grid of nine deviations either side, turned and scaled by the curvature at the mode;
    for a smooth density that has died out at its edge the plain sum converges geometrically.

    Arguments and errors are those of `cavi_probit`, for two coefficients; the grid has `points` a
    side.
    """
    _regression(x, y, prior_variance)
    validate.positive_count("points", points)
    if x.shape[1] != 2:
        raise ValueError(
            f"the grid needs two coefficients; got {x.shape[1]}; use gibbs_probit for more"
        )
    mode, precision = _mode(x, y, prior_variance)
    line = torch.linspace(-9.0, 9.0, points, dtype=x.dtype, device=x.device)
    grid = torch.cartesian_prod(line, line)  # (points^2, 2)
    turn = torch.linalg.cholesky(torch.linalg.inv(precision))
    b = mode + grid @ turn.T
    log_p = -0.5 * b.square().sum(1) / prior_variance - log(2 * pi * prior_variance)
    for row, label in zip(x, y, strict=True):  # a loop, since (points^2, n) would fill 80 MB
        log_p = log_p + log_ndtr(label * (b @ row))
    area = turn.diagonal().prod() * (line[1] - line[0]).square() if points > 1 else turn.det()
    weights = log_p.softmax(0)
    mean = weights @ b
    covariance = (b - mean).T @ (weights[:, None] * (b - mean))
    return ProbitMoments(mean, covariance, log_p.logsumexp(0) + area.log())


def _mode(x: Tensor, y: Tensor, prior_variance: float) -> tuple[Tensor, Tensor]:
    """Return the posterior's mode and its negative second derivative, by Newton's method."""
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    b, precision = x.new_zeros(x.shape[1]), eye
    for _ in range(50):  # the log-posterior is concave
        s = y * (x @ b)
        ratio = _hazard(-s)
        precision = x.T @ ((ratio * (ratio + s))[:, None] * x) + eye / prior_variance
        b = b + torch.linalg.solve(precision, x.T @ (y * ratio) - b / prior_variance)
    return b, precision


@dataclass(frozen=True)
class ProbitRace:
    """What each method knows of the posterior after each budget of sweeps.

    Arguments:
        budgets: numbers of sweeps.
        cavi: root-mean-square error of the mean over coefficients, in posterior deviations.
        gibbs: the same for the second half of the draws, root mean square over the chains too.
        cavi_sd: deviations of q(b) over the exact ones, one a coefficient.
        gibbs_sd: the same of the second half of the draws, a row for each budget: the mean over
            chains; NaN where half the budget is one draw.
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
    """Run both methods from b = 0 and measure them against quadrature: about a second by default.

    The regression is that of `cavi_probit`, with two coefficients.

    Arguments:
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
