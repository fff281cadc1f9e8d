"""A scene that holds one layer of each kind."""

import numpy as np
import torch

from gentoolkit.viz import Scene

ALT = "Points move from the left to the right of a square."


def every_kind(frames=5):
    """A scene with each kind of layer, still and moving."""
    rng = np.random.default_rng(2)
    scene = Scene(frames, alt=ALT, times=np.linspace(0, 1, frames), notes=["a note"] * frames)
    panel = scene.panel((-1, 1), (-1, 1), title="all", x_label="x", y_label="y")
    panel.heat(rng.random((9, 9)), colormap="cividis").heat(rng.random((frames, 9, 9)), alpha=0.4)
    panel.points(rng.normal(size=(11, 2)), values=np.arange(11) % 3, colormap="classes")
    panel.points(torch.from_numpy(rng.normal(size=(frames, 7, 2))), values=rng.random((frames, 7)))
    panel.lines(rng.normal(size=(3, 6, 2)), dash=True).lines(rng.normal(size=(frames, 3, 6, 2)))
    panel.trails(rng.normal(size=(frames, 3, 2)), length=2)
    panel.arrows(rng.normal(size=(4, 2)), rng.normal(size=(frames, 4, 2)))
    panel.graph([[0, 0], [0.5, 0.5]], [[0, 1]], widths=rng.random((frames, 1)), values=[0, 1])
    panel.ribbons(rng.normal(size=(2, 3, 2)), 5 * rng.random((frames, 2)), dash=True)
    panel.ribbons(rng.normal(size=(frames, 2, 3, 2)), [2.0, 0.0], beside=False)
    panel.text(0, 0.5, [f"frame {i}" for i in range(frames)]).text(0, -0.5, "still")
    other = scene.panel((-1, frames), (-1, 1), equal=False)
    other.bars(rng.normal(size=(frames, 3))).bars([0.5, -0.5], positions=[0, 2])
    other.curve(np.arange(frames), rng.normal(size=frames))
    scene.image_panel(rng.random((frames, 5, 8, 8)), columns=3, title="images")
    return scene


def unpack(table: dict[str, dict], buffer: bytes, name: str) -> np.ndarray:
    """Read an array back as the browser reads it.

    Arguments:
        table: the ``arrays`` entry of a scene's spec.
        buffer: the scene's buffer.
        name: the array's name in the table.

    Returns:
        Positions in data units, uint8 and other numbers as stored.
    """
    entry = table[name]
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    count = int(np.prod(entry["shape"]))
    array = np.frombuffer(buffer, dtype, count, entry["offset"]).reshape(entry["shape"])
    if "x" in entry:
        lo, hi = np.array(entry["lo"]), np.array(entry["hi"])
        return lo + array.astype(float) * ((hi - lo) / (65535 if entry["dtype"] == "uint16" else 1))
    return array.astype(float) + entry["origin"] if "origin" in entry else array
