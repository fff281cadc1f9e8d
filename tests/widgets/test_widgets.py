"""The widgets without a browser: what they send, and what a cell shows in each mode."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from gentoolkit.viz import Scene
from gentoolkit.viz.page import SCENE, module
from gentoolkit.widgets import LatentExplorer, Player, play
from tests.widgets.wire import Wire

ALT = "Points move from the left to the right of a square."


def scene(frames=3, seed=0):
    made = Scene(frames, alt=ALT)
    points = np.random.default_rng(seed).random((frames, 5, 2))
    made.panel((0, 1), (0, 1)).points(points)
    return made


def decode(z):
    """Pixels that are linear in z, so that interpolation must be exact."""
    ramp = torch.linspace(0, 1, 12, dtype=z.dtype)
    return 0.5 + 0.1 * z[:, :1] * ramp + 0.05 * z[:, 1:]


def explorer(**options):
    return LatentExplorer(decode, (-2, 2), image_shape=(3, 4), grid=5, **options)


WIDGETS = {"Player": lambda: Player(scene()), "LatentExplorer": explorer}


@pytest.mark.parametrize("name", WIDGETS)
def test_a_cell_shows_one_picture_in_each_mode(name, monkeypatch):
    """Bug: two outputs in one bundle, which leaves 'model not found' in a reopened notebook."""
    keys = {
        "live": {"application/vnd.jupyter.widget-view+json", "text/plain"},
        "static": {"text/html", "text/plain"},
        "poster": {"text/plain"},
    }
    for mode, expected in keys.items():
        monkeypatch.setenv("GENTOOLKIT_OUTPUT", mode)
        widget = WIDGETS[name]()
        data, metadata = widget._repr_mimebundle_()
        assert set(data) == expected
        if mode == "live":
            assert data["text/plain"] == f"<{name}>"  # the same in every run
            view = data["application/vnd.jupyter.widget-view+json"]
            assert view["model_id"] == widget.model_id
        if mode == "static":
            assert "mountStatic" in data["text/html"]
        if mode == "poster":
            assert len(data["text/plain"]) >= 20 and set(metadata) == {SCENE}


def test_a_scene_alone_shows_itself(monkeypatch):
    """Bug: a scene as last value of a cell that prints an address in memory."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "live")
    assert set(scene()._repr_mimebundle_()[0]) == {"text/html", "text/plain"}
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    assert set(scene()._repr_mimebundle_()[0]) == {"text/plain"}


def test_show_sends_one_message_with_everything():
    """Bug: spec and numbers in two messages, so that the browser draws one with the other."""
    player = play(scene(frames=5))
    player.frame = 4
    wire = Wire()
    player.comm = wire
    wire.sent.clear()
    other = scene(frames=3, seed=1)
    player.show(other)
    assert len(wire.sent) == 1
    data, buffers = wire.sent[0]
    assert data["state"]["spec"]["frames"] == 3
    assert data["state"]["frame"] == 2  # the scene has no frame 4
    assert [bytes(b) for b in buffers] == [other.buffer]
    assert player.scene is other


def test_an_empty_scene_is_refused():
    """Bug: an empty box in the notebook."""
    with pytest.raises(ValueError, match="empty"):
        Player(Scene(1, alt=ALT))


def stored(widget):
    options = widget.spec["explorer"]
    size = options["grid"], options["grid"], *options["image"]
    return np.frombuffer(widget.buf[options["offset"] :], np.uint8).reshape(size)


def test_the_stored_decodes_lie_where_the_plane_says():
    """Bug: rows and columns of the grid swapped, or the plane upside down."""
    grid = stored(explorer())
    axis = np.linspace(-2, 2, 5)
    for row, z2 in enumerate(axis):
        for column, z1 in enumerate(axis):
            expected = 255 * (0.5 + 0.1 * z1 * np.linspace(0, 1, 12) + 0.05 * z2)
            assert np.abs(grid[row, column].ravel() - expected).max() <= 0.51


def test_moving_the_handle_is_answered_with_the_exact_decode_of_that_place():
    """Bug: an answer without its place, which would be shown at another one."""
    widget = explorer()
    widget.z = [0.3, -1.1]
    place = np.frombuffer(widget.image[:8], "<f4")
    np.testing.assert_allclose(place, [0.3, -1.1], atol=1e-6)
    expected = 255 * (0.5 + 0.1 * 0.3 * np.linspace(0, 1, 12) + 0.05 * -1.1)
    assert np.abs(np.frombuffer(widget.image[8:], np.uint8) - expected).max() <= 0.51


def test_the_decoder_runs_without_gradients_on_float32():
    """Bug: a graph kept for every move of the handle."""
    seen = []

    def spy(z):
        seen.append((z.dtype, torch.is_grad_enabled()))
        return decode(z)

    LatentExplorer(spy, image_shape=(3, 4), grid=3)
    assert set(seen) == {(torch.float32, False)}


def test_the_explorer_keeps_labels_exactly():
    """Bug: labels stretched over the colour map, so that classes change their names."""
    labels = [0, 7, 3, 9]
    widget = explorer(points=np.zeros((4, 2)), labels=labels)
    options = widget.spec["explorer"]
    entry = widget.spec["arrays"][options["labels"]]
    raw = np.frombuffer(widget.buf[entry["offset"] : entry["offset"] + 4], np.uint8)
    assert raw.tolist() == labels
    assert [options["names"][k] for k in raw] == ["0", "7", "3", "9"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grid": 1}, "grid"),
        ({"image_shape": (3, 5)}, "image_shape"),
        ({"extent": (2, -2)}, "extent"),
        ({"points": [[0.0, 0.0]], "labels": [0, 1]}, "labels"),
        ({"points": [[0.0, 0.0]], "labels": [0.5]}, "labels"),
        ({"points": [[0.0, 0.0]], "labels": [1], "names": ["zero"]}, "names"),
        ({"decode": lambda z: 2 + decode(z)}, r"\[0, 1\]"),
        ({"decode": lambda z: decode(z) * torch.nan}, "must be finite"),
        ({"alt": "short"}, "alt must"),
    ],
)
def test_a_bad_explorer_is_refused_in_three_parts(options, words):
    """Bug: a wrong decoder that shows a grey square."""
    given = {"decode": decode, "image_shape": (3, 4), "grid": 3} | options
    with pytest.raises(ValueError, match=words) as caught:
        LatentExplorer(**given)
    message = str(caught.value)
    assert "got" in message and max(message.count("; "), message.count(". ")) >= 1


def test_the_bundle_is_one_module_that_needs_no_other():
    """Bug: an import that neither a blob nor a data: address can resolve, a missing entry."""
    source = module()
    assert not re.search(r"\bimport\b", source)
    exported = re.search(r"export\{([^}]*)\}", source)
    assert exported is not None
    assert {"default", "mountStatic"} <= set(re.findall(r"as (\w+)", exported[1]))


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_names_the_view_that_draws_it(name):
    """Bug: an explorer drawn as a player: all widgets share one module."""
    widget = WIDGETS[name]()
    assert widget.view == {"Player": "player", "LatentExplorer": "explorer"}[name]
    assert "view" in widget.keys  # it travels to the browser


def test_pictures_need_neither_widgets_nor_plotly():
    """Bug: a heavy import that slows every script that only builds scenes."""
    code = (
        "import sys, gentoolkit.viz as v; s = v.Scene(1, alt='one point in the middle of a square')"
        "; s.panel((0, 1), (0, 1)).points([[0.5, 0.5]]); s.to_html()"
        "; print(sorted({'ipywidgets', 'anywidget', 'plotly', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
