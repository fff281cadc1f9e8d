"""The player: a scene in a cell, with play, step, scrub and speed."""

from typing import Any

import anywidget
import traitlets
from ipywidgets import DOMWidget

from gentoolkit.viz import output, page
from gentoolkit.viz.scene import Scene


class Player(anywidget.AnyWidget):
    """Show a scene and play it.

    The browser gets a JSON description and one buffer, once, and plays by itself: Python hears the
    frame when the reader stops or seeks. What a cell shows follows ``GENTOOLKIT_OUTPUT``: this
    widget (``live``), a page fragment (``static``) or, once built, a PNG (``poster``).

    Traits: ``frame`` (int) and ``playing`` (bool) can be set and observed; ``selected`` (int) is
    the point whose path is shown, or -1; with ``accounts`` in the scene, -1 shows point 0.

    Arguments:
        scene: what to show.

    Raises:
        ValueError: the scene has no panel.
    """

    _esm = page.module()
    _css = page.stylesheet()
    view = traitlets.Unicode("player").tag(sync=True)
    spec = traitlets.Dict().tag(sync=True)
    buf = traitlets.Bytes().tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)

    def __init__(self, scene: Scene) -> None:
        scene.check()
        super().__init__(spec=scene.spec, buf=scene.buffer)
        self._scene = scene

    @property
    def scene(self) -> Scene:
        """The scene that is shown."""
        return self._scene

    def show(self, scene: Scene) -> None:
        """Put another scene in this place: one message, one redraw, the latest wins.

        Arguments:
            scene: what to show from now on.

        Raises:
            ValueError: the scene has no panel.
        """
        scene.check()
        self._scene = scene
        with self.hold_sync():
            self.spec, self.buf = scene.spec, scene.buffer
            self.frame = min(self.frame, scene.frames - 1)
            self.selected = -1  # the points of another scene are other points

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict[str, Any], dict[str, Any]]:
        if output.mode() != "live":
            return self._scene.bundle()
        return live_bundle(self, "Player")


def live_bundle(widget: DOMWidget, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the output of a widget, with a text that is the same in every run.

    Arguments:
        widget: the widget.
        name: what stands for it where widgets cannot be shown.

    Returns:
        The data and the metadata of a Jupyter MIME bundle.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": view, "text/plain": f"<{name}>"}, {}


def play(scene: Scene) -> Player:
    """Show a scene in a player.

    Arguments:
        scene: what to show.

    Returns:
        The player; as the last value of a cell it is displayed.

    Raises:
        ValueError: the scene has no panel.
    """
    return Player(scene)
