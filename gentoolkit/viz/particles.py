"""What pictures of particles share: places, densities, running accounts, histograms."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core.chain import Target, log_density
from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array, extent
from gentoolkit.viz.panel import INK, Panel
from gentoolkit.viz.scene import Scene

_BINS = 40


def in_plane(states: Sequence[object], name: str) -> np.ndarray:
    """Stack the states of particles in the plane, each (B, 2), as (T + 1, B, 2).

    Raises:
        ValueError: a state is not (B, 2), or not of the first one's shape.
    """
    first = as_array(states[0], f"{name} 0, in the plane,", ("B", 2))
    rest = enumerate(states[1:], 1)
    return np.stack(
        [first, *(as_array(x, f"{name} {k}, in the plane,", first.shape) for k, x in rest)]
    )


def cells(span: Range, count: int, to_edge: bool = False) -> np.ndarray:
    """Lay (count * count, 2) places over a square, row by row from below.

    Arguments:
        span: (lowest, highest) of both coordinates.
        count: along each side.
        to_edge: from edge to edge; otherwise at the centres of cells.
    """
    inset = 0.0 if to_edge else 0.5 * (span[1] - span[0]) / count
    side = np.linspace(span[0] + inset, span[1] - inset, count)
    across, up = np.meshgrid(side, side)
    return np.stack([across.ravel(), up.ravel()], axis=1)


def density_over(target: Target, span: Range, count: int, like: Tensor) -> np.ndarray:
    """Evaluate a density over a square, up to a factor: its highest value is 1.

    Arguments:
        target: a log-density: a function (B, 2) -> (B,), or an object with ``log_prob``.
        span: (lowest, highest) of both coordinates.
        count: cells along each side.
        like: a tensor of the dtype and device that the target expects.

    Returns:
        (count, count) numbers; row 0 is the lowest.

    Raises:
        ValueError: the target is NaN, or nowhere above zero.
    """
    with torch.no_grad():
        log_p = log_density(target, torch.as_tensor(cells(span, count)).to(like))
    values = log_p.double().cpu().numpy().reshape(count, count)
    highest = float(values.max())
    if not np.isfinite(highest):
        raise ValueError(
            f"the target must have a density within {span}; got a highest log-density of "
            f"{highest}; pass one that is finite somewhere there, and NaN nowhere"
        )
    return np.exp(values - highest)


def account_panel(
    scene: Scene,
    at: np.ndarray,
    account: np.ndarray,
    *,
    title: str,
    label: str,
    name: str,
    inside: tuple[float, float],
    across: Range | None = None,
    mark: float | None = None,
    room: float = 0.0,
    others: int = 40,
    weight: float = 1.0,
) -> Panel:
    """Add the running number (F, B) of each particle at ``at`` (F,); the chosen one's is strong.

    Arguments:
        scene: of F frames.
        at: horizontal coordinate of each frame.
        account: the numbers.
        title: shown above.
        label: of the horizontal axis.
        name: of the number, as it is written under the picture.
        inside: quantiles of the numbers that must lie inside.
        across: range of the horizontal axis; the extent of ``at`` if None.
        mark: a height that a dashed line marks.
        room: share of the height that stays free above the curves.
        others: how many curves are drawn faint.
        weight: of the panel.
    """
    # Particle 0 is the one chosen at first: its account must lie inside, whatever the others do.
    seen = [
        *np.quantile(account, inside),
        *account[:, 0],
        *([] if mark is None else [mark - 1, mark + 1]),
    ]
    low, high = extent(np.array(seen))
    sides = extent(at) if across is None else across
    panel = scene.panel(
        sides, (low, high + room * (high - low)), title=title, x_label=label, equal=False,
        weight=weight,
    )  # fmt: skip
    if mark is not None:
        panel.lines([[[sides[0], mark], [sides[1], mark]]], color=INK, width=1.5, dash=True)
    return panel.accounts(at, account, name=name, others=others)


def histogram_panel(
    scene: Scene,
    log_w: np.ndarray,
    span: Range,
    log_z: float | None,
    *,
    title: str = "histogram of log w",
    label: str = "log w",
    color: str = colors.NEUTRAL,
    piled: bool = False,
) -> Panel:
    """Add the histogram of log-weights (F, B), with a dashed line at ``log_z`` if it is known.

    The outermost bars hold what lies beyond ``span``; only where ``piled`` do they set the scale.
    """
    edges = np.linspace(*span, _BINS + 1)
    counts = np.stack([np.histogram(np.clip(row, *span), edges)[0] for row in log_w])
    shares = counts / log_w.shape[1]
    # A start where all weights are one does not set the scale either.
    scale = shares[1:] if piled else shares[1:, 1:-1]
    top = 1.15 * max(float(scale.max(initial=0.0)), 1e-3)
    panel = scene.panel(span, (0, top), title=title, x_label=label, equal=False)
    middle = (edges[1:] + edges[:-1]) / 2
    width = edges[1] - edges[0]
    panel.bars(np.minimum(shares, top), positions=middle, width=width, color=color)
    if log_z is not None:
        panel.lines([[[log_z, 0], [log_z, top]]], color=INK, width=2.0, dash=True)
        panel.text(log_z - 0.02 * (span[1] - span[0]), 0.94 * top, "log Z", anchor="right")
    return panel


def number(value: float, digits: int = 2) -> str:
    """Write a number with a proper minus sign."""
    return f"{value:.{digits}f}".replace("-", "\u2212")
