"""Watch a generator from an async cell: a bar, a live picture, and a Stop button that works."""

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from gentoolkit.viz import output

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

R = TypeVar("R")


@runtime_checkable
class _Scored(Protocol):
    """A record of training, or anything else that carries a loss."""

    @property
    def loss(self) -> float:
        """The loss of this step."""
        ...


@runtime_checkable
class _Bundled(Protocol):
    """A chart: its bundle can be put in the place of an earlier one, which its display cannot."""

    def bundle(self) -> dict[str, object]:
        """Return what a notebook stores of it, by MIME type."""
        ...

    def description(self) -> dict[str, object]:
        """Return its words for those who do not see it, by MIME type."""
        ...


@dataclass(frozen=True)
class Watched(Generic[R]):
    """What is left when the watching ends.

    Arguments:
        last: the last record, or None if there was none.
        losses: the `loss` of every record that has one.
        stopped: whether the Stop button ended it.
    """

    last: R | None
    losses: tuple[float, ...]
    stopped: bool


class StopButton:
    """The live view of a run: a bar, a line of text, and the button that ends it.

    Arguments:
        total: how many records to expect, or None if that is not known.
        label: what runs.
    """

    def __init__(self, total: int | None, label: str) -> None:
        # Imported here: the widgets cost as much as the rest of the package together.
        from ipywidgets import Button, HBox, IntProgress, Label

        self.pressed = False
        self._label = label
        self._total = total
        self._bar = IntProgress(max=total or 1, description=label)
        self.text = Label()
        self.button = Button(description="Stop", tooltip=f"End {label} after this step")
        self.button.on_click(self._press)
        shown = (self._bar, self.text, self.button) if total else (self.text, self.button)
        self.box = HBox(shown)

    def _press(self, _: object) -> None:
        self.pressed = True
        self.button.disabled = True

    def update(self, count: int, losses: list[float]) -> None:
        """Show how far the run is.

        Arguments:
            count: records so far.
            losses: their losses, if they have any.
        """
        of = f" of {self._total}" if self._total else ""
        loss = f", loss {losses[-1]:.4g}" if losses else ""
        self._bar.value = count
        self.text.value = f"{self._label}: {count}{of}{loss}"

    def finish(self) -> None:
        """Take the button away when nothing is left to stop."""
        self.button.disabled = True

    def __repr__(self) -> str:
        return f"Progress of {self._label}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        return {**(self.box._repr_mimebundle_() or {}), "text/plain": repr(self)}


async def watch(
    records: Iterable[R],
    draw: Callable[[list[float], R], object] | None = None,
    *,
    total: int | None = None,
    every: int = 1,
    per_second: float = 10.0,
    label: str = "training",
) -> Watched[R]:
    """Run a generator while the notebook stays alive.

    Widgets of other cells answer and Stop works at once, because the loop hands control back after
    each record. Outside a live notebook there is no bar, and the picture is shown once, at the end.

    Arguments:
        records: what `fit(...)` or a sampler yields.
        draw: takes the losses so far and the newest record, returns what is to be shown.
        total: how many records to expect; gives the bar its length.
        every: call `draw` at most once in so many records,
        per_second: and at most so many times a second.
        label: what runs, for the line beside the bar.

    Returns:
        The last record, the losses, and whether it was stopped. A stopped generator is closed, so
        that its own clean-up runs.

    Raises:
        ValueError: if `total`, `every` or `per_second` is not positive.
    """
    for name, value in (("total", total), ("every", every), ("per_second", per_second)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive; got {value}; leave it out, or raise it")
    # Imported here: the names exist only where IPython does, and the module must not need it.
    from IPython.display import display

    live = output.mode() == "live"
    control = StopButton(total, label) if live else None
    picture = None
    if control is not None:
        display(control)
    losses: list[float] = []
    last: R | None = None
    count = 0
    shown_at = -float("inf")
    try:
        for last in records:
            count += 1
            if isinstance(last, _Scored):
                losses.append(float(last.loss))
            await asyncio.sleep(0)
            if control is None:
                continue
            if control.pressed:
                break
            now = time.monotonic()
            if now - shown_at >= 1.0 / per_second:
                control.update(count, losses)
                if draw is not None and (count - 1) % every == 0:
                    drawn = draw(losses, last)
                    picture = _show(drawn, picture)
                shown_at = time.monotonic()
    finally:
        # Closed here, not by the garbage collector: a stopped fit saves its state on closing.
        if isinstance(records, Generator):
            records.close()
        if control is not None:
            control.update(count, losses)
            control.finish()
    if draw is not None and last is not None:
        final = draw(losses, last)
        if picture is None and final is not None:
            display(final)
        else:
            _show(final, picture)
    return Watched(last, tuple(losses), control is not None and control.pressed)


def _show(drawn: object, picture: "DisplayHandle | None") -> "DisplayHandle | None":
    """Show a first picture, or put a newer one in its place; None changes nothing."""
    from IPython.display import display

    if drawn is None:
        return picture
    raw = isinstance(drawn, _Bundled)
    data = drawn.bundle() if isinstance(drawn, _Bundled) else drawn
    if picture is None:
        picture = display(data, raw=raw, display_id=True)
        if isinstance(drawn, _Bundled):
            display(drawn.description(), raw=True)
    else:
        picture.update(data, raw=raw)
    return picture
