"""Monotone rational-quadratic splines on a box, the identity outside of it.

    share = (x - x_k) / w_k,   mean = h_k / w_k,   bend = d_k + d_{k+1} - 2 mean
    y     = y_k + h_k (mean share^2 + d_k share (1 - share)) / (mean + bend share (1 - share))

for bin k of width w_k and height h_k with slopes d_k, d_{k+1} at its ends.

Knots and log-slopes are float32 at least: half precision would lose whole bins. Values come back
in the precision they had.

Reference: Gregory and Delbourgo 1982; Durkan et al. 2019 (arXiv 1906.04032).
"""

from math import expm1, log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from gentoolkit.core import validate
from gentoolkit.numerics.divergence import wide

FLOOR = 1e-3
"""Least width and height of a bin, as a share of the box, and least slope at a knot."""

_UNIT_SLOPE = log(expm1(1.0 - FLOOR))  # softplus of it, and FLOOR, make 1


def spline_knots(raw: Tensor, bound: float, free_ends: bool = False) -> Tensor:
    """Turn free numbers into the knots of splines on the box [-bound, bound].

    Widths and heights are softmaxes with a floor, slopes at inner knots are softplus with a floor,
    and the slope is 1 at both ends, so that the map is smooth where it meets the identity. Where
    nothing lies outside of the box the end slopes may be free. Zeros give the identity.

    Arguments:
        raw: K numbers for widths, K for heights, K - 1 for slopes, (..., 3K - 1); with free ends
            K + 1 for slopes, (..., 3K + 1).
        bound: half the side of the box.
        free_ends: whether the slopes at both ends are given too.

    Returns:
        K + 1 places on the x axis, on the y axis, and slopes, (..., 3, K + 1), float32 or float64.

    Raises:
        ValueError: the numbers do not make K >= 2 bins, or K is too large for the floor, or
            `bound` is not positive.
    """
    more = -1 if free_ends else 1
    bins, rest = divmod(raw.shape[-1] + more, 3)
    if rest or bins < 2 or bins * FLOOR >= 1.0:
        count = "3K + 1" if free_ends else "3K - 1"
        raise ValueError(
            f"raw must hold {count} numbers for K bins, 2 <= K < {round(1 / FLOOR)}; got "
            f"{raw.shape[-1]}; give the net, for example, {3 * 8 - more} outputs for 8 bins"
        )
    validate.positive("bound", bound)
    raw = wide(raw)
    shares = raw[..., : 2 * bins].unflatten(-1, (2, bins)).softmax(-1)
    sums = pad(shares.cumsum(-1), (1, 0))
    floor = torch.linspace(
        -bound, 2.0 * bound * FLOOR * bins - bound, bins + 1, dtype=raw.dtype, device=raw.device
    )
    free = 2.0 * bound * (1.0 - bins * FLOOR)
    # The last share is exactly 1, so both axes end at one number.
    places = torch.add(floor, sums / sums[..., -1:], alpha=free)
    slopes = softplus(raw[..., 2 * bins :] + _UNIT_SLOPE) + FLOOR
    one = torch.ones_like(slopes[..., :1])
    slopes = slopes if free_ends else torch.cat([one, slopes, one], -1)
    return torch.cat([places.flatten(-2), slopes], -1).unflatten(-1, (3, bins + 1))


class _Bin(NamedTuple):
    """The bins that hold some values: corners, sizes, and slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    d0: Tensor
    d1: Tensor
    mean: Tensor


def _find(value: Tensor, knots: Tensor, axis: int) -> tuple[_Bin, Tensor, Tensor]:
    """Return the bin of each value on an axis, how far along it is, and if it is in the box."""
    # Only inner knots are compared: a value outside of the box falls into the first or last cell.
    k = (value.unsqueeze(-1) >= knots[..., axis, 1:-1]).sum(-1, keepdim=True)
    n = knots.shape[-1]
    corners = torch.tensor([0, 1, n, n + 1, 2 * n, 2 * n + 1], device=knots.device)
    x0, x1, y0, y1, d0, d1 = knots.flatten(-2).gather(-1, k + corners).unbind(-1)
    width, height = x1 - x0, y1 - y0
    place = (value - y0) / height if axis else (value - x0) / width
    # Rounding is monotone, so inside the box a place never leaves [0, 1].
    share = place.clamp(0.0, 1.0)
    return _Bin(x0, y0, width, height, d0, d1, height / width), share, share == place


def _curve(cell: _Bin, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `share (1 - share)`, the denominator of y, and log dy/dx."""
    _, _, _, _, d0, d1, mean = cell
    rest = 1.0 - share
    both = share * rest
    below = mean + (d0 + d1 - 2.0 * mean) * both
    above = d1 * share * share + 2.0 * mean * both + d0 * rest * rest
    return both, below, (above * (mean / below).square()).log()


def spline(x: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate splines and their slopes; outside of the box they are the identity.

    Arguments:
        x: (...).
        knots: from `spline_knots`, (..., 3, K + 1).

    Returns:
        y, in the dtype of x, and log dy/dx, both (...).
    """
    narrow, x = x.dtype, wide(x)
    cell, share, inside = _find(x, knots, 0)
    both, below, log_slope = _curve(cell, share)
    y = cell.y + cell.height * (cell.mean * share * share + cell.d0 * both) / below
    return torch.where(inside, y, x).to(narrow), torch.where(inside, log_slope, 0.0)


def spline_inverse(y: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `spline`: each value solves one quadratic equation.

        rise  = (y - y_k) / h_k,   g = d_k (1 - rise) - d_{k+1} rise
        share = 2 mean rise / (2 mean rise + g + root),   root^2 = g^2 + 4 mean^2 rise (1 - rise)

    the root in [0, 1], with a discriminant that is a sum of positive terms.

    Arguments:
        y: (...).
        knots: from `spline_knots`, (..., 3, K + 1).

    Returns:
        x, in the dtype of y, and log dy/dx at that x, both (...): the number that `spline(x)`
        gives, no sign flip.
    """
    narrow, y = y.dtype, wide(y)
    cell, rise, inside = _find(y, knots, 1)
    rest = 1.0 - rise
    g = cell.d0 * rest - cell.d1 * rise
    left, right = 2.0 * cell.mean * rise, 2.0 * cell.mean * rest
    # Where g < 0, `g + root` would cancel: there it is left * right / reach. Not `abs`, whose
    # gradient at zero, the middle of an even bin, belongs to neither side.
    rising = g >= 0.0
    reach = torch.where(rising, g, -g) + (g * g + left * right).sqrt()
    share = torch.where(rising, left / (left + reach), reach / (right + reach))
    x = cell.x + cell.width * share
    log_slope = _curve(cell, share)[2]
    return torch.where(inside, x, y).to(narrow), torch.where(inside, log_slope, 0.0)
