"""The log-weight panel: what a sample of log-weights says about log Z, in one picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from gentoolkit.core import elbo, ess, log_z, log_z_error
from gentoolkit.viz.charts import INK, Chart, short
from gentoolkit.viz.colors import NEUTRAL, PUSH

_BINS = 60


@dataclass(frozen=True)
class LogWeights:
    """What a sample of log-weights says about log Z.

    Arguments:
        elbo: mean of log w, a lower bound in expectation.
        log_z: log mean w.
        error: standard error of `log_z` by the delta method.
        ess: effective sample size.
        n: number of weights.
    """

    elbo: float
    log_z: float
    error: float
    ess: float
    n: int

    @classmethod
    def of(cls, log_w: object) -> Self:
        """Summarise log-weights of shape (B,), B >= 2.

        Raises:
            ValueError: fewer than two weights, NaN, or none above zero.
        """
        w = torch.as_tensor(log_w, dtype=torch.float64).detach().flatten()
        return cls(float(elbo(w)), float(log_z(w)), float(log_z_error(w)), float(ess(w)), len(w))

    def sentence(
        self,
        exact: float | None = None,
        symbol: str = "log Z",
        exact_is: str | None = None,
        whole: bool = False,
    ) -> str:
        """Return the numbers in a sentence, with the exact value if it is known.

        Arguments:
            exact: the exact value, if known.
            symbol: what is estimated.
            exact_is: what the exact value is, if not of `symbol`.
            whole: the weights are all there are, not a sample: then the log of their mean is exact.
        """
        if whole:
            return f"ELBO = {self.elbo:.3f}; {symbol} = {self.log_z:.3f}; over all {self.n}"
        name = exact_is or f"exact {symbol}"
        truth = "" if exact is None else f"; {name} = {exact:.3f}"
        return (
            f"ELBO = {self.elbo:.3f}; importance-sampled {symbol} = {self.log_z:.3f} "
            f"± {self.error:.3f}{truth}; effective sample size {self.ess:.0f} of {self.n}"
        )


def log_weight_panel(
    log_w: object | Mapping[str, object],
    exact: float | None = None,
    *,
    title: str = "Log-weights",
    symbol: str = "log Z",
    span: float = 15.0,
    exact_is: str | None = None,
    whole: bool = False,
) -> Chart:
    """Draw the log-weight panel: one histogram of log w for each named sample.

    Each histogram carries the ELBO (dashed), the importance-sampled log Z with a band of two
    standard errors (solid), the exact value if known (black), and the effective sample size.

    Arguments:
        log_w: (B,) log-weights, or name -> (B,) for several panels on one axis.
        exact: the exact value, if known.
        title: one short line.
        symbol: what is estimated: "log Z", or "log p(x)" for evidences.
        span: nats shown on either side of the exact value (of the median estimate, if there is
            none). What lies beyond piles up in the outermost bars, and a line out there is not
            drawn: its number stands under the panel.
        exact_is: what the exact value is, if it is not that of `symbol`, such as the density of
            the data beside an estimate of the model's.
        whole: the weights are all there are, each equally likely, not a sample: the log of their
            mean is then exact and has neither band nor error.

    Raises:
        ValueError: a sample has fewer than two weights, a NaN, or no finite weight.
    """
    samples = dict(log_w) if isinstance(log_w, Mapping) else {"": log_w}
    if not samples:
        raise ValueError("log_w must hold at least one sample; got an empty mapping; add one")
    summaries = {name: LogWeights.of(value) for name, value in samples.items()}
    # Weights of zero (log w = -inf) count in the numbers and pile up in the first bar.
    arrays = [
        torch.as_tensor(value, dtype=torch.float64).detach().flatten().numpy()
        for value in samples.values()
    ]
    finite = np.concatenate([value[np.isfinite(value)] for value in arrays])
    marks = [s.log_z for s in summaries.values()] + ([] if exact is None else [exact])
    low, high = (float(v) for v in np.quantile(finite, [0.002, 0.998]))
    centre = float(np.median(marks)) if exact is None else exact
    low = max(min(low, *marks) - 0.3, centre - span)
    high = min(max(high, *marks) + 0.3, centre + span)
    edges = np.linspace(low, high, _BINS + 1)
    alone = len(arrays) == 1
    figure = make_subplots(
        rows=1,
        cols=len(arrays),
        horizontal_spacing=0.07,  # each has its own height: a narrow one would flatten the rest
        subplot_titles=[name or " " for name in samples],
    )
    named = set()
    for column, (values, summary) in enumerate(zip(arrays, summaries.values(), strict=True), 1):
        counts, _ = np.histogram(np.clip(values, low, high), edges)
        density = counts / (len(values) * np.diff(edges))
        # The outermost bars also hold what lies beyond the axis: they do not set the scale.
        top = 1.12 * float(density[1:-1].max())
        _bars_and_band(figure, column, edges, density, summary, top, not whole)
        found = f"{symbol}, log of the mean" if whole else f"{symbol}, importance-sampled"
        lines = [(found, summary.log_z, {"color": PUSH, "width": 3.5})]
        if exact is not None:
            label = exact_is or f"{symbol}, exact"
            lines.append((label, exact, {"color": INK, "dash": "dot", "width": 3}))
        # Last, and so on top: its dashes show even where the ELBO is as good as log Z.
        lines.append(("ELBO", summary.elbo, {"color": "#B48BE0", "dash": "dash", "width": 2}))
        for label, at, line in lines:
            if low <= at <= high:
                figure.add_scatter(
                    x=[at, at],
                    y=[0, top],
                    mode="lines",
                    line=line,
                    name=label,
                    legendgroup=label,
                    showlegend=label not in named,
                    row=1,
                    col=column,
                )
                named.add(label)
        said = [f"ELBO {summary.elbo:.3f}", f"{symbol} ≈ {summary.log_z:.3f} ± {summary.error:.3f}"]
        said += [] if exact is None else [f"{exact_is or 'exact'} {exact:.3f}"]
        said += [f"ESS {summary.ess:.0f} of {summary.n}"]
        if whole:
            said = [f"ELBO {summary.elbo:.3f}", f"{symbol} {summary.log_z:.3f}"]
        axis = "" if column == 1 else str(column)
        figure.add_annotation(
            text=(" · " if alone else "<br>").join(said).replace("-", "−"),
            xref=f"x{axis} domain",
            yref=f"y{axis} domain",
            x=0.0,
            y=-0.24,
            xanchor="left",
            yanchor="top",
            align="left",
            showarrow=False,
            font={"size": 14, "color": NEUTRAL},
        )
    figure.update_layout(
        title=title,
        bargap=0.0,
        margin={"t": 112, "b": 92 if alone else 144},
        legend={
            "orientation": "h",
            "x": 0.0,
            "y": 1.12,
            "yanchor": "bottom",
            "traceorder": "normal",
        },
    )
    figure.update_xaxes(title_text="log w", range=[low, high])
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title_text="density", col=1)
    told = [
        f"{name}: " * bool(name) + s.sentence(exact, symbol, exact_is, whole)
        for name, s in summaries.items()
    ]
    return Chart(figure, f"{title}. Histogram of log w. {'. '.join(told)}.", height=470)


def _bars_and_band(
    figure: go.Figure,
    column: int,
    edges: np.ndarray,
    density: np.ndarray,
    summary: LogWeights,
    top: float,
    band: bool,
) -> None:
    """Draw one histogram, and, if asked for, the band of two standard errors around its log Z."""
    figure.add_bar(
        x=short((edges[:-1] + edges[1:]) / 2),
        y=short(density),
        width=float(edges[1] - edges[0]),
        marker={"color": "#C4CAD0", "line": {"width": 0}},
        name="log w of one path",
        showlegend=False,
        row=1,
        col=column,
    )
    if not band:
        return
    left, right = summary.log_z - 2 * summary.error, summary.log_z + 2 * summary.error
    figure.add_scatter(
        x=[left, left, right, right],
        y=[0, top, top, 0],
        fill="toself",
        mode="none",
        fillcolor="rgba(0,114,178,0.18)",
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=column,
    )
