"""Paths against time: the axis runs as they do, and the shading is the law at that time."""

import json

import numpy as np
import pytest
import torch

from gentoolkit.viz.colors import PULL
from gentoolkit.viz.space_time import Paths, space_time

ALT = "Two paths fall from noise to data over a bell that gets narrow."


def _bell(x, t):
    return -0.5 * x[:, 0].square() / (0.1 + t) ** 2


def _drawn(*panels):
    chart = space_time(panels, alt=ALT)
    return json.loads(json.dumps(chart.bundle()["application/vnd.plotly.v1+json"]))


def test_the_axis_runs_as_the_paths_run():
    """Catches an axis that turns the paths round, so that noise stands where data are named."""
    figure = _drawn(Paths("falling", [1.0, 0.4, 0.0], [[0.0, 1], [1, 1], [2, 1]]))
    assert figure["layout"]["xaxis"]["range"] == [1.0, 0.0]
    assert [line["x"] for line in figure["data"]] == [[1.0, 0.4, 0.0]] * 2
    assert figure["data"][-1]["y"] == [0.0, 1.0, 2.0]  # the first path lies on top


def test_the_shading_is_the_law_at_each_time():
    """Catches rows and columns exchanged, and a density relative to all times."""
    figure = _drawn(Paths("a", [1.0, 0.0], torch.zeros(2, 1, 1), _bell, extent=(-2, 2)))
    heat = figure["data"][0]
    z, t, x = (np.array(heat[key]) for key in "zxy")
    assert heat["type"] == "heatmap" and np.allclose(z.max(0), 1, atol=0.1)
    want = np.exp(-0.5 * (x[:, None] / (0.1 + t)) ** 2)
    assert np.allclose(z, want / want.max(0), atol=2e-3)


def test_the_pull_is_dashed():
    """Catches one look for both directions."""
    line = _drawn(Paths("a", [0.0, 1.0], np.zeros((2, 9)), pull=True))["data"][0]["line"]
    assert line["dash"] == "dash" and line["color"] == PULL


@pytest.mark.parametrize(
    ("at", "states", "said"),
    [
        ([0.0, 1.0, 0.5], np.zeros((3, 1)), "rise or fall all the way"),
        ([0.0, 1.0], np.zeros((3, 1)), "one row per time"),
        ([0.0, 1.0], np.zeros((2, 1, 2)), "one row per time"),
    ],
)
def test_what_does_not_fit_is_refused(at, states, said):
    """Catches paths in the plane, and times of another run."""
    with pytest.raises(ValueError, match=said):
        Paths("a", at, states)


def test_there_must_be_a_panel():
    """Catches an empty picture."""
    with pytest.raises(ValueError, match="got none"):
        space_time([], alt=ALT)
