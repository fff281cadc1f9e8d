"""Knobs under a player: move one, and the scene is made anew with its value."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import anywidget
import traitlets
from ipywidgets import VBox

from gentoolkit.viz import output, page
from gentoolkit.viz.scene import Scene
from gentoolkit.widgets.player import Player, live_bundle

FAST = 0.05
"""Seconds below which a scene may be made anew while a knob is dragged."""


@dataclass(frozen=True)
class Knob:
    """One number that the reader may change.

    Arguments:
        low: its lowest value.
        high: its highest value.
        start: its value at first.
        step: between neighbouring values; a hundredth of the range if None.
        label: what stands beside the slider; the knob's name if empty.
        choices: the only values that it takes, rising, if not all in between; see ``among``.
        names: what is shown in the place of each choice; see ``named``.

    Raises:
        ValueError: not low <= start <= high with low < high, or a step that is not positive or
            longer than the range, or choices that do not rise from low to high through start, or
            not one name for each choice.
    """

    low: float
    high: float
    start: float
    step: float | None = None
    label: str = ""
    choices: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def among(cls, choices: Iterable[float], start: float, label: str = "") -> "Knob":
        """Make a knob that clicks from one value to the next, however far apart they are.

        Arguments:
            choices: the values, rising.
            start: the one at first.
            label: what stands beside the slider; the knob's name if empty.

        Raises:
            ValueError: fewer than two values, values that do not rise, or a start not among them.
        """
        values = tuple(float(value) for value in choices)
        low, high = (values[0], values[-1]) if values else (0.0, 0.0)
        return cls(low, high, float(start), None, label, values)

    @classmethod
    def named(cls, names: Iterable[str], start: int = 0, label: str = "") -> "Knob":
        """Make a knob that clicks from one named thing to the next; its value counts them from 0.

        Arguments:
            names: what it shows, and what is read out.
            start: number of the one at first.
            label: what stands beside the slider; the knob's name if empty.

        Raises:
            ValueError: fewer than two names, or a start that is not the number of one.
        """
        words = tuple(str(name) for name in names)
        counted = tuple(float(k) for k in range(len(words)))
        high = counted[-1] if counted else 0.0
        return cls(0.0, high, float(start), None, label, counted, words)

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, self.start)
        finite = all(math.isfinite(number) for number in numbers)
        if not finite or not self.low < self.high or not self.low <= self.start <= self.high:
            raise ValueError(
                f"A knob has no range: got low={self.low}, high={self.high}, start={self.start}. "
                "Pass finite numbers with low < high and low <= start <= high."
            )
        known = self.choices
        rising = all(a < b for a, b in pairwise(known))
        if known and not (rising and self.start in known and (known[0], known[-1]) == numbers[:2]):
            raise ValueError(
                f"A knob's choices do not fit: got {known} and start {self.start}. "
                "Pass rising values, the start among them."
            )
        if self.names and len(self.names) != len(known):
            raise ValueError(
                f"A knob's names do not fit: got {len(self.names)} for {len(known)} choices. "
                "Pass one name for each choice."
            )
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(
                f"A knob's step does not fit its range: got {self.step} for {self.low} to "
                f"{self.high}. Pass a step above 0 and at most high - low."
            )


class _Knobs(anywidget.AnyWidget):
    """The sliders in the browser, and the sentence under them."""

    _esm = page.module()
    _css = page.stylesheet()
    view = traitlets.Unicode("knobs").tag(sync=True)
    knobs = traitlets.List().tag(sync=True)
    panels = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    continuous = traitlets.Bool(False).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)


class Tuned:
    """A player with knobs under it; made by ``tune``.

    ``player`` is the player, ``values`` the numbers of the scene that it shows. In a cell it shows
    both (``live``), or as ``static`` or ``poster`` the scene at the knobs' start alone.

    Arguments:
        scene_of: makes the scene for the values of all knobs, by name.
        knobs: the knobs by name.

    Raises:
        ValueError: no knob.
        TypeError: a knob is not a Knob, or ``scene_of`` returns something other than a Scene.
    """

    def __init__(
        self, scene_of: Callable[[Mapping[str, float]], Scene], knobs: Mapping[str, Knob]
    ) -> None:
        if not knobs:
            raise ValueError("There is nothing to turn: got no knob. Pass {'name': Knob(...)}.")
        for name, knob in knobs.items():
            if not isinstance(knob, Knob):
                raise TypeError(
                    f"knobs[{name!r}] is not a knob: got {type(knob).__name__}. "
                    "Pass Knob(low, high, start)."
                )
        self._scene_of = scene_of
        self.values = {name: float(knob.start) for name, knob in knobs.items()}
        scene, took = self._make(self.values)  # an error here belongs to the cell
        self.player = Player(scene)
        self._knobs = _Knobs(
            knobs=[_describe(name, knob) for name, knob in knobs.items()],
            panels=[{"weight": panel["weight"]} for panel in scene.spec["panels"]],
            values=dict(self.values),
            continuous=took < FAST,
        )
        self._knobs.observe(self._turned, names="values")
        self._start = scene
        self._box: VBox | None = None

    @property
    def message(self) -> str:
        """What stands under the sliders: why the values asked for cannot be shown, or nothing."""
        return str(self._knobs.message)

    @property
    def continuous(self) -> bool:
        """Whether the scene follows a drag; if the last one took long, it waits for the release."""
        return bool(self._knobs.continuous)

    def turn(self, name: str, value: float) -> None:
        """Move a knob, as the reader does.

        Arguments:
            name: which one.
            value: where to.

        Raises:
            ValueError: no knob has this name, or the value lies outside of its range.
        """
        known = {knob["name"]: knob for knob in self._knobs.knobs}
        if name not in known:
            raise ValueError(f"There is no such knob: got {name!r}. Use one of {', '.join(known)}.")
        low, high = known[name]["low"], known[name]["high"]
        if not low <= value <= high:
            raise ValueError(
                f"The knob {name!r} does not turn so far: got {value}. "
                f"Pass a value from {low:g} to {high:g}."
            )
        choices = known[name].get("choices", [value])
        if value not in choices:
            raise ValueError(
                f"The knob {name!r} has no such value: got {value}. "
                f"Pass one of {', '.join(f'{choice:g}' for choice in choices)}."
            )
        self._knobs.values = {**self._knobs.values, name: float(value)}

    def _make(self, values: Mapping[str, float]) -> tuple[Scene, float]:
        start = time.perf_counter()
        scene = self._scene_of(dict(values))
        if not isinstance(scene, Scene):
            raise TypeError(f"scene_of makes no scene: got {type(scene).__name__}. Return a Scene.")
        return scene, time.perf_counter() - start

    def _turned(self, change: Mapping[str, Any]) -> None:
        values = {name: float(value) for name, value in change["new"].items()}
        try:
            scene, took = self._make(values)
            selected = self.player.selected
            with self.player.hold_sync():
                self.player.show(scene)
                self.player.selected = selected  # the reader follows one point through all values
        except Exception as error:  # the reader meets a sentence, not a traceback
            kept = ", ".join(f"{name} = {value:g}" for name, value in self.values.items())
            self._knobs.message = f"{_sentence(error)} The picture still shows {kept}."
            return
        self.values = values
        with self._knobs.hold_sync():
            self._knobs.message, self._knobs.continuous = "", took < FAST

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict[str, Any], dict[str, Any]]:
        if output.mode() != "live":
            return self._start.bundle()
        if self._box is None:
            self._box = VBox([self.player, self._knobs])
        return live_bundle(self._box, "Tuned")


def _describe(name: str, knob: Knob) -> dict[str, Any]:
    step = (knob.high - knob.low) / 100 if knob.step is None else float(knob.step)
    described: dict[str, Any] = {"name": name, "label": knob.label or name}
    described |= {"low": float(knob.low), "high": float(knob.high), "step": step}
    if knob.choices:
        described["choices"] = list(knob.choices)
    if knob.names:
        described["names"] = list(knob.names)
    return described


def _sentence(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    words = words if isinstance(error, ValueError) else f"{type(error).__name__}: {words}"
    return words if words.endswith(".") else f"{words}."


def tune(scene_of: Callable[[Mapping[str, float]], Scene], knobs: Mapping[str, Knob]) -> Tuned:
    """Show a scene with knobs that change it.

    A knob that moves calls ``scene_of`` with the values of all knobs and shows what it returns, at
    the same frame and with the same point selected. While a scene takes less than 50 ms the
    picture follows the drag; else it waits until the knob is released. An error in ``scene_of``
    becomes a sentence under the knobs, and the picture stays.

    Arguments:
        scene_of: makes the scene for the values of all knobs, by name.
        knobs: the knobs by name, in the order in which they are shown.

    Returns:
        A player with knobs; as the last value of a cell it is displayed.

    Raises:
        ValueError: no knob, or a scene without panels.
        TypeError: a knob is not a Knob, or ``scene_of`` returns something other than a Scene.
    """
    return Tuned(scene_of, knobs)
