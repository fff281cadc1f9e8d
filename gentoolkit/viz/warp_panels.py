"""The panels that the three views of a flow share: sheet, density, accounts."""

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range
from gentoolkit.viz.arrays import extent as extent_of
from gentoolkit.viz.contour import level_of, outline
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene


def sheet_panel(
    scene: Scene, span: Range, title: str, points: np.ndarray, log_det: np.ndarray, lines: object
) -> Panel:
    """Add the plane with the bent grid, the particles and the scale of their colours."""
    panel = scene.panel(span, span, title=title)  # no names of axes: every pixel goes to the plot
    if lines is not None:
        panel.lines(lines, color=colors.NEUTRAL, width=1.0, alpha=0.5)
    # A few extreme particles must not wash out the others.
    bound = float(np.quantile(np.abs(log_det), 0.995)) or 0.5
    look = {"limits": (-bound, bound), "colormap": "balance"}
    panel.points(points, values=log_det, size=5.5, alpha=0.9, **look)
    low, side = span[0], span[1] - span[0]
    scale = np.linspace(-1, 1, 9)  # few colours, which also survive the poster's palette
    foot = low + 0.045 * side
    bar = np.stack([low + side * (0.5 + 0.16 * scale), np.full(9, foot)], axis=1)
    panel.points(bar, values=bound * scale, size=12, alpha=1.0, **look)
    panel.text(low + 0.30 * side, foot, number(-bound), anchor="right")
    panel.text(low + 0.70 * side, foot, f"+{number(bound)}", anchor="left")
    return panel


def density_panel(scene: Scene, span: Range, heat: np.ndarray, outlined: bool = False) -> Panel:
    """Add the plane with a density as heat; one scale for all frames, named below."""
    top = float(heat.max())
    top = top if 0 < top < np.inf else 1.0
    title = "density, target outlined" if outlined else "density"
    panel = scene.panel(span, span, title=title, x_label=f"brightest: {top:.2g}")
    return panel.heat(np.minimum(heat, top), limits=(0.0, top))


def outlines(panel: Panel, span: Range, density: np.ndarray) -> None:
    """Outline the regions that hold 50 and 90 % of a density's mass on the grid."""
    for share in (0.5, 0.9):
        segments = outline(density, level_of(density, share), span, span)
        if len(segments):
            panel.lines(segments, color="#1F2933", width=3.5, alpha=0.55)
            panel.lines(segments, color="#FFFFFF", width=1.5)


def accounts_panel(scene: Scene, at: np.ndarray, running: np.ndarray, label: str) -> None:
    """Add the running log-density of the selected particle over the frames."""
    low, high = np.quantile(running, 0.02), running.max()  # densities have long tails downward
    shown = np.array([min(low, running[:, 0].min()), high])
    title = "log-density of one point"
    panel = scene.panel(extent_of(at), extent_of(shown), title=title, x_label=label, equal=False)
    panel.accounts(at, running)


def note(where: float, names: list[str], log_det: np.ndarray) -> str:
    """Say in a sentence where in the flow a frame is."""
    depth = round(where)
    if where == 0:
        return "At the source: the sheet is flat."
    if abs(where - depth) < 1e-9:
        return f"After layer {depth} of {len(names)}, {names[depth - 1]}: {spread(log_det)}"
    layer = int(where)
    return f"Inside layer {layer + 1} of {len(names)}, {names[layer]}: {spread(log_det)}"


def spread(log_det: np.ndarray) -> str:
    """Say in a sentence how far the particles' accounts lie apart."""
    low, high = number(float(log_det.min())), number(float(log_det.max()))
    return f"log |det| of the particles so far from {low} to {high}."


def number(value: float) -> str:
    """Write a number with two decimals and a proper minus sign."""
    return f"{value:.2f}".replace("-", "\u2212")
