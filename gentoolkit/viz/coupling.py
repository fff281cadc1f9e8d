"""A coupling layer as a diagram: the kept part passes, and a net that reads it moves the rest."""

import plotly.graph_objects as go

from gentoolkit.viz.charts import INK, Chart, diagram
from gentoolkit.viz.colors import NEUTRAL, PULL, PUSH

_WIDTH, _HEIGHT, _SIDE = 860, 250, 430
_HIGH, _LOW = 165, 65  # the lines of the kept and of the moved part


def coupling_diagram(
    *,
    push: str = "· e<sup>s</sup> + t",
    pull: str = "(· − t) e<sup>−s</sup>",
    kept: str = "a",
    moved: str = "m",
    gives: str = "s, t",
    alt: str = "",
) -> Chart:
    """Draw the push of a coupling layer on the left and its pull on the right.

    Both run the same net on the same kept part: nothing asks for the inverse of the net.

    Arguments:
        push: what is done to the moved part on the way to the target.
        pull: what undoes it.
        kept: index of the part that passes unchanged.
        moved: index of the other part.
        gives: what the net gives.
        alt: what the drawing says; made of the other arguments if empty.
    """
    figure = go.Figure()
    ways = (
        ("push: draw", "x", "y", push, PUSH, "solid"),
        ("pull: score", "y", "x", pull, PULL, "dash"),
    )
    for turn, (title, before, after, does, color, dash) in enumerate(ways):
        left = turn * _SIDE
        _words(figure, left + _SIDE / 2, _HEIGHT - 18, f"<b>{title}</b>", color)
        for y, part in ((_HIGH, kept), (_LOW, moved)):
            _words(figure, left + 38, y, f"{before}<sub>{part}</sub>", INK, 18)
            _words(figure, left + _SIDE - 34, y, f"{after}<sub>{part}</sub>", INK, 18)
        _arrow(figure, (left + 62, _HIGH), (left + _SIDE - 58, _HIGH), color, dash)
        _arrow(figure, (left + 62, _LOW), (left + 200, _LOW), color, dash)
        _arrow(figure, (left + 336, _LOW), (left + _SIDE - 58, _LOW), color, dash)
        _arrow(figure, (left + 120, _HIGH), (left + 120, 136), NEUTRAL, "solid")
        _box(figure, (left + 88, 96), (left + 152, 136), "net", NEUTRAL)
        _arrow(figure, (left + 152, 116), (left + 268, 116), NEUTRAL, "solid", head=False)
        _arrow(figure, (left + 268, 116), (left + 268, _LOW + 21), NEUTRAL, "solid")
        _words(figure, left + 214, 129, gives, NEUTRAL)
        _box(figure, (left + 200, _LOW - 21), (left + 336, _LOW + 21), does, color)
        _words(figure, left + 290, _HIGH + 14, "unchanged", NEUTRAL, 14)
    figure.add_shape(
        type="line", x0=_SIDE, x1=_SIDE, y0=14, y1=_HEIGHT - 14, line={"color": "#DDE1E5"}
    )
    said = alt or (
        f"Two diagrams. Left, the push: the kept part x_{kept} passes unchanged to y_{kept}; a net "
        f"reads it and gives {gives}, and with these x_{moved} becomes y_{moved}. Right, the pull: "
        f"y_{kept} passes unchanged to x_{kept}, the same net reads it and gives the same {gives}, "
        f"and with these y_{moved} becomes x_{moved} again."
    )
    return diagram(figure, said, _WIDTH, _HEIGHT)


def _words(
    figure: go.Figure, x: float, y: float, text: str, color: str, size: float = 15.0
) -> None:
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": size, "color": color})


def _box(
    figure: go.Figure, low: tuple[float, float], high: tuple[float, float], text: str, color: str
) -> None:
    figure.add_shape(
        type="rect", x0=low[0], y0=low[1], x1=high[0], y1=high[1],
        line={"color": color, "width": 2}, fillcolor="#F4F6F8",
    )  # fmt: skip
    _words(figure, (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, text, INK)


def _arrow(
    figure: go.Figure,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    dash: str,
    head: bool = True,
) -> None:
    figure.add_shape(
        type="line", x0=start[0], y0=start[1], x1=end[0], y1=end[1],
        line={"color": color, "width": 2.5, "dash": dash},
    )  # fmt: skip
    if head:
        back = [e - 8 * (e > s) + 8 * (e < s) for s, e in zip(start, end, strict=True)]
        figure.add_annotation(
            x=end[0], y=end[1], ax=back[0], ay=back[1], xref="x", yref="y", axref="x", ayref="y",
            text="", showarrow=True, arrowhead=2, arrowsize=1.2, arrowwidth=2.5, arrowcolor=color,
        )  # fmt: skip
