"""What pictures of weighed paths share: the density behind a cloud, the histogram of log w."""

import numpy as np
import torch
from torch import Tensor

from gentoolkit.core.chain import Target, log_density
from gentoolkit.viz import colors
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene

_BINS, _CELLS = 40, 64


def density_over(target: Target, side: tuple[float, float], like: Tensor) -> np.ndarray:
    """Return the target's density on a square grid, its highest value one, (64, 64)."""
    cell = (side[1] - side[0]) / _CELLS
    at = side[0] + cell * (torch.arange(_CELLS) + 0.5).to(like)
    across, up = torch.meshgrid(at, at, indexing="xy")
    log_g = log_density(target, torch.stack([across.flatten(), up.flatten()], 1))
    return (log_g - log_g.max()).exp().reshape(_CELLS, _CELLS).double().cpu().numpy()


def histogram_panel(scene: Scene, log_w: np.ndarray, log_z: float, span: float) -> Panel:
    """Add the histogram of log-weights (F, B), `span` nats to either side of log Z."""
    low, high = log_z - span, log_z + span
    edges = np.linspace(low, high, _BINS + 1)
    shares = np.stack([np.histogram(np.clip(row, low, high), edges)[0] for row in log_w])
    shares = shares / log_w.shape[1]
    # The outermost bars also hold what lies beyond: they do not set the scale.
    top = 1.15 * max(float(shares[:, 1:-1].max()), 1e-3)
    panel = scene.panel(
        (low, high), (0, top), title="histogram of log w", x_label="log w", equal=False
    )
    middle = (edges[1:] + edges[:-1]) / 2
    panel.bars(
        np.minimum(shares, top), positions=middle, width=edges[1] - edges[0], color=colors.NEUTRAL
    )
    panel.lines([[[log_z, 0], [log_z, top]]], color="#1F2933", width=2.0, dash=True)
    panel.text(log_z - 0.04 * span, 0.94 * top, "log Z", anchor="right")
    return panel
