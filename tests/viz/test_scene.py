"""Scenes: what travels to the browser, and what is refused."""

import json

import numpy as np
import pytest
import torch

from gentoolkit.viz import Scene
from tests.viz.kinds import ALT, every_kind
from tests.viz.refused import refused


def read(scene, name):
    """Decode an array by hand from spec and bytes, as another program would."""
    entry = scene.spec["arrays"][name]
    size = {"uint8": 1, "uint16": 2, "float32": 4}[entry["dtype"]]
    code = {"uint8": "<u1", "uint16": "<u2", "float32": "<f4"}[entry["dtype"]]
    count = int(np.prod(entry["shape"]))
    part = scene.buffer[entry["offset"] : entry["offset"] + count * size]
    return np.frombuffer(part, code).reshape(entry["shape"]), entry


def test_positions_survive_quantisation_within_half_a_step():
    """Bug: swapped axes, a wrong window, or truncation instead of rounding."""
    xy = np.random.default_rng(0).uniform([-2, 10], [3, 50], size=(4, 300, 2))
    scene = Scene(4, alt=ALT)
    scene.panel((-2, 3), (10, 50), equal=False).points(xy)
    raw, entry = read(scene, scene.spec["panels"][0]["layers"][0]["xy"])
    assert raw.dtype == np.dtype("<u2")
    lo, hi = np.array(entry["lo"]), np.array(entry["hi"])
    error = np.abs(lo + raw / 65535 * (hi - lo) - xy).max(axis=(0, 1))
    step = 3 * np.array([5.0, 40.0]) / 65535
    assert (error <= 0.5 * step * 1.001).all()
    assert (error >= 0.4 * step).all()  # the bound is reached, so it is no accident


@pytest.mark.parametrize("far", [0.0, 1e6, -1e9])
@pytest.mark.parametrize(("reach", "dtype"), [(1.0, "<u2"), (20.0, "<u2"), (1e5, "<f4")])
def test_places_keep_their_slope_and_their_precision_wherever_they_lie(far, reach, dtype):
    """Bug: far ends clipped coordinate by coordinate, or rounded where the panel is far from 0."""
    scene = Scene(1, alt=ALT)
    line = np.array([[[0.25, 0.75], [0.25 + reach, 0.75 - 0.1 * reach]]]) + far
    scene.panel((far, far + 1), (far, far + 1)).lines(line)
    name = scene.spec["panels"][0]["layers"][0]["xy"]
    raw, entry = read(scene, name)
    assert raw.dtype == np.dtype(dtype)
    assert (entry["x"], entry["y"]) == ([far, far + 1], [far, far + 1])
    lo, hi = np.array(entry["lo"]), np.array(entry["hi"])
    shares = (lo - far) + raw * ((hi - lo) / (65535 if dtype == "<u2" else 1))  # as in arrays.js
    assert np.abs(shares[0, 0] - [0.25, 0.75]).max() < 1 / 4000
    run = shares[0, 1] - shares[0, 0]
    assert run[1] / run[0] == pytest.approx(-0.1, abs=1e-3 / reach + 1e-6)


def test_numbers_of_an_axis_far_from_zero_stay_apart():
    """Bug: an account near 1e8 whose steps of 0.1 are all one float32."""
    scene = Scene(3, alt=ALT)
    scene.panel((0, 2), (1e8, 1e8 + 1)).accounts([0, 1, 2], 1e8 + np.array([[0.1], [0.2], [0.4]]))
    layer = scene.spec["panels"][0]["layers"][-1]
    raw, entry = read(scene, layer["y"])
    np.testing.assert_allclose(
        entry["origin"] + raw.astype(float), [[1e8 + 0.1, 1e8 + 0.2, 1e8 + 0.4]], rtol=1e-15
    )
    assert "origin" not in scene.spec["arrays"][layer["x"]]


def test_heat_values_survive_quantisation_within_half_a_step():
    """Bug: limits applied the wrong way round, or a flipped grid."""
    values = np.random.default_rng(1).normal(size=(3, 5, 7))
    scene = Scene(3, alt=ALT)
    scene.panel((0, 1), (0, 1)).heat(values, limits=(-2, 2))
    raw, _ = read(scene, scene.spec["panels"][0]["layers"][0]["values"])
    assert raw.shape == (3, 5, 7)
    assert np.abs(-2 + raw / 255 * 4 - np.clip(values, -2, 2)).max() <= 0.5 * 4 / 255 * 1.001


def test_arrays_are_aligned_and_do_not_overlap():
    """Bug: an offset that a typed array cannot start at, or one array over another."""
    scene = every_kind()
    spans = []
    for name in scene.spec["arrays"]:
        raw, entry = read(scene, name)
        assert entry["offset"] % 4 == 0
        spans.append((entry["offset"], entry["offset"] + raw.nbytes))
    spans.sort()
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert spans[-1][1] == len(scene.buffer)


def test_every_layer_refers_to_stored_arrays_and_the_spec_is_json():
    """Bug: a numpy number or a dangling array name in the spec."""
    scene = every_kind()
    spec = json.loads(json.dumps(scene.spec))
    kinds = {layer["kind"] for panel in spec["panels"] for layer in panel["layers"]}
    assert kinds == {
        "heat", "points", "lines", "trails", "arrows", "graph", "text", "bars", "curve", "images",
        "ribbons",
    }  # fmt: skip
    for panel in spec["panels"]:
        for layer in panel["layers"]:
            for key in {"xy", "values", "heads", "widths", "heights", "colormap"} & set(layer):
                assert layer[key] in spec["arrays"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda s, p: Scene(0, alt=ALT), "frames"),
        (lambda s, p: Scene(3, alt="too short"), "alt must"),
        (lambda s, p: Scene(3, alt=ALT, fps=0), "fps"),
        (lambda s, p: Scene(3, alt=ALT, times=[0, 1]), "times"),
        (lambda s, p: Scene(3, alt=ALT, notes=["one"]), "notes"),
        (lambda s, p: s.panel((1, 1), (0, 1)), "x must be an interval"),
        (lambda s, p: s.panel((0, 1), (2, 1)), "y must be an interval"),
        (lambda s, p: s.panel((0, np.nan), (0, 1)), "must be finite"),
        (lambda s, p: s.panel((0, 1), (0, 1), weight=0), "weight"),
        (lambda s, p: p.points(np.zeros((0, 2))), "empty"),
        (lambda s, p: p.points([[0.0, np.nan]]), "must be finite"),
        (lambda s, p: p.points(np.zeros((4, 3))), "N, 2"),
        (lambda s, p: p.points(np.zeros(4)), "N, 2"),
        (lambda s, p: p.points(np.zeros((2, 4, 2))), "3, N, 2"),
        (lambda s, p: p.points(np.zeros((4, 2)), size=-1), "size"),
        (lambda s, p: p.points(np.zeros((4, 2)), alpha=1.5), "alpha"),
        (lambda s, p: p.points(np.zeros((4, 2)), color="blue"), "colour"),
        (lambda s, p: p.points(np.zeros((4, 2)), values=[1, 2]), "one per point"),
        (lambda s, p: p.heat(np.zeros((2, 5, 5))), "3, H, W"),
        (lambda s, p: p.heat(np.zeros((5, 5)), limits=(1, 0)), "limits"),
        (lambda s, p: p.heat(np.zeros((5, 5)), colormap="jet"), "colour map"),
        (lambda s, p: p.trails(np.zeros((4, 2))), "3, N, 2"),
        (lambda s, p: p.arrows(np.zeros((4, 2)), np.zeros((3, 2))), "one per arrow"),
        (lambda s, p: p.graph(np.zeros((2, 2)), [[0, 2]]), "nodes"),
        (lambda s, p: p.graph(np.zeros((2, 2)), [[0, 1]], widths=[-1.0]), "widths"),
        (lambda s, p: p.bars([1.0, 2.0], positions=[0.0]), "position"),
        (lambda s, p: p.curve([0, 1], [0, 1]), "curve"),
        (lambda s, p: p.text(0, 0, ["a", "b"]), "words"),
        (lambda s, p: p.text(0, 0, "small", size=9), "style"),
        (lambda s, p: s.image_panel(np.zeros((4, 8, 8)), columns=0), "columns"),
        (lambda s, p: Scene(3, alt=ALT, poster_frame=3), "frame"),
        (lambda s, p: Scene(3, alt=ALT).to_html(), "panel"),
    ],
)
def test_bad_input_is_refused_in_three_parts(build, words):
    """Bug: bad input that is drawn as nonsense, or a message that does not help."""
    scene = Scene(3, alt=ALT)
    panel = scene.panel((0, 1), (0, 1))
    refused(lambda: build(scene, panel), words)


def test_a_tensor_with_a_gradient_is_accepted():
    """Bug: numpy() of a tensor that requires a gradient raises."""
    scene = Scene(1, alt=ALT)
    scene.panel((0, 1), (0, 1)).points(torch.full((3, 2), 0.5, requires_grad=True))
    raw, _ = read(scene, "a0")
    assert (raw == 32768).all()
