"""Brute force for the tests of jumps: all C^D states, and matrices over them."""

import torch
from torch import Tensor

from gentoolkit.jumps.table import Table
from gentoolkit.processes import (
    AbsorbingRates,
    ConstantRate,
    DenseRates,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    OrdinalRates,
    RateMatrix,
    UniformRates,
)
from tests.jumps.spaces import every_state

LOPSIDED = torch.tensor([[-1.0, 0.7, 0.3], [0.1, -0.4, 0.3], [2.0, 0.0, -2.0]], dtype=torch.float64)
"""Asymmetric, with a jump that does not exist: a transposed Q cannot hide."""

GENERATORS: dict[str, RateMatrix] = {
    "uniform": UniformRates(3),
    "absorbing": AbsorbingRates(3),
    "ordinal": OrdinalRates(3),
    "lopsided": DenseRates(LOPSIDED),
}
BETAS = {
    "constant": ConstantRate(1.3),
    "linear": LinearRate(0.2, 3.0),
    "masking": LogLinearRate(0.05),
}


def data(size: int = 3, dims: int = 2, seed: int = 0) -> Tensor:
    """A random law without zeros, (C,) * D."""
    logits = 2.0 * torch.randn(size**dims, generator=torch.Generator().manual_seed(seed))
    return logits.softmax(0).reshape((size,) * dims)


def joint_matrix(q: Tensor, dims: int) -> Tensor:
    """The generator over all states, entry by entry: (C^D, C^D)."""
    states = every_state(len(q), dims)
    joint = torch.zeros(len(states), len(states))
    for i, x in enumerate(states.tolist()):
        for j, y in enumerate(states.tolist()):
            off = [d for d in range(dims) if x[d] != y[d]]
            if len(off) == 1:
                joint[i, j] = q[x[off[0]], y[off[0]]]
    return joint - joint.sum(1).diag()


def joint_kernel(process: JumpProcess, s: float, t: float, dims: int) -> Tensor:
    """q_{t|s} over all states, by one matrix exponential of the whole."""
    b = process.schedule.integral(torch.tensor([s, t], dtype=torch.float64))
    return torch.linalg.matrix_exp((b[1] - b[0]) * joint_matrix(process.rate_matrix.matrix(), dims))


def joint_reverse(process: JumpProcess, law: Tensor, t: float, dims: int) -> Tensor:
    """The generator of the reversal over all states, from the joint law q_t itself (C^D,)."""
    rate = process.schedule.rate(torch.tensor(t))
    q = rate * joint_matrix(process.rate_matrix.matrix(), dims)
    reverse = q.T * law[None, :] / law[:, None]
    reverse = reverse - reverse.diagonal().diag()
    return reverse - reverse.sum(1).diag()


def frequencies(x: Tensor, size: int) -> Tensor:
    """Relative frequency of each state, (C^D,)."""
    weights = torch.tensor([size ** (x.shape[1] - 1 - d) for d in range(x.shape[1])])
    return torch.bincount((x * weights).sum(1), minlength=size ** x.shape[1]) / len(x)


def chi_square(x: Tensor, law: Tensor) -> float:
    """How badly states fit a law, in standard deviations (chi-square by Wilson and Hilferty)."""
    law = law.flatten()
    seen = frequencies(x, round(len(law) ** (1 / x.shape[1])))
    possible = law > 1e-12
    k = int(possible.sum()) - 1
    if float(seen[~possible].sum()) > 0 or k == 0:
        return float("inf") if float(seen[~possible].sum()) > 0 else 0.0
    excess = len(x) * float(((seen - law)[possible].square() / law[possible]).sum())
    return ((excess / k) ** (1 / 3) - (1 - 2 / (9 * k))) / (2 / (9 * k)) ** 0.5


def table(name: str = "uniform", beta: str = "constant", end: float = 1.0, dims: int = 2) -> Table:
    """A data table under a process; without masks in the data."""
    generator = GENERATORS[name]
    probs = data(generator.size, dims)
    if isinstance(generator, AbsorbingRates):
        keep = [slice(0, generator.size - 1)] * dims
        probs = torch.zeros_like(probs).index_put_(
            tuple(every_state(generator.size - 1, dims).T), probs[tuple(keep)].flatten()
        )
        probs = probs / probs.sum()
    return Table(JumpProcess(generator, BETAS[beta], end), probs)
