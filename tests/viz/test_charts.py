"""Charts: numbers in the figure, a sentence beside it."""

import json

import numpy as np
import pytest
import torch

from gentoolkit.viz.charts import Chart, curves, log_axis, plane
from gentoolkit.viz.log_weights import LogWeights, log_weight_panel
from tests.viz.refused import refused


def _json(chart):
    return chart.bundle()["application/vnd.plotly.v1+json"]


def test_the_summary_is_the_four_numbers():
    """Catches a panel that shows the mean of w for its log, or the error of the ELBO."""
    w = torch.tensor([1.0, 2.0, 5.0])
    summary = LogWeights.of(w.log())
    assert summary.elbo == pytest.approx(np.log(10) / 3)
    assert summary.log_z == pytest.approx(np.log(8 / 3))
    assert summary.error == pytest.approx(w.std().item() / (w.mean().item() * 3**0.5))
    assert summary.ess == pytest.approx(64 / 30) and summary.n == 3


def test_the_panel_draws_its_lines_at_the_numbers():
    """Catches lines drawn at other places than the numbers under them."""
    torch.manual_seed(0)
    log_w = 0.5 * torch.randn(500) - 1.0
    chart = log_weight_panel(log_w, exact=-0.875)
    drawn = {t["name"]: t["x"][0] for t in _json(chart)["data"] if t.get("mode") == "lines"}
    summary = LogWeights.of(log_w)
    assert drawn["ELBO"] == pytest.approx(summary.elbo)
    assert drawn["log Z, importance-sampled"] == pytest.approx(summary.log_z)
    assert drawn["log Z, exact"] == -0.875
    assert f"{summary.log_z:.3f}" in chart.alt and "exact log Z = -0.875" in chart.alt
    bars = next(t for t in _json(chart)["data"] if t["type"] == "bar")
    area = sum(bars["y"]) * bars["width"]
    assert area == pytest.approx(1.0, abs=1e-4)


def test_a_whole_list_of_weights_has_no_error():
    """Catches an exact sum that is called an estimate, or drawn with a band."""
    log_w = torch.tensor([0.0, 1.0, 2.0])
    chart = log_weight_panel(log_w, symbol="log p(x)", whole=True)
    exact = float(log_w.logsumexp(0)) - np.log(3)
    drawn = {t["name"]: t["x"][0] for t in _json(chart)["data"] if t.get("mode") == "lines"}
    assert drawn["log p(x), log of the mean"] == pytest.approx(exact)
    assert all(t.get("fill") != "toself" for t in _json(chart)["data"])
    assert "sampled" not in chart.alt and "±" not in chart.alt and f"{exact:.3f}" in chart.alt


def test_an_exact_value_of_something_else_is_named():
    """Catches the data's density labelled as the model's exact one."""
    chart = log_weight_panel(torch.randn(50), exact=0.5, exact_is="log p0(x) of the data")
    names = {t.get("name") for t in _json(chart)["data"]}
    assert "log p0(x) of the data" in names and "log Z, exact" not in names
    assert "log p0(x) of the data = 0.500" in chart.alt and "exact" not in chart.alt


def test_several_panels_share_one_axis():
    """Catches panels whose bins differ, so that spreads cannot be compared by eye."""
    chart = log_weight_panel({"a": torch.randn(50), "b": 3 * torch.randn(50)})
    bars = [t for t in _json(chart)["data"] if t["type"] == "bar"]
    assert len(bars) == 2 and bars[0]["x"] == bars[1]["x"]


def test_zero_weights_count():
    """Catches log w = -inf dropped from the mean of w."""
    log_w = torch.tensor([0.0, -torch.inf, 0.0, -torch.inf])
    assert LogWeights.of(log_w).log_z == pytest.approx(np.log(0.5))
    log_weight_panel(log_w)


@pytest.mark.parametrize("log_y", [False, True])
def test_a_reference_is_a_line_that_the_legend_names(log_y):
    """Catches a reference at another height, or a label of it that covers the curves."""
    options = {"references": {"floor": 5}, "log_y": log_y}
    chart = curves({"loss": [100.0, 10.0]}, alt="A loss that falls to ten.", **options)
    figure = _json(chart)
    assert [t["name"] for t in figure["data"]] == ["loss", "floor"]
    assert figure["data"][1]["y"] == [5, 5] and figure["data"][1]["x"] == [1, 2]
    assert figure["layout"]["showlegend"] and "annotations" not in figure["layout"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.001, 2.0], ["10<sup>−3</sup>", "10<sup>−2</sup>", "10<sup>−1</sup>", "10<sup>0</sup>"]),
        ([0.3, 0.9], ["0.5"]),
        ([20, 160], ["20", "50", "100"]),
        ([1e-12, 1.0], [f"10<sup>{k}</sup>".replace("-", "−") for k in range(-12, 1, 2)]),
    ],
)
def test_logarithmic_axes_have_readable_ticks(values, labels):
    """Catches bare digits 9 8 7 beside a lone 0.1, and labels that lie on each other."""
    axis = log_axis(values)
    assert axis["ticktext"] == labels
    low, high = axis["range"]
    assert 10**low < min(values) and max(values) < 10**high
    assert all(low <= np.log10(v) <= high for v in axis["tickvals"])


def test_whiskers_say_what_they_are():
    """Catches whiskers on the wrong curve, or without their meaning."""
    chart = curves(
        {"a": [1.0, 2.0], "b": [3.0, 4.0]}, errors={"b": [0.1, 0.2]},
        errors_are="one deviation of 3 seeds", alt="two lines that rise, one with whiskers",
    )  # fmt: skip
    figure = _json(chart)
    assert "error_y" not in figure["data"][0]
    assert figure["data"][1]["error_y"]["array"] == [0.1, 0.2]
    assert figure["layout"]["annotations"][0]["text"] == "whiskers: one deviation of 3 seeds"
    lengths = np.array([[0.3, 0.1], [0.2, 0.4]])  # below, then above
    whisker = _json(curves({"a": [1.0, 2.0]}, errors={"a": lengths}, alt="a line with whiskers"))
    told = whisker["data"][0]["error_y"]
    assert (told["arrayminus"], told["array"]) == ([0.3, 0.1], [0.2, 0.4])
    assert told["symmetric"] is False
    with pytest.raises(ValueError, match="shape"):
        curves({"a": [1.0, 2.0]}, errors={"a": np.ones((3, 2))}, alt="a line with whiskers")
    with pytest.raises(ValueError, match="got \\['c'\\]; name curves"):
        curves({"a": [1.0]}, errors={"c": [1.0]}, alt="a line that does not exist here")


def test_a_reference_without_a_logarithm_is_refused():
    """Catches a label at NaN."""
    with pytest.raises(ValueError, match="got 0 on the y axis; leave it out"):
        curves({"a": [1.0]}, alt="A loss that stays at one.", references={"floor": 0}, log_y=True)


def test_curves_hold_their_values_and_references():
    """Catches x and y swapped, and a reference line at another height."""
    chart = curves(
        {"a": [3.0, 1.0]}, x=[10, 20], references={"exact": 0.5}, alt="a falls from three to one"
    )
    figure = _json(chart)
    assert figure["data"][0]["x"] == [10, 20] and figure["data"][0]["y"] == [3, 1]
    assert figure["data"][1]["name"] == "exact" and figure["data"][1]["y"] == [0.5, 0.5]
    assert chart.bundle()["text/plain"] == "a falls from three to one"
    json.dumps(chart.bundle())


def test_the_plane_is_the_right_way_up():
    """Catches rows and columns swapped: the peak is at the right and at the bottom."""
    grid = np.zeros((3, 5))
    grid[0, 4] = 5.0
    heat = _json(plane(grid, (0, 4, 0, 2), alt="a peak at the lower right corner"))["data"][0]
    assert heat["z"][0][4] == 1.0 and heat["dx"] == 1.0 and heat["dy"] == 1.0


def test_a_plane_tells_twenty_groups_apart():
    """Catches colours that run out: the sixth group was an IndexError."""
    groups = {str(k): [[k, k]] for k in range(20)}
    drawn = _json(plane(np.zeros((2, 2)), (0, 1, 0, 1), points=groups, alt="twenty groups of one"))
    looks = [(t["marker"]["color"], t["marker"]["symbol"]) for t in drawn["data"][1:]]
    assert len(set(looks)) == 20 and [t["x"] for t in drawn["data"][1:]] == [[k] for k in range(20)]
    many = {f"line {k}": [[0, 0], [k, 1]] for k in range(7)}
    assert len(_json(plane(np.zeros((2, 2)), (0, 1, 0, 1), paths=many, alt="seven lines"
                           " that start at one point"))["data"]) == 8  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1)])
def test_a_grid_of_one_row_or_column_fills_its_extent(shape):
    """Catches a step divided by the number of gaps, which is zero."""
    heat = _json(plane(np.zeros(shape), (0, 6, -1, 2), alt="a band as wide as the picture"))
    heat = heat["data"][0]
    for count, low, high, start, step in (
        (shape[1], 0, 6, heat["x0"], heat["dx"]),
        (shape[0], -1, 2, heat["y0"], heat["dy"]),
    ):
        if count == 1:
            assert (start - step / 2, start + step / 2) == (low, high)
        else:
            assert (start, start + (count - 1) * step) == (low, high)


@pytest.mark.parametrize("mode", ["live", "poster"])
def test_display_gives_the_figure_and_the_sentence(mode, monkeypatch):
    """Catches a chart without a description for those who do not see it."""
    shown = []
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", mode)
    monkeypatch.setattr(
        "gentoolkit.viz.charts.display", lambda bundle, raw: shown.append((bundle, raw))
    )
    chart = curves({"a": [1.0, 2.0]}, alt="a rises <from> one to two")
    chart._ipython_display_()
    assert shown[0][0]["text/plain"] == chart.alt
    assert len(shown) == (2 if mode == "live" else 1)
    if mode == "live":
        assert "a rises &lt;from&gt; one to two" in shown[1][0]["text/html"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: curves({}, alt="nothing to see here at all"), "at least one curve"),
        (lambda: curves({"a": []}, alt="an empty curve is drawn"), "empty"),
        (lambda: curves({"a": [1.0]}, x=[1, 2], alt="lengths that do not meet"), "one x for each"),
        (lambda: curves({"a": [1.0, float("nan")]}, alt="a curve with a hole in it"), "finite"),
        (lambda: curves({"a": [1.0]}, alt="short"), "20 characters"),
        (lambda: log_weight_panel({}), "at least one sample"),
        (lambda: log_weight_panel(torch.zeros(1)), "two weights"),
        (lambda: log_weight_panel(torch.tensor([0.0, torch.nan])), "NaN"),
        (lambda: plane(np.zeros(3), (0, 1, 0, 1), alt="a line is not a plane"), "must have shape"),
    ],
)
def test_bad_pictures_are_refused(call, words):
    """Catches a chart of nothing, of NaN, or without a description."""
    refused(call, words)


def test_a_chart_is_a_chart():
    """Catches a helper that returns a bare figure, which would be shown without its sentence."""
    assert isinstance(log_weight_panel(torch.randn(5)), Chart)
