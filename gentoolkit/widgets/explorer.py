"""The latent explorer: move a handle in a plane and see the image that is decoded there."""

from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets

from gentoolkit.viz import output, page
from gentoolkit.viz.arrays import as_array, as_range
from gentoolkit.viz.labels import apart
from gentoolkit.viz.scene import Scene
from gentoolkit.widgets.player import live_bundle

_ACROSS = 7  # a poster shows this many decodes across and down


class LatentExplorer(anywidget.AnyWidget):
    """A two-dimensional latent plane with a handle, and beside it the decoded image.

    A grid of decodes travels once and is interpolated in the browser, so the picture follows the
    hand also on a page without a kernel. With a kernel, Python answers the trait ``z`` with the
    exact decode. What a cell shows follows ``GENTOOLKIT_OUTPUT``, as for ``Player``.

    Traits: ``z`` (list of two floats), the handle's place, can be set and observed.

    Arguments:
        decode: maps an (n, 2) float32 tensor to (n, height * width) or (n, height, width)
            pixels in [0, 1]; called without gradients.
        extent: (lowest, highest) of both latent coordinates.
        points: (N, 2) encoded examples, drawn as a faint map; None for none.
        labels: (N,) class of each example: whole numbers from 0 to 255.
        image_shape: (height, width) of a decoded image.
        grid: decodes along each side of the stored grid, at least 2.
        names: what to call the classes; their numbers if None.
        alt: the alternative text: what the picture shows, at least 20 characters.

    Raises:
        ValueError: wrong shapes, pixels that are not finite or outside [0, 1], a bad extent.
    """

    _esm = page.module()
    _css = page.stylesheet()
    view = traitlets.Unicode("explorer").tag(sync=True)
    spec = traitlets.Dict().tag(sync=True)
    buf = traitlets.Bytes().tag(sync=True)
    z = traitlets.List(traitlets.Float(), [0.0, 0.0], minlen=2, maxlen=2).tag(sync=True)
    image = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        decode: Callable[[torch.Tensor], Any],
        extent: Sequence[float] = (-3.0, 3.0),
        points: object = None,
        labels: object = None,
        *,
        image_shape: tuple[int, int] = (8, 8),
        grid: int = 41,
        names: Sequence[str] | None = None,
        alt: str = "A plane of latent codes with a handle, and the image decoded at the handle.",
    ) -> None:
        if grid != int(grid) or grid < 2 or len(image_shape) != 2 or min(image_shape) < 1:
            raise ValueError(
                f"The grid or the image is empty: got grid={grid}, image_shape={image_shape}. "
                "Pass a whole grid of at least 2 and (height, width)."
            )
        low, high = as_range(extent, "extent")
        self._decode = decode
        self._shape = (int(image_shape[0]), int(image_shape[1]))
        centre = 0.5 * (low + high)
        scene, options = _plane((low, high), points, labels, names, alt)
        options |= {"extent": [low, high], "grid": int(grid), "image": list(self._shape)}
        options |= {"start": [centre, centre], "offset": len(scene.buffer)}
        axis = np.linspace(low, high, int(grid))
        across, up = np.meshgrid(axis, axis)  # row = second coordinate, upward
        decodes = self._pixels(np.stack([across.ravel(), up.ravel()], axis=1))
        self._still, _ = _plane((low, high), points, labels, names, alt)
        _add_decodes(self._still, decodes.reshape(int(grid), int(grid), *self._shape))
        super().__init__(
            spec=scene.spec | {"explorer": options},
            buf=scene.buffer + decodes.tobytes(),
            z=[centre, centre],
        )
        self._answer()
        self.observe(lambda _change: self._answer(), names="z")

    def _pixels(self, codes: np.ndarray) -> np.ndarray:
        """(n, 2) codes -> (n, height, width) uint8."""
        with torch.no_grad():
            decoded = self._decode(torch.as_tensor(codes, dtype=torch.float32))
        values = as_array(decoded, "the decoded images")
        if values.size != len(codes) * self._shape[0] * self._shape[1]:
            raise ValueError(
                f"decode does not fit image_shape: got {values.shape} for {len(codes)} codes. "
                f"Return ({len(codes)}, {self._shape[0]}, {self._shape[1]}), or pass image_shape."
            )
        if values.min() < -1e-6 or values.max() > 1 + 1e-6:
            raise ValueError(
                f"decode gives no pixels in [0, 1]: got {values.min():g} to {values.max():g}. "
                "Return means or probabilities, for instance after a sigmoid."
            )
        shades = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
        return shades.reshape(len(codes), *self._shape)

    def _answer(self) -> None:
        place = np.array([self.z], dtype="<f4")
        # The place goes with the pixels, so that the browser can drop an answer that is stale.
        self.image = place.tobytes() + self._pixels(place).tobytes()

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict[str, Any], dict[str, Any]]:
        if output.mode() == "live":
            return live_bundle(self, "LatentExplorer")
        if output.mode() == "poster":
            return self._still.bundle()
        return {"text/html": self.to_html(), "text/plain": self._still.alt}, {}

    def to_html(self) -> str:
        """Write the explorer as a fragment of a page that works without kernel or network.

        Returns:
            HTML with the drawing module and the stored decodes inside.
        """
        return page.fragment(self.spec, self.buf)


def _plane(
    extent: tuple[float, float],
    points: object,
    labels: object,
    names: Sequence[str] | None,
    alt: str,
) -> tuple[Scene, dict[str, Any]]:
    """The latent plane with its examples, and what the explorer must know of them."""
    scene = Scene(1, alt=alt)
    panel = scene.panel(extent, extent, title="latent plane", x_label="z₁", y_label="z₂")
    options: dict[str, Any] = {"colormap": panel.colormap("greys")}
    options |= {"points": None, "labels": None, "names": []}
    if points is None:
        return scene, options
    codes = as_array(points, "points", ("N", "M"))
    classes = np.zeros(len(codes)) if labels is None else as_array(labels, "labels", ("N",))
    whole = bool((classes == classes.round()).all()) and 0 <= classes.min() <= classes.max() <= 255
    if len(classes) != len(codes) or not whole:
        raise ValueError(
            f"The labels do not fit the points: got {len(classes)} labels from {classes.min():g} "
            f"to {classes.max():g} for {len(codes)} points. "
            "Pass one whole number from 0 to 255 per point."
        )
    count = int(classes.max()) + 1
    called = [str(k) for k in range(count)] if names is None else [str(name) for name in names]
    if len(called) < count:
        raise ValueError(
            f"The names do not fit the labels: got {len(called)} names and the label {count - 1}. "
            "Pass one name per class, or leave the names out."
        )
    panel.points(codes, values=classes, colormap="classes", size=5, alpha=0.45)
    layer = scene.spec["panels"][0]["layers"][-1]
    options |= {"points": layer["xy"], "labels": layer["values"]}
    if labels is not None:
        options["names"] = called
        kinds = np.unique(classes).astype(int)
        # The median stands in the thick of a class; the label makes colour the second sign.
        thick = np.stack([np.median(codes[classes == k], axis=0) for k in kinds])
        for k, (x, y) in zip(kinds, apart(thick, 0.06 * (extent[1] - extent[0])), strict=True):
            panel.text(float(x), float(y), called[k], size=17)
    return scene, options


def _add_decodes(scene: Scene, decodes: np.ndarray) -> None:
    """(grid, grid, height, width) decodes -> a panel with some of them, laid out as the plane."""
    grid = len(decodes)
    picks = np.linspace(0, grid - 1, min(_ACROSS, grid)).round().astype(int)
    tiles = decodes[picks[::-1]][:, picks].reshape(-1, *decodes.shape[2:])
    title = "decoded over the same plane"
    scene.image_panel(tiles, columns=len(picks), title=title, limits=(0, 255))
