"""Annealed importance sampling: a chain of moves along a path of densities."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gentoolkit.core import Chain, Step, Trajectory, residuals
from gentoolkit.core.chain import Target, log_density
from gentoolkit.stochastic.paths import Path, Tempered, checked_schedule

Transition = Callable[[Tempered], Step | Sequence[Step]]
"""Makes the move for one density of a path; the density knows its `beta`."""


def steps_of(transition: Transition, density: Tempered) -> list[Step]:
    """Return what `transition` makes for one density, as a list."""
    made = transition(density)
    return [made] if isinstance(made, Step) else list(made)


def annealed(path: Path, betas: Tensor, transition: Transition) -> Chain:
    """Return the chain of annealed importance sampling.

        x_0 ~ source,   x_k moved by transition(g_{beta_k}),   k = 1..K
        log_w = log target(x_K) - log source(x_0) + sum_k log_ratio_k

    With moves in detailed balance this is Neal's weight, `prod_k g_k(x_{k-1}) / g_{k-1}(x_{k-1})`;
    with Langevin steps it is the unadjusted one. Either way `E[w] = Z`.

    Arguments:
        path: from the source to the target.
        betas: (K+1,), from 0 to 1.
        transition: makes the step, or the steps, for one density; its `beta` may set their size:
            `lambda g: MALA(g, 0.1, moves=2)`.

    Raises:
        TypeError: `betas` is not a floating-point tensor.
        ValueError: `betas` does not run from 0 to 1.

    Reference: Neal 2001; Thin et al. 2021 and Geffner, Domke 2021 for unadjusted moves.
    """
    betas = checked_schedule(betas)
    # A schedule that is learned stays a tensor; numbers are cheaper, and do not set a dtype.
    values = betas.unbind() if betas.requires_grad else betas.tolist()
    steps = [s for beta in values[1:] for s in steps_of(transition, path.at(beta))]
    return Chain(path.source, steps)


def increments(trajectory: Trajectory, densities: Sequence[Target]) -> Tensor:
    """Return what each step of a chain adds to the log-weight, (T, B), given densities on its way.

        log g_t(x_t) - log g_{t-1}(x_{t-1}) + log_ratio_t,   summing to the log-weight under g_T

    A step that follows its density without lag adds about the same to every path. With
    `variance_shares` it shows where the variance of the log-weight comes from.

    Arguments:
        trajectory: T steps of B paths.
        densities: g_1, ..., g_T, one for the state after each step, the target last; along a path,
            `[path.at(beta) for beta in betas[1:].tolist()]`. The source stands for g_0.

    Raises:
        ValueError: there is another number of densities than steps.
    """
    if len(densities) != len(trajectory.log_ratio):
        raise ValueError(
            f"a trajectory of {len(trajectory.log_ratio)} steps needs one density for the state "
            f"after each; got {len(densities)}; leave the source out, and end with the target"
        )
    flow = [log_density(g, x) for g, x in zip(densities, trajectory.states[1:], strict=True)]
    return residuals(trajectory, torch.stack([trajectory.log_source, *flow]))
