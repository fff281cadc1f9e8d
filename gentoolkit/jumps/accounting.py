"""The account of an exact jump path: what both processes say of it.

    P(path) = prod_i A_{t_i}(x_{i-1}, x_i) exp(-int A_tot(x_t) dt)         rates A, given the start

    log_ratio    = log P_pull(path | data) - log P_push(path | noise)
    log_evidence = log source(x_end) - log_ratio
    log_weight   = log target(x_0) - log_evidence

Over paths pulled from data x, `E[exp(evidence)] = p(x)` and `E[evidence] = ELBO(x)`; over pushed
ones `E[w] = Z`. With the exact rates and source, every single path tells the exact log p(x_0).
"""

import torch
from torch import Tensor

from gentoolkit.core.chain import Source, Trajectory, log_density
from gentoolkit.core.validate import positive_count
from gentoolkit.jumps.leaping import Rates
from gentoolkit.jumps.path import JumpPath
from gentoolkit.processes import JumpProcess


def path_log_density(path: JumpPath, rates: Rates, *, nodes: int = 16) -> Tensor:
    """Return the log-density of paths under rates that may change with time, (B,).

        sum_i log A_{t_i}(x_{i-1}, x_i) - int A_tot(x_t, t) dt

    The integral is a Gauss-Legendre sum of `nodes` points between any two jumps, where only time
    changes; the points crowd towards time 0, where the rates of a reversal are steep.
    The density is with respect to the times of the jumps, given the first state.

    Arguments:
        path: run in the direction of the rates.
        rates: (B, D) states and (B,) times -> (B, D, C), with 0 at the token itself.
        nodes: points between two jumps.

    Raises:
        ValueError: `nodes` is below one.
    """
    states = path.states()  # (B, J+1, D)
    n, pieces, dims = states.shape
    ends = torch.cat([path.times, path.times.new_full((n, 1), path.end)], 1)
    starts = torch.cat([path.times.new_full((n, 1), path.start), path.times], 1)
    at, weights = _quadrature(torch.minimum(starts, ends), torch.maximum(starts, ends), nodes)
    held = states[:, :, None].expand(n, pieces, nodes, dims).reshape(-1, dims)
    total = rates(held, at.reshape(-1)).flatten(1).sum(1).reshape(n, pieces, nodes)
    wait = (total * weights).sum((1, 2))
    return _jumps(path, states, rates) - wait


def noising_log_density(path: JumpPath, process: JumpProcess) -> Tensor:
    """Return the log-density of paths under the noising, with the integral in closed form, (B,).

    Arguments:
        path: run up in time, from data to noise.
        process: the noising.

    Raises:
        ValueError: the path runs down in time.
    """
    _runs_up(path)
    states = path.states()
    ends = torch.cat([path.times, path.times.new_full((len(states), 1), path.end)], 1)
    starts = torch.cat([path.times.new_full((len(states), 1), path.start), path.times], 1)
    spent = process.schedule.integral(ends) - process.schedule.integral(starts)
    exits = process.rate_matrix.exit(states, path.times).sum(-1)
    return _jumps(path, states, process.rates) - (exits * spent).sum(1)


def account(
    path: JumpPath, process: JumpProcess, rates: Rates, source: Source, *, nodes: int = 16
) -> Trajectory:
    """Return the account of exact paths: the trajectory from noise to data with its one ratio.

    Arguments:
        path: of either direction, over the time of the process.
        process: the noising.
        rates: of the reversal, exact or learned.
        source: density of the noise, for example `process.source((dims,))`.
        nodes: points of the integral between two jumps.

    Returns:
        states (noise, data) with `log_evidence` and `log_weight` as for any chain.

    Raises:
        ValueError: the path does not run over the whole time of the process.
    """
    up = path if path.end > path.start else path.reversed()
    if up.start != 0.0 or abs(up.end - process.end) > 1e-6 * process.end:
        raise ValueError(
            f"the path must run over [0, {process.end}]; got {path.start} to {path.end}; run it "
            "over the whole time, or end the process where it ends"
        )
    down = up.reversed()
    pulled = noising_log_density(up, process)
    ratio = pulled - path_log_density(down, rates, nodes=nodes).to(pulled)
    return Trajectory(
        states=(down.initial, up.initial),
        log_ratio=ratio[None],
        log_source=log_density(source, down.initial).to(ratio),
    )


def _jumps(path: JumpPath, states: Tensor, rates: Rates) -> Tensor:
    """Return the sum of the log-rates of the jumps that happened, (B,)."""
    jumped = path.jumped
    rows, j = jumped.nonzero(as_tuple=True)
    at = rates(states[rows, j], path.times[rows, j]) if len(rows) else path.times.new_zeros(0, 1, 1)
    rate = at[torch.arange(len(rows), device=rows.device), path.dims[rows, j], path.tokens[rows, j]]
    return path.times.new_zeros(len(states)).to(rate).index_add(0, rows, rate.log())


def _quadrature(low: Tensor, high: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Return points between `low` and `high` (...) and their weights, each (..., nodes).

    Gauss-Legendre in log(t + c): rates like 1 / (t + something) become smooth. The c keeps the
    range of the logarithm below 10 where `low` is close to 0.
    """
    u, w = (v.to(low) for v in _legendre(nodes))
    base = torch.maximum(low, 1e-3 * high).clamp_min(torch.finfo(low.dtype).tiny)  # low + c
    span = ((high - low) / base).log1p()[..., None]
    grown = torch.expm1(span * u)
    return low[..., None] + base[..., None] * grown, w * span * base[..., None] * (1.0 + grown)


def _legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """Return the Gauss-Legendre points and weights on [0, 1], float64.

    By Golub and Welsch: the eigenvalues of the matrix of the recurrence, here for weights 1.
    """
    k = torch.arange(1, positive_count("nodes", nodes), dtype=torch.float64)
    beside = k / (4.0 * k.square() - 1.0).sqrt()
    points, vectors = torch.linalg.eigh(beside.diag(1) + beside.diag(-1))
    return 0.5 * (points + 1.0), vectors[0].square()


def _runs_up(path: JumpPath) -> None:
    if path.end < path.start:
        raise ValueError(
            f"the path must run up in time; got {path.start} to {path.end}; use path.reversed()"
        )
