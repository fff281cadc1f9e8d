"""Roots of increasing functions of one number, many at once, and fixed points of contractions.

Both are found without a graph; then two Newton steps are recorded. From the root itself a Newton
step gives the first derivatives of the implicit function theorem, and the second step doubles the
order: derivatives up to the third are right, in reverse and in forward mode.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.numerics.divergence import jacobian, wide

Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]

_TRACED_STEPS = 40
"""Iterations where no value may be read: each pair of them halves the bracket or the residual."""


def increasing_root(
    function: Increasing,
    low: Tensor,
    high: Tensor,
    tolerance: Tensor | float,
    iterations: int = 100,
) -> Tensor:
    """Solve `f(a) = 0` by Newton's method, by bisection where Newton leaves the bracket or crawls.

    The gradient flows to what `function` depends on, up to third derivatives.

    Arguments:
        function: returns f(a) and f'(a) >= 0 elementwise, both differentiable.
        low: where f <= 0, up to rounding.
        high: where f >= 0, up to rounding; the same shape.
        tolerance: largest |f| that is accepted.
        iterations: how many steps are tried. Compiled, or in a `torch.func` transform, all steps
            are taken, at most 40, and a place that did not converge becomes NaN.

    Raises:
        ValueError: some |f| is above the tolerance after the last step.
    """
    traced = validate.traced(low)
    with torch.no_grad():
        low, high = low.detach(), high.detach()
        a = (low + high) / 2
        value, slope = function(a)
        before = torch.full_like(value, torch.inf)
        for _ in range(min(iterations, _TRACED_STEPS) if traced else iterations):
            done = value.abs() <= tolerance
            if not traced and bool(done.all()):
                break
            low, high = torch.where(value < 0, a, low), torch.where(value > 0, a, high)
            newton = a - value / slope
            # A step that did not halve the residual is followed by a bisection, or Newton could
            # circle within the bracket for ever.
            good = (newton >= low) & (newton <= high) & (value.abs() <= 0.5 * before.abs())
            # One that has arrived stays: there, rounding would pass for a step that failed.
            step = torch.where(good, newton, (low + high) / 2)
            before, a = value, torch.where(done, a, step)
            value, slope = function(a)
        # Written so that a NaN, which fails every comparison, counts as no root.
        found = value.abs() <= tolerance
        if traced:
            a = torch.where(found, a, torch.nan)
        elif not bool(found.all()):
            bound = float(torch.as_tensor(tolerance, dtype=value.dtype).max())
            raise ValueError(
                f"the root search must end within {bound:.3g} of zero; got a residual of "
                f"{float(value.abs().max()):.3g} at {int((~found).sum())} of {found.numel()} "
                f"places after {iterations} steps; raise the tolerance or the number of steps, or "
                "use float64"
            )
    for _ in range(2):
        value, slope = function(a)
        a = a - value / slope
    return a


def fixed_point(
    f: Callable[[Tensor], Tensor], x: Tensor, tolerance: float, iterations: int
) -> Tensor:
    """Return the x with `x = f(x)`, by `x <- f(x)` from the given start, without a gradient.

    Arguments:
        f: a contraction, any shape to the same shape.
        x: where to start.
        tolerance: largest |f(x) - x| at the end, relative to 1 + |x|.
        iterations: how many are tried; compiled, or in a `torch.func` transform, all are taken.

    Raises:
        ValueError: it has not converged; the error names the residual and the tolerance.
    """
    validate.positive("tolerance", tolerance)
    validate.positive_count("iterations", iterations)
    traced = validate.traced(x)
    residual = torch.full_like(x, torch.inf)
    with torch.no_grad():
        for _ in range(iterations):
            image = f(x)
            residual = (image - x).abs() / (1.0 + image.abs())
            x = image
            if not traced and bool((residual <= tolerance).all()):
                return x
    if traced:
        return torch.where(residual <= tolerance, x, torch.nan)
    raise ValueError(
        f"the fixed point has not converged in {iterations} iterations: residual "
        f"{float(residual.max()):.3g}, above the tolerance {tolerance:.3g}; allow more "
        "iterations, raise the tolerance, or lower the Lipschitz constant"
    )


def implicit_fixed_point(
    f: Callable[[Tensor], Tensor], x: Tensor, tolerance: float, iterations: int
) -> Tensor:
    """Return the x with `x = f(x)` for rows (B, D), with derivatives up to the third.

        x <- x + (I - J)^-1 (f(x) - x),   J the Jacobian of f at x

    Where gradients are recorded this step is taken twice from the fixed point, each by D products
    and a solve of D equations; under `torch.no_grad()` the fixed point is returned as it is.

    Arguments:
        f: a contraction of rows (B, D), each alone; gradients flow to what it depends on.
        x: where to start.
        tolerance: largest |f(x) - x| at the end, relative to 1 + |x|.
        iterations: how many are tried.

    Raises:
        ValueError: it has not converged; the error names the residual and the tolerance.

    Reference: Bai, Kolter, Koltun 2019 (arXiv 1909.01377), for derivatives of fixed points.
    """
    x = fixed_point(f, x.detach(), tolerance, iterations)
    if not torch.is_grad_enabled() and not validate.traced(x):
        return x
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    for _ in range(2):
        image, matrix = jacobian(f, x)
        x = x + torch.linalg.solve(wide(eye - matrix), wide(image - x)).to(x.dtype)
    return x
