"""Paths on the line drawn against time, over the law of the states at each time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from gentoolkit.viz.arrays import as_array, as_range
from gentoolkit.viz.charts import INK, Chart, short
from gentoolkit.viz.colors import PULL, PUSH

_CELLS = 80
_SHADES = [[0, "#FFFFFF"], [0.25, "#E4E7EA"], [0.6, "#BFC6CC"], [1, "#8A939C"]]


@dataclass(frozen=True)
class Paths:
    """Paths on the line: one panel of ``space_time``.

    Arguments:
        name: shown above the panel.
        at: (T + 1,) time of each state, or another coordinate that rises or falls all the way. The
            axis runs as the paths run: its first value is on the left.
        states: (T + 1, N) or (T + 1, N, 1) places.
        log_density: (M, 1) places and one value of `at` -> (M,) log-density there, up to a number.
        extent: (lowest, highest) place shown.
        at_label: what `at` is.
        state_label: what the places are.
        pull: drawn dashed in the colour of the pull.

    Raises:
        ValueError: shapes that do not fit, `at` that does not run one way, or no interval.
    """

    name: str
    at: object
    states: object
    log_density: Callable[[Tensor, float], Tensor] | None = None
    extent: Sequence[float] = (-3.0, 3.0)
    at_label: str = "time t"
    state_label: str = "x"
    pull: bool = False

    def __post_init__(self) -> None:
        at = as_array(self.at, f"at of {self.name!r}")
        steps = np.diff(at)
        if at.ndim != 1 or len(at) < 2 or not ((steps > 0).all() or (steps < 0).all()):
            raise ValueError(
                f"at of {self.name!r} must rise or fall all the way; got {at.ravel()[:4].tolist()}"
                "...; pass the times of the states, in the order of the run"
            )
        self.table()
        as_range(self.extent, "extent")

    def table(self) -> np.ndarray:
        """Return the states as (T + 1, N)."""
        length = len(as_array(self.at, "at"))
        states = as_array(self.states, f"states of {self.name!r}")
        if states.ndim == 3 and states.shape[2] == 1:
            states = states[:, :, 0]
        return as_array(states, f"states of {self.name!r}, one row per time,", (length, "N"))


def space_time(
    panels: Sequence[Paths], *, alt: str, title: str = "", strong: int = 3, height: int = 420
) -> Chart:
    """Draw paths on the line against time, with the law of the states as shading.

    The shading is the density relative to its highest value at the same time, so that a late
    narrow mode does not hide an early wide one.

    Arguments:
        panels: one or more, side by side.
        alt: what the chart shows, in a sentence.
        title: one short line.
        strong: how many paths of each panel, the first ones, are drawn strongly.
        height: pixels.

    Raises:
        ValueError: no panels, or a log-density of another shape.

    Reference: Song et al. 2021 (arXiv 2011.13456), figure 2.
    """
    if not panels:
        raise ValueError("there must be a panel to show; got none; pass [Paths(...)]")
    figure = make_subplots(
        1, len(panels), subplot_titles=[p.name for p in panels], horizontal_spacing=0.09
    )
    for column, panel in enumerate(panels, start=1):
        at = as_array(panel.at, "at")
        low, high = as_range(panel.extent, "extent")
        if panel.log_density is not None:
            figure.add_heatmap(**_heat(panel, at, low, high), row=1, col=column)
        color, dash = (PULL, "dash") if panel.pull else (PUSH, "solid")
        for i, path in reversed(list(enumerate(panel.table().T))):
            first = i < strong
            figure.add_scatter(
                x=short(at),
                y=short(path),
                mode="lines",
                line={"color": INK if first else color, "dash": dash, "width": 2 if first else 1},
                opacity=1.0 if first else 0.45,
                showlegend=False,
                hoverinfo="skip",
                row=1,
                col=column,
            )
        figure.update_xaxes(
            range=[float(at[0]), float(at[-1])], title=panel.at_label, showgrid=False, col=column
        )
        figure.update_yaxes(range=[low, high], title=panel.state_label, showgrid=False, col=column)
    figure.update_layout(title=title, margin={"t": 84 if title else 48})
    return Chart(figure, alt, width=760, height=height)


def _heat(panel: Paths, at: np.ndarray, low: float, high: float) -> dict[str, object]:
    assert panel.log_density is not None
    times = np.linspace(at.min(), at.max(), _CELLS)
    places = torch.linspace(low, high, _CELLS, dtype=torch.float64)[:, None]
    columns = []
    with torch.no_grad():
        for time in times:
            found = panel.log_density(places, float(time))
            columns.append(as_array(found, f"log_density at {time:g}", (_CELLS,)))
    shade = np.stack(columns, axis=1)
    shade = np.exp(shade - shade.max(axis=0))
    return {
        "z": [[float(f"{v:.3g}") for v in row] for row in shade],
        "x": short(times),
        "y": short(places.numpy()),
        "colorscale": _SHADES,
        "showscale": False,
        "hoverinfo": "skip",
    }
