"""Predict, then reveal."""

import re
from typing import Any

import pytest
from ipywidgets import HTML, BoundedFloatText, Button, FloatSlider, ToggleButtons, Widget

from gentoolkit.teach import Prediction, predict


@pytest.fixture(autouse=True)
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "live")


def number(**changes: Any) -> Prediction:
    given = {"truth": 0.8, "low": 0.0, "high": 1.0, "because": "r squared.", "unit": "nats"}
    return predict("How fast?", **{**given, **changes})


def choice(**changes: Any) -> Prediction:
    given = {"options": ["push", "pull"], "truth": 1, "because": "It takes apart."}
    return predict("Which one noises?", **{**given, **changes})


def inside(prediction: Prediction, kind: type) -> list[Any]:
    found: list[Widget] = []
    waiting: list[Any] = [prediction.widget]
    while waiting:
        widget = waiting.pop(0)
        found.append(widget)
        waiting.extend(getattr(widget, "children", ()))
    return [widget for widget in found if type(widget) is kind]


def button(prediction: Prediction, name: str) -> Button:
    return next(b for b in inside(prediction, Button) if b.description == name)


def told(prediction: Prediction) -> str:
    return re.sub("<[^>]+>", "", inside(prediction, HTML)[-1].value)


def test_nothing_is_told_before_a_guess() -> None:
    """Catches an answer that can be read, in the page or the text, before a guess."""
    for prediction in (number(because="zebra"), choice(because="zebra")):
        shown = "".join(html.value for html in inside(prediction, HTML))
        assert "zebra" not in shown
        assert "zebra" not in str(prediction._repr_mimebundle_())
        assert told(prediction) == ""
        assert not prediction.revealed


def test_a_number_is_committed() -> None:
    """Catches a button that reveals without the learner's own guess beside the truth."""
    prediction = number()
    inside(prediction, FloatSlider)[0].value = 0.3
    button(prediction, "Commit").click()
    assert prediction.guess == pytest.approx(0.3)
    assert told(prediction) == (
        "Your guess: 0.3 nats. Off by 0.5 nats. The answer: 0.8 nats. r squared."
    )
    assert all(b.disabled for b in inside(prediction, Button))
    assert inside(prediction, FloatSlider)[0].disabled


def test_the_slider_and_the_field_agree() -> None:
    """Catches a typed number that is not the one committed."""
    prediction = number()
    inside(prediction, BoundedFloatText)[0].value = 0.25
    assert inside(prediction, FloatSlider)[0].value == pytest.approx(0.25)
    button(prediction, "Commit").click()
    assert prediction.guess == pytest.approx(0.25)


@pytest.mark.parametrize(("index", "verdict"), [(1, "As it is."), (0, "It is another.")])
def test_a_choice_is_committed(index: int, verdict: str) -> None:
    """Catches a choice judged by its text or its position on the screen."""
    prediction = choice()
    inside(prediction, ToggleButtons)[0].index = index
    button(prediction, "Commit").click()
    assert prediction.guess == index
    assert verdict in told(prediction)
    assert told(prediction).endswith("The answer: B, pull. It takes apart.")


def test_a_guess_can_be_skipped() -> None:
    """Catches a question that cannot be passed without a guess."""
    prediction = number()
    button(prediction, "Skip").click()
    assert prediction.guess is None
    assert prediction.revealed
    assert told(prediction).startswith("Skipped. The answer: 0.8 nats.")


def test_every_input_has_a_label_and_no_keys_of_the_notebook() -> None:
    """Catches an input that a screen reader cannot name, or radios whose arrows JupyterLab eats."""
    for prediction in (number(), choice()):
        for kind in (FloatSlider, BoundedFloatText, ToggleButtons, Button):
            assert all(widget.description for widget in inside(prediction, kind))


def test_live_output_is_a_widget_with_constant_text() -> None:
    """Catches a text/plain that changes from run to run."""
    first, second = number()._repr_mimebundle_(), number()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in first
    assert first["text/plain"] == second["text/plain"] == "Predict: How fast?"


@pytest.mark.parametrize("mode", ["static", "poster"])
def test_without_a_kernel_the_answer_is_folded(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a dead widget on a page without a kernel, and text that is read as markup."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", mode)
    shown = choice(because="b < f & so")._repr_mimebundle_()
    assert set(shown) == {"text/html", "text/plain"}
    html = str(shown["text/html"])
    before, folded = html.split("<details>")
    assert "b &lt; f &amp; so" in folded
    assert "so" not in before
    assert before.count("<li>") == 2


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (number, {"truth": 2.0}, "got 2.0 outside"),
        (number, {"truth": float("nan")}, "got nan outside"),
        (number, {"low": 1.0, "high": 0.0}, "low below high; got"),
        (number, {"high": float("inf")}, "finite"),
        (number, {"high": None}, "needs a range; got low=0.0, high=None"),
        (number, {"step": 0.0}, "step must be positive"),
        (number, {"step": 2.0}, "step must be positive"),
        (number, {"because": " "}, "because must say something"),
        (choice, {"options": ["one"], "truth": 0}, "two to 8 options; got 1"),
        (choice, {"options": ["a", "a"]}, "options must differ"),
        (choice, {"truth": 2}, "index of an option; got 2"),
        (choice, {"truth": 0.5}, r"index of an option; got 0\.5"),
        (choice, {"low": 0.0}, "a choice has no range"),
    ],
)
def test_bad_questions_are_refused(make: Any, changes: dict[str, Any], message: str) -> None:
    """Catches a question whose answer can never be guessed."""
    with pytest.raises(ValueError, match=message):
        make(**changes)
