"""A picture that moves, described once: drawn live, on a page without a kernel, and as a PNG."""

import math
from collections.abc import Sequence
from typing import Any

from gentoolkit.viz import output, page
from gentoolkit.viz.arrays import Pack, as_array, as_range, at_least, positive
from gentoolkit.viz.panel import Panel


class Scene:
    """A JSON description of panels and layers, and one buffer with their quantised numbers.

    A scene needs neither a browser nor torch. ``gentoolkit.widgets.Player`` plays it.

    Arguments:
        frames: number of frames, at least 1.
        alt: the alternative text: what the picture shows, at least 20 characters.
        fps: frames a second at normal speed.
        times: (frames,) value shown for each frame; the frame's number if None.
        time_label: the name of that value, such as ``t``.
        notes: one sentence per frame, shown under the picture and read out when it stops.
        group: players of one page whose scenes name the same group move together.
        smooth: glide between frames while playing; False for states that jump.
        poster_frame: the frame that is drawn where nothing can play; negative from the end.

    Raises:
        ValueError: an argument out of its range, or not one entry per frame.
    """

    def __init__(
        self,
        frames: int,
        *,
        alt: str,
        fps: float = 20.0,
        times: object = None,
        time_label: str = "t",
        notes: Sequence[str] | None = None,
        group: str | None = None,
        smooth: bool = True,
        poster_frame: int = -1,
    ) -> None:
        self.frames = at_least(frames, "frames", 1)
        if len(alt.strip()) < 20:
            raise ValueError(
                f"alt must describe the picture; got {alt!r}; write a sentence of at least 20 "
                "characters"
            )
        if not 0 < fps <= 60:
            raise ValueError(f"fps must be above 0 and at most 60; got {fps}; pass 20, say")
        if notes is not None and (isinstance(notes, str) or len(notes) != self.frames):
            raise ValueError(
                f"notes must be one sentence per frame; got {len(notes)} for {self.frames} frames; "
                "pass a list with one entry per frame"
            )
        if not -self.frames <= poster_frame < self.frames:
            raise ValueError(
                f"poster_frame must be one of 0 to {self.frames - 1}; got {poster_frame}; count "
                "from 0, or from the end with negative numbers"
            )
        self._pack = Pack()
        self._spec: dict[str, Any] = {
            "version": 1,
            "frames": self.frames,
            "fps": float(fps),
            "times": None if times is None else as_array(times, "times", (self.frames,)).tolist(),
            "time_label": time_label,
            "alt": alt.strip(),
            "notes": None if notes is None else [str(note) for note in notes],
            "group": group,
            "smooth": bool(smooth),
            "poster": poster_frame % self.frames,
            "panels": [],
        }

    def panel(
        self,
        x: Sequence[float],
        y: Sequence[float],
        *,
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        equal: bool = True,
        axes: bool = True,
        weight: float = 1.0,
    ) -> Panel:
        """Add a coordinate system to the right of the earlier ones.

        Arguments:
            x: (lowest, highest) of the horizontal axis.
            y: (lowest, highest) of the vertical axis.
            title: shown above.
            x_label: name of the horizontal axis.
            y_label: name of the vertical axis.
            equal: one unit has the same length on both axes; False for curves and bars.
            axes: draw ticks and labels.
            weight: share of the width relative to the other panels.

        Returns:
            The panel, whose methods add layers.

        Raises:
            ValueError: a range that is no interval, or a weight that is not positive.
        """
        spec: dict[str, Any] = {
            "x": list(as_range(x, "x")),
            "y": list(as_range(y, "y")),
            "title": title,
            "x_label": x_label,
            "y_label": y_label,
            "equal": bool(equal),
            "axes": bool(axes),
            "weight": positive(weight, "weight"),
            "layers": [],
        }
        self._spec["panels"].append(spec)
        return Panel(spec, self._pack, self.frames)

    def image_panel(
        self,
        values: object,
        *,
        columns: int | None = None,
        title: str = "",
        limits: Sequence[float] = (0.0, 1.0),
    ) -> Panel:
        """Add a panel that shows N small images in a grid, as ink on white.

        Arguments:
            values: (N, H, W) or (frames, N, H, W) pixels, row 0 at the top.
            columns: images in a row; about the square root of N if None.
            title: shown above.
            limits: pixel values that are white and black.

        Returns:
            The panel; its cell (column c, row r from below) spans c..c+1 and r..r+1.

        Raises:
            ValueError: wrong shapes, not finite, or no columns.
        """
        pixels = as_array(values, "images", ("N", "H", "W"), frames=self.frames)
        count = pixels.shape[-3]
        wide = math.ceil(math.sqrt(count)) if columns is None else at_least(columns, "columns", 1)
        panel = self.panel((0, wide), (0, math.ceil(count / wide)), title=title, axes=False)
        return panel.images(pixels, limits=limits)

    @property
    def spec(self) -> dict[str, Any]:
        """The JSON description; ``arrays`` says how to read the buffer."""
        return self._spec | {"arrays": self._pack.table}

    @property
    def buffer(self) -> bytes:
        """The quantised numbers, end to end."""
        return self._pack.buffer()

    @property
    def alt(self) -> str:
        """The alternative text."""
        return str(self._spec["alt"])

    def to_html(self) -> str:
        """Write the scene as a fragment of a page that plays without kernel or network.

        Returns:
            HTML with the drawing module and the numbers inside; the same scene gives the same text.

        Raises:
            ValueError: no panel.
        """
        self.check()
        return page.fragment(self.spec, self.buffer)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make the output of a cell where no kernel answers: a page, or what a poster is made of.

        Returns:
            The data and the metadata of a Jupyter MIME bundle.
        """
        self.check()
        if output.mode() == "poster":
            return page.still(self.spec, self.buffer)
        return {"text/html": self.to_html(), "text/plain": self.alt}, {}

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict[str, Any], dict[str, Any]]:
        # A scene shown by itself plays without a widget, so live and static are the same.
        return self.bundle()

    def check(self) -> None:
        """Check that there is something to draw.

        Raises:
            ValueError: the scene has no panel.
        """
        if not self._spec["panels"]:
            raise ValueError("the scene is empty; got no panel; add scene.panel(...)")
