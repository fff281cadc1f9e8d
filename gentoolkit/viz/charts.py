"""Charts that stand still, drawn by plotly in the look of the players.

This module loads plotly; nothing else in the package does.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import plotly.graph_objects as go
from IPython.display import display

from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.colors import PULL, PUSH
from gentoolkit.viz.output import mode

INK = "#1B1F24"
LINES = (
    (PUSH, "solid"),
    (PULL, "dash"),
    ("#00795A", "dot"),
    ("#7B5AA6", "dashdot"),
    (INK, "longdash"),
)
"""Colour and dash of the first, second, ... line: no two differ by colour alone."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_AXIS = {
    "showline": True,
    "linecolor": "#8A939C",
    "gridcolor": "#E7EAED",
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": "#8A939C",
    "title": {"standoff": 8},
    "automargin": True,
}
_DARK = """
body[data-jp-theme-light="false"] .js-plotly-plot { filter: invert(0.9) hue-rotate(180deg); }
"""
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 14, "color": INK},
        "title": {"font": {"size": 17}, "x": 0.01, "xanchor": "left", "y": 0.97, "yanchor": "top"},
        "colorway": [color for color, _ in LINES],
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 64, "r": 24, "t": 56, "b": 56},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"bgcolor": "rgba(255,255,255,0.85)", "bordercolor": "#DDE1E5", "borderwidth": 1},
        "colorscale": {"sequential": "Viridis"},
        "hoverlabel": {"font": {"size": 14}},
    }
)


@dataclass(frozen=True)
class Chart:
    """A plotly figure together with the sentence that says what it shows.

    Arguments:
        figure: the figure; it is given the course's template and loses the cloud button.
        alt: what a reader who does not see it should know, at least 20 characters.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: the sentence is too short.
    """

    figure: go.Figure
    alt: str
    width: int = 760
    height: int = 420

    def __post_init__(self) -> None:
        if len(self.alt.strip()) < 20:
            raise ValueError(
                f"alt must say in a sentence what the chart shows; got {self.alt!r}; "
                "write at least 20 characters"
            )
        self.figure.update_layout(template=TEMPLATE, width=self.width, height=self.height)

    def __repr__(self) -> str:
        return self.alt

    def bundle(self) -> dict[str, object]:
        """Return the figure for a notebook, with the sentence as its plain text."""
        return {
            "application/vnd.plotly.v1+json": {
                **json.loads(str(self.figure.to_json())),
                "config": {"displaylogo": False, "modeBarButtonsToRemove": ["sendDataToCloud"]},
            },
            "text/plain": self.alt,
        }

    def description(self) -> dict[str, object]:
        """Return the sentence as a line for screen readers: plotly has no place for it.

        A dark theme of JupyterLab turns the chart's shades over and keeps its hues.
        """
        hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
        text = f'<p style="{hidden}">Chart: {escape(self.alt)}</p>'
        return {"text/html": f"<style>{_DARK}</style>{text}", "text/plain": ""}

    def _ipython_display_(self) -> None:
        display(self.bundle(), raw=True)
        if mode() == "live":
            display(self.description(), raw=True)


def diagram(figure: go.Figure, alt: str, width: int, height: int) -> Chart:
    """Return a drawing without axes, whose coordinates are pixels from the lower left corner."""
    figure.update_xaxes(range=[0, width], visible=False, fixedrange=True)
    figure.update_yaxes(range=[0, height], visible=False, fixedrange=True)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return Chart(figure, alt, width, height)


def line_style(index: int, width: float = 2.5) -> dict[str, object]:
    """Return plotly's line settings for the line number `index`: a colour and a dash."""
    color, dash = LINES[index % len(LINES)]
    return {"color": color, "dash": dash, "width": width}


def short(values: object, name: str = "values") -> list[float]:
    """Round to six significant digits, more than a screen shows, so that notebooks stay small."""
    return [float(f"{v:.6g}") for v in as_array(values, name).ravel()]


def curves(
    lines: Mapping[str, object],
    *,
    alt: str,
    x: object | None = None,
    references: Mapping[str, float] | None = None,
    errors: Mapping[str, object] | None = None,
    errors_are: str = "two standard errors",
    title: str = "",
    x_label: str = "step",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    height: int = 420,
) -> Chart:
    """Draw named curves over a common axis, with exact values as horizontal lines.

    Points are marked if there are twelve or fewer. A legend names every line, and the ticks of a
    logarithmic axis are powers of ten.

    Arguments:
        lines: name -> (N,) values.
        alt: what the chart shows, in a sentence.
        x: (N,) positions; 1, 2, ... if left out.
        references: name -> a height drawn as a thin dotted line across.
        errors: name of a line -> (N,) lengths of the whiskers above and below its points, or
            (2, N) lengths: first those below, then those above.
        errors_are: what the whiskers are; written into the chart.
        title: one short line.
        x_label: what x is, with its unit.
        y_label: what the curves are, with their unit.
        log_x: use a logarithmic x axis.
        log_y: use a logarithmic y axis.
        height: pixels.

    Raises:
        ValueError: there is no curve, a curve is empty, its length is not that of `x`, whiskers of
            an unknown curve or of another shape, or a value of 0 or less on a logarithmic axis.
    """
    if not lines:
        raise ValueError("lines must hold at least one curve; got none; pass {'name': values}")
    unknown = set(errors or {}) - set(lines)
    if unknown:
        raise ValueError(f"errors belong to curves; got {sorted(unknown)}; name curves of lines")
    figure = go.Figure()
    places, heights = [], []
    for i, (name, values) in enumerate(lines.items()):
        y = short(values, name)
        at = list(range(1, len(y) + 1)) if x is None else short(x, "x")
        if len(at) != len(y):
            raise ValueError(
                f"a curve needs one x for each y; got {len(at)} x and {len(y)} y for {name!r}; "
                "pass arrays of one length"
            )
        line = figure.add_scatter(x=at, y=y, name=name, mode="lines", line=line_style(i)).data[-1]
        if len(y) <= _FEW:
            line.update(mode="lines+markers", marker={"size": 7})
        if name in (errors or {}):
            line.error_y = _whiskers((errors or {})[name], name, len(y)) | {"thickness": 1.5}
        places, heights = places + at, heights + y
    for i, (name, value) in enumerate((references or {}).items()):
        dash = ("dot", "dashdot", "longdashdot")[i % 3]
        figure.add_scatter(
            x=[min(places), max(places)],
            y=[float(value)] * 2,
            name=name,
            mode="lines",
            line={"color": INK, "width": 1.5, "dash": dash},
        )
        heights.append(float(value))
    for log, name, values in ((log_x, "x", places), (log_y, "y", heights)):
        if log and min(values) <= 0:
            raise ValueError(
                f"a logarithmic axis has no place for 0 or less; got {min(values):g} on the "
                f"{name} axis; leave it out or pass log_{name}=False"
            )
    figure.update_layout(
        title=title,
        xaxis_title=x_label,
        yaxis_title=y_label,
        showlegend=len(lines) + len(references or {}) > 1,
    )
    points = sorted(set(places))
    if log_x:
        figure.update_xaxes(log_axis(places))
        if x is not None and len(points) <= _FEW:
            figure.update_xaxes(tickvals=points, ticktext=[f"{v:g}" for v in points])
    if log_y:
        figure.update_yaxes(log_axis(heights))
    if errors:
        figure.add_annotation(
            text=f"whiskers: {errors_are}", x=1, y=1, xref="x domain", yref="y domain",
            xanchor="right", yanchor="bottom", showarrow=False,
        )  # fmt: skip
    return Chart(figure, alt, height=height)


_FEW = 12


def _whiskers(lengths: object, name: str, count: int) -> dict[str, object]:
    """Return plotly's whiskers: one length a point, or one below and one above it."""
    if as_array(lengths, name).ndim < 2:
        return {"array": short(lengths, name)}
    below, above = as_array(lengths, name, (2, count))
    return {"array": short(above, name), "arrayminus": short(below, name), "symmetric": False}


def log_axis(values: Sequence[float]) -> dict[str, object]:
    """Return plotly's settings of a logarithmic axis: powers of ten, 2 and 5 on a short one.

    Arguments:
        values: what is drawn on the axis, all positive.
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    room = 0.04 * max(high - low, 0.3)
    low, high = low - room, high + room
    powers = range(math.floor(low), math.ceil(high) + 1)
    if high - low < 2.0:
        ticks = {m * 10.0**k: f"{m * 10.0**k:g}" for k in powers for m in (1, 2, 5)}
    else:
        every = math.ceil((high - low) / 8)
        ticks = {10.0**k: f"10<sup>{k}</sup>".replace("-", "−") for k in powers if k % every == 0}
    inside = {v: t for v, t in ticks.items() if low <= math.log10(v) <= high}
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": list(inside),
        "ticktext": list(inside.values()),
    }


def plane(
    log_density: object,
    extent: tuple[float, float, float, float],
    *,
    alt: str,
    points: Mapping[str, object] | None = None,
    paths: Mapping[str, object] | None = None,
    title: str = "",
) -> Chart:
    """Draw a density over the plane as a heat map, with points and outlines on it.

    Arguments:
        log_density: (H, W) log-density on a grid; row 0 is the lowest y.
        extent: (left, right, bottom, top) of the grid's outer points.
        alt: what the chart shows, in a sentence.
        points: name -> (N, 2) points.
        paths: name -> (N, 2) corners of a line, for example an ellipse.
        title: one short line.

    Raises:
        ValueError: the grid is not two-dimensional or not finite, or points off the plane.
    """
    grid = as_array(log_density, "log_density", ("H", "W"))
    left, right, bottom, top = extent
    shade = np.exp(grid - grid.max())
    (x0, dx), (y0, dy) = _steps(left, right, grid.shape[1]), _steps(bottom, top, grid.shape[0])
    figure = go.Figure(
        go.Heatmap(
            z=[[float(f"{v:.3g}") for v in row] for row in shade],
            x0=x0,
            dx=dx,
            y0=y0,
            dy=dy,
            colorscale=[[0, "#FFFFFF"], [0.25, "#C9DDE8"], [0.6, "#5FA3C4"], [1, "#123F5A"]],
            showscale=False,
            hoverinfo="skip",
        )
    )
    for i, (name, corners) in enumerate((paths or {}).items()):
        x, y = as_array(corners, name, ("N", 2)).T
        figure.add_scatter(x=short(x), y=short(y), name=name, mode="lines", line=line_style(i, 3))
    for i, (name, places) in enumerate((points or {}).items()):
        x, y = as_array(places, name, ("N", 2)).T
        # Five colours and four symbols: no two of twenty groups have both in common.
        marker = {"size": 6, "opacity": 0.7, "color": LINES[i % len(LINES)][0]}
        marker["symbol"] = ("circle", "diamond", "square", "cross")[i % 4]
        figure.add_scatter(x=short(x), y=short(y), name=name, mode="markers", marker=marker)
    figure.update_layout(title=title, xaxis_title="x₁", yaxis_title="x₂")
    figure.update_xaxes(range=[left, right], showgrid=False)
    figure.update_yaxes(range=[bottom, top], scaleanchor="x", scaleratio=1, showgrid=False)
    return Chart(figure, alt, width=640, height=480)


def _steps(low: float, high: float, count: int) -> tuple[float, float]:
    """First place and step of a grid's points; a single one in the middle is as wide as all."""
    if count == 1:
        return (low + high) / 2, high - low
    return low, (high - low) / (count - 1)
