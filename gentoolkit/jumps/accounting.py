"""the weight of an exact jump path: what both processes say of it.

    P(path) = prod_i A_{t_i}(x_{i-1}, x_i) exp(-int A_tot(x_t) dt)         rates A, given the start

    log_ratio    = log P_pull(path | data) - log P_push(path | noise)
    log_evidence = log source(x_end) - log_ratio
    log_weight   = log target(x_0) - log_evidence

Over paths pulled from data x, `E[exp(evidence)] = p(x)` and `E[evidence] = ELBO(x)`; over pushed
ones `E[w] = Z`. With the exact rates and source, every single path tells the exact log p(x_0).
"""

import numpy as np
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

    The density is with respect to the times of the jumps, given the first state.

    Arguments:
        path: run in the direction of the rates.
        rates: (B, D) states and (B,) times -> (B, D, C), with 0 at the token itself.
        nodes: points of the integral between two jumps, where only time changes.

    Raises:
        ValueError: `nodes` is below one.
    """
    states, (starts, ends) = path.states(), path.pieces()
    at, weights = _quadrature(torch.minimum(starts, ends), torch.maximum(starts, ends), nodes)
    held = states[:, :, None].expand(-1, -1, nodes, -1).flatten(0, 2)
    total = rates(held, at.flatten()).flatten(1).sum(1).reshape(at.shape)
    return _jumps(path, states, rates) - (total * weights).sum((1, 2))


def noising_log_density(path: JumpPath, process: JumpProcess) -> Tensor:
    """Return the log-density of paths under the noising, with the integral in closed form, (B,).

    Raises:
        ValueError: the path runs down in time, not up from data to noise.
    """
    if path.end < path.start:
        raise ValueError(
            f"the path must run up in time; got {path.start} to {path.end}; use path.reversed()"
        )
    states, (starts, ends) = path.states(), path.pieces()
    spent = process.schedule.integral(ends) - process.schedule.integral(starts)
    exits = process.rate_matrix.exit(states, path.times).sum(-1)
    return _jumps(path, states, process.rates) - (exits * spent).sum(1)


def account(
    path: JumpPath, process: JumpProcess, rates: Rates, source: Source, *, nodes: int = 16
) -> Trajectory:
    """Return the weights of exact paths: the trajectory from noise to data with its one ratio.

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
    rows, j = path.jumped.nonzero(as_tuple=True)
    at = rates(states[rows, j], path.times[rows, j]) if len(rows) else path.times.new_zeros(0, 1, 1)
    rate = at[torch.arange(len(rows), device=rows.device), path.dims[rows, j], path.tokens[rows, j]]
    return path.times.new_zeros(len(states)).to(rate).index_add(0, rows, rate.log())


def _quadrature(low: Tensor, high: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Return points between `low` and `high` (...) and their weights, each (..., nodes).

    Gauss-Legendre in log(t + c): rates like 1 / (t + something) become smooth. The c keeps the
    range of the logarithm below 10 where `low` is close to 0.
    """
    points, weights = np.polynomial.legendre.leggauss(positive_count("nodes", nodes))
    u, w = (torch.from_numpy(v).to(low) for v in (0.5 * (points + 1.0), 0.5 * weights))
    base = torch.maximum(low, 1e-3 * high).clamp_min(torch.finfo(low.dtype).tiny)  # low + c
    span = ((high - low) / base).log1p()[..., None]
    grown = torch.expm1(span * u)
    return low[..., None] + base[..., None] * grown, w * span * base[..., None] * (1.0 + grown)
