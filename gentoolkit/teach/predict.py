"""Predict, then reveal: the learner commits a guess before the answer shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from gentoolkit.viz import output

if TYPE_CHECKING:
    from ipywidgets import VBox

_LETTERS = "ABCDEFGH"


@dataclass(eq=False, repr=False)
class Prediction:
    """A question that keeps its answer until a guess is committed or skipped.

    Make one with `predict`, which says what the fields are. In a live notebook it shows as
    widgets; elsewhere as text with the answer folded away.
    """

    question: str
    truth: float
    because: str
    options: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    unit: str = ""
    guess: float | int | None = field(default=None, init=False)
    revealed: bool = field(default=False, init=False)

    def __repr__(self) -> str:
        """Give the same text in every run, for comparisons of stored outputs."""
        return f"Predict: {self.question}"

    def named(self, value: float) -> str:
        """Write a guess or the truth as the learner reads it: with its unit, or its letter."""
        if self.options:
            letter, option = _LETTERS[int(value)], self.options[int(value)].rstrip(".")
            return letter if option == letter else f"{letter}, {option}"
        return f"{value:.4g} {self.unit}".strip()

    def reveal(self, guess: float | int | None) -> str:
        """Commit a number or the index of an option, or skip with None; return what is told."""
        self.guess, self.revealed = guess, True
        answer = f"The answer: {self.named(self.truth)}. {self.because}"
        if guess is None:
            return f"Skipped. {answer}"
        yours = f"Your guess: {self.named(guess)}."
        if self.options:
            verdict = "As it is." if guess == self.truth else "It is another."
        else:
            verdict = f"Off by {self.named(abs(guess - self.truth))}."
        return f"{yours} {verdict} {answer}"

    @cached_property
    def widget(self) -> "VBox":
        """The live view: the question, the inputs, and a place for the answer."""
        return _build(self)

    def _asked(self) -> str:
        items = "".join(f"<li>{escape(option)}</li>" for option in self.options)
        choices = f'<ol type="A">{items}</ol>' if items else ""
        return f"<p><strong>Predict.</strong> {escape(self.question)}</p>{choices}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        text: dict[str, object] = {"text/plain": repr(self)}
        if output.mode() == "live":
            return {**(self.widget._repr_mimebundle_() or {}), **text}
        answer = escape(f"{self.named(self.truth)}. {self.because}")
        folded = f"<summary>Commit a guess, then open the answer</summary><p>{answer}</p>"
        return {"text/html": f"{self._asked()}<details>{folded}</details>", **text}


def _build(prediction: Prediction) -> "VBox":
    # Imported here: the widgets cost as much as the rest of the package together.
    import ipywidgets as widgets
    from traitlets import link

    wide = {"description_width": "initial"}
    if prediction.options:
        # Buttons, not radio inputs: JupyterLab takes the arrow keys away from a focused radio.
        entry = widgets.ToggleButtons(
            options=[(_LETTERS[i], i) for i in range(len(prediction.options))],
            tooltips=list(prediction.options),
            description="Your guess",
            style={"button_width": "3em", **wide},
        )
        inputs = [entry]
    else:
        low, high, step = prediction.low, prediction.high, prediction.step
        middle = min(low + round((high - low) / (2.0 * step)) * step, high)
        bounds = {"min": low, "max": high, "step": step, "value": middle, "style": wide}
        slider = widgets.FloatSlider(
            description="Your guess",
            readout=False,
            layout=widgets.Layout(width="24em"),
            continuous_update=False,
            **bounds,
        )
        # The same number once more as a field that can be typed in: no mouse is needed.
        entry = widgets.BoundedFloatText(
            description=f"or type it ({prediction.unit})" if prediction.unit else "or type it",
            layout=widgets.Layout(width="16em"),
            **bounds,
        )
        link((slider, "value"), (entry, "value"))
        inputs = [slider, entry]
    commit = widgets.Button(description="Commit", tooltip="Commit this guess and see the answer")
    skip = widgets.Button(description="Skip", tooltip="See the answer without a guess")
    told = widgets.HTML(value='<p role="status"></p>')

    def close(guess: float | int | None) -> None:
        told.value = f'<p role="status">{escape(prediction.reveal(guess))}</p>'
        for control in (*inputs, commit, skip):
            control.disabled = True

    commit.on_click(lambda _: close(entry.value))
    skip.on_click(lambda _: close(None))
    rows = widgets.HTML(value=prediction._asked()), widgets.HBox(inputs)
    return widgets.VBox([*rows, widgets.HBox([commit, skip]), told])


def predict(
    question: str,
    *,
    truth: float,
    because: str,
    options: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    unit: str = "",
) -> Prediction:
    """Ask the learner to foresee a number or to choose among options.

    Arguments:
        question: plain text.
        truth: the number, or the index of the right option.
        because: why, plain text; shown with the truth.
        options: two to eight choices; leave out for a number.
        low: least number of the slider.
        high: greatest number of the slider.
        step: the slider's step; by default a hundredth of its range.
        unit: written behind numbers.

    Returns:
        A Prediction: the last line of a cell shows it; running all cells never waits for it.

    Raises:
        ValueError: if a text is empty, the options are not two to eight, the range is empty, or
            the truth lies outside.
    """
    for name, text in (("question", question), ("because", because)):
        if not text.strip():
            raise ValueError(f"{name} must say something; got {text!r}; write a sentence")
    if options:
        if low is not None or high is not None or step is not None:
            raise ValueError(
                f"a choice has no range; got low={low}, high={high}, step={step} beside options; "
                "leave them out, or leave the options out"
            )
        return _choice(question, truth, because, tuple(options))
    if low is None or high is None:
        raise ValueError(
            f"a number needs a range; got low={low}, high={high}; give both, or give options"
        )
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"the range must be finite and low below high; got low={low}, high={high}; swap or "
            "fix them"
        )
    if not low <= truth <= high:
        raise ValueError(
            f"the truth must lie in the range; got {truth} outside [{low}, {high}]; widen the range"
        )
    width = (high - low) / 100 if step is None else step
    if not 0 < width <= high - low:
        raise ValueError(
            f"step must be positive and fit the range; got {width}; choose at most {high - low}"
        )
    return Prediction(question, truth, because, (), low, high, width, unit)


def _choice(question: str, truth: float, because: str, options: tuple[str, ...]) -> Prediction:
    if not 2 <= len(options) <= len(_LETTERS):
        raise ValueError(
            f"a choice has two to {len(_LETTERS)} options; got {len(options)}; add or drop some"
        )
    if len(set(options)) < len(options):
        raise ValueError(f"options must differ; got {list(options)}; reword one")
    if isinstance(truth, bool) or not isinstance(truth, int) or not 0 <= truth < len(options):
        raise ValueError(
            f"truth must be the index of an option; got {truth!r}; give 0 to {len(options) - 1}"
        )
    return Prediction(question, truth, because, options)
