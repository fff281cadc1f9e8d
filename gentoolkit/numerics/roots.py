"""Roots of increasing functions of one number, many at once."""

from collections.abc import Callable

import torch
from torch import Tensor

Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]


def increasing_root(
    function: Increasing,
    low: Tensor,
    high: Tensor,
    tolerance: Tensor | float,
    iterations: int = 100,
) -> Tensor:
    """Solve `f(a) = 0` by Newton's method, by bisection where Newton leaves the bracket or crawls.

    The gradient flows to what `function` depends on: the last Newton step is recorded, and at a
    root its derivative is the one of the implicit function theorem (first derivatives only).

    Arguments:
        function: returns f(a) and f'(a) >= 0 elementwise.
        low: where f <= 0, up to rounding.
        high: where f >= 0, up to rounding; the same shape.
        tolerance: largest |f| that is accepted.
        iterations: how many steps are tried.

    Raises:
        ValueError: some |f| is above the tolerance after the last step.
    """
    with torch.no_grad():
        low, high = low.detach(), high.detach()
        a = (low + high) / 2
        value, slope = function(a)
        before = torch.full_like(value, torch.inf)
        for _ in range(iterations):
            if bool((value.abs() <= tolerance).all()):
                break
            low, high = torch.where(value < 0, a, low), torch.where(value > 0, a, high)
            newton = a - value / slope
            # A step that did not halve the residual is followed by a bisection, or Newton could
            # circle within the bracket for ever.
            good = (newton >= low) & (newton <= high) & (value.abs() <= 0.5 * before.abs())
            before, a = value, torch.where(good, newton, (low + high) / 2)
            value, slope = function(a)
        # Written so that a NaN, which fails every comparison, counts as no root.
        off = ~(value.abs() <= tolerance)
        if bool(off.any()):
            bound = float(torch.as_tensor(tolerance, dtype=value.dtype).max())
            raise ValueError(
                f"the root search must end within {bound:.3g} of zero; got a residual of "
                f"{float(value.abs().max()):.3g} at {int(off.sum())} of {off.numel()} places after "
                f"{iterations} steps; raise the tolerance or the number of steps, or use float64"
            )
    value, _ = function(a)
    return a - value / slope
