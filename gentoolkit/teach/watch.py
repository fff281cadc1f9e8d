"""Watch a generator from an async cell: a bar, a live picture, and a Stop button that works."""

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from gentoolkit.viz import output

R = TypeVar("R")


@runtime_checkable
class _Scored(Protocol):
    """A record of training, or anything else that carries a loss."""

    @property
    def loss(self) -> float: ...  # noqa: D102


@runtime_checkable
class _Bundled(Protocol):
    """A chart: its bundle can be put in the place of an earlier one, which its display cannot."""

    def bundle(self) -> dict[str, object]: ...  # noqa: D102

    def description(self) -> dict[str, object]: ...  # noqa: D102


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
        self._of = f" of {total}" if total else ""
        self._bar = IntProgress(max=total or 1, description=label)
        self.text = Label()
        self.button = Button(description="Stop", tooltip=f"End {label} after this step")
        self.button.on_click(self._press)
        self.box = HBox([*([self._bar] if total else []), self.text, self.button])

    def _press(self, _: object) -> None:
        self.pressed = True
        self.finish()

    def update(self, count: int, losses: list[float]) -> None:
        """Show the number of records so far, and the last of their losses."""
        loss = f", loss {losses[-1]:.4g}" if losses else ""
        self._bar.value = count
        self.text.value = f"{self._label}: {count}{self._of}{loss}"

    def finish(self) -> None:
        """Switch the button off when nothing is left to stop."""
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
    per_second: float = 4.0,
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

    control = StopButton(total, label) if output.mode() == "live" else None
    screen: _Screen | None = None
    if control is not None:
        display(control)
    losses: list[float] = []
    last: R | None = None
    count, shown_at = 0, -float("inf")
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
                    screen = screen or _Screen()
                    screen.show(draw(losses, last))
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
        if screen is not None:
            screen.close()
        if final is not None:
            display(final)
    return Watched(last, tuple(losses), control is not None and control.pressed)


class _Screen:
    """Where a live picture is drawn again and again, in one output of the cell.

    Updating a displayed chart by its display id would be simpler, but plotly's renderer in
    JupyterLab draws a chart once and ignores what comes later. A widget's list of outputs is
    rendered anew each time it is set.
    """

    def __init__(self) -> None:
        from IPython.display import display
        from ipywidgets import Output

        self._output = Output()
        display(self._output)

    def show(self, drawn: object) -> None:
        """Put `drawn` in the place of the last picture; None changes nothing."""
        from IPython.display import clear_output, display

        if isinstance(drawn, _Bundled):
            self._output.outputs = tuple(
                {"output_type": "display_data", "data": data, "metadata": {}}
                for data in (drawn.bundle(), drawn.description())
            )
        elif drawn is not None:
            with self._output:
                clear_output(wait=True)
                display(drawn)

    def close(self) -> None:
        """Take the picture away: what stays is displayed like any other output, and is saved."""
        self._output.close()
