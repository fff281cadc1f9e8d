"""The sandwich chart: log Z between a lower and an upper bound, one row a chain."""

from collections.abc import Mapping

import plotly.graph_objects as go

from gentoolkit.core import Sandwich
from gentoolkit.viz.charts import INK, Chart
from gentoolkit.viz.colors import NEUTRAL, PULL, PUSH


def sandwich_chart(
    bounds: Sandwich | Mapping[str, Sandwich],
    exact: float | None = None,
    *,
    title: str = "log Z between two bounds",
    symbol: str = "log Z",
) -> Chart:
    """Draw each chain's ELBO and EUBO, with four standard errors, as the ends of a bar.

    Arguments:
        bounds: a `Sandwich`, or name -> `Sandwich` for several chains.
        exact: the exact value, if known, drawn as a line across.
        title: one short line.
        symbol: what is bounded.

    Raises:
        ValueError: there is no chain.
    """
    rows = {"": bounds} if isinstance(bounds, Sandwich) else dict(bounds)
    if not rows:
        raise ValueError("bounds must hold at least one chain; got none; pass {'name': sandwich()}")
    names, figure = list(rows), go.Figure()
    for name, row in rows.items():
        figure.add_scatter(
            x=[row.lower, row.upper],
            y=[name, name],
            mode="lines",
            line={"color": NEUTRAL, "width": 6},
            opacity=0.35,
            showlegend=False,
            hoverinfo="skip",
        )
    ends = (
        ("ELBO, pushed paths", "triangle-right", PUSH, "lower"),
        ("EUBO, pulled paths", "triangle-left", PULL, "upper"),
    )
    for label, marker, color, side in ends:
        pairs = [
            (r.lower, r.lower_error) if side == "lower" else (r.upper, r.upper_error)
            for r in rows.values()
        ]
        figure.add_scatter(
            x=[float(f"{at:.6g}") for at, _ in pairs],
            y=names,
            mode="markers",
            name=label,
            marker={"symbol": marker, "size": 13, "color": color},
            error_x={"array": [float(f"{4 * e:.4g}") for _, e in pairs], "color": color},
        )
    if exact is not None:
        figure.add_vline(
            x=exact,
            line={"color": INK, "width": 2, "dash": "dot"},
            annotation={
                "text": f"{symbol} = {exact:.3f}".replace("-", "−"),
                "bgcolor": "rgba(255,255,255,0.85)",
            },
            annotation_position="top",
        )
    height = 230 + 48 * len(rows)
    figure.update_layout(
        title=title,
        xaxis_title=f"{symbol}, nats",
        # Below the axis title, in pixels of the plot's own height.
        legend={"orientation": "h", "x": 0, "y": -64 / (height - 172), "yanchor": "top"},
        margin={"t": 76, "b": 96},
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    said = "; ".join(f"{name}: {row}" if name else str(row) for name, row in rows.items())
    truth = "" if exact is None else f" The exact value is {exact:.3f}."
    return Chart(figure, f"Bounds of {symbol} from both sides. {said}.{truth}", height=height)
