"""Knobs without a browser: what a turn does, and what a reader is told when it cannot be done."""

import time
from typing import Any

import numpy as np
import pytest

from gentoolkit.viz import Scene
from gentoolkit.widgets import Knob, Tuned, tune
from tests.widgets.wire import Wire

ALT = "One point lies in a square; two knobs say where it is."


def scene_at(values):
    if values["x"] > 0.9:
        raise ValueError("x leaves the square: got more than 0.9; turn it back")
    if values["y"] > 0.9:
        raise RuntimeError("singular <matrix>")
    made = Scene(5, alt=ALT)
    points = np.tile([[values["x"], values["y"]], [0.5, 0.5]], (5, 1, 1))
    made.panel((0, 1), (0, 1), axes=False).points(points, size=20, alpha=1.0)
    return made


KNOBS = {"x": Knob(0, 1, 0.25), "y": Knob(0, 1, 0.75, 0.05, "height")}


def place(scene):
    entry = scene.spec["arrays"]["a0"]
    raw = np.frombuffer(scene.buffer[entry["offset"] :][:4], "<u2")
    return (np.array(entry["lo"]) + raw / 65535 * 3).round(3).tolist()


def slider(tuned):
    """The widget behind the sliders, as the browser meets it."""
    return tuned._knobs


def test_a_turn_shows_the_scene_of_all_values_at_the_same_frame():
    """Bug: one knob forgets the others, or the reader is thrown back to the first frame."""
    tuned = tune(scene_at, KNOBS)
    tuned.player.frame, tuned.player.selected = 3, 1
    wire = Wire()
    tuned.player.comm = wire
    wire.sent.clear()
    slider(tuned).values = {"x": 0.5, "y": 0.75}
    assert place(tuned.player.scene) == [0.5, 0.75]
    tuned.turn("y", 0.1)
    assert place(tuned.player.scene) == [0.5, 0.1] and tuned.values == {"x": 0.5, "y": 0.1}
    assert (tuned.player.frame, tuned.player.selected) == (3, 1)
    assert len(wire.sent) == 2  # one message a turn
    assert [bytes(b) for b in wire.sent[-1][1]] == [tuned.player.scene.buffer]
    assert slider(tuned).values == {"x": 0.5, "y": 0.1}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x", "x leaves the square: got more than 0.9; turn it back."),
        ("y", "RuntimeError: singular <matrix>."),
    ],
)
def test_an_error_is_a_sentence_and_the_picture_stays(name, words, capsys):
    """Bug: a traceback in Lab's log, or sliders that stop working after the first error."""
    tuned = tune(scene_at, KNOBS)
    shown = tuned.player.scene
    tuned.turn(name, 0.95)
    assert tuned.message == f"{words} The picture still shows x = 0.25, y = 0.75."
    assert tuned.player.scene is shown and tuned.values == {"x": 0.25, "y": 0.75}
    assert slider(tuned).values[name] == 0.95  # the slider stays where the reader put it
    assert capsys.readouterr() == ("", "")
    tuned.turn(name, 0.5)
    assert tuned.message == "" and place(tuned.player.scene)["xy".index(name)] == 0.5


def test_an_empty_scene_is_a_sentence_too():
    """Bug: a scene without panels shown as an empty card, or nothing said of a wrong return."""
    answers = {0.0: scene_at({"x": 0.1, "y": 0.1}), 1.0: Scene(1, alt=ALT), 2.0: "a scene"}
    tuned = tune(lambda values: answers[values["k"]], {"k": Knob(0, 2, 0, 1)})
    tuned.turn("k", 1)
    assert "no panel" in tuned.message
    tuned.turn("k", 2)
    assert "scene_of makes no scene: got str" in tuned.message


def test_the_picture_follows_a_drag_only_while_that_is_fast(monkeypatch):
    """Bug: a slow scene recomputed for every pixel of a drag."""
    clock = [0.0]
    cost = {"now": 0.02}

    def slow(values):
        clock[0] += cost["now"]
        return scene_at(values)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert tune(slow, KNOBS).continuous is True
    cost["now"] = 0.3
    tuned = tune(slow, KNOBS)
    assert tuned.continuous is False
    cost["now"] = 0.01  # the first call had warmed up
    tuned.turn("x", 0.3)
    assert tuned.continuous is True


def test_a_cell_shows_one_output_in_each_mode(monkeypatch):
    """Bug: sliders on a page where nothing answers, or a picture of values turned by hand."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "live")
    tuned = tune(scene_at, KNOBS)
    data, _ = tuned._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    assert data["text/plain"] == "<Tuned>"
    assert data == tuned._repr_mimebundle_()[0]  # the same box again
    tuned.turn("x", 0.75)
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "static")
    data, _ = tuned._repr_mimebundle_()
    assert set(data) == {"text/html", "text/plain"} and "widget-view" not in data["text/html"]
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    data, metadata = tuned._repr_mimebundle_()
    assert data == {"text/plain": ALT}
    assert metadata == scene_at({"x": 0.25, "y": 0.75}).bundle()[1]  # as at the start


def test_the_browser_gets_labels_and_steps():
    """Bug: a slider without a name, or a step that cannot reach the values."""
    described = slider(tune(scene_at, KNOBS)).knobs
    assert described == [
        {"name": "x", "label": "x", "low": 0.0, "high": 1.0, "step": 0.01},
        {"name": "y", "label": "height", "low": 0.0, "high": 1.0, "step": 0.05},
    ]


WRONG: Any = {"x": (0, 1, 0.5)}
NOTHING: Any = lambda values: None  # noqa: E731 - it stands for a reader's slip


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: Knob(1, 0, 0.5), ValueError, "no range"),
        (lambda: Knob(0, 1, 2), ValueError, "no range"),
        (lambda: Knob(0, float("inf"), 2), ValueError, "no range"),
        (lambda: Knob(0, 1, 0.5, 0), ValueError, "step"),
        (lambda: Knob(0, 1, 0.5, 2), ValueError, "step"),
        (lambda: tune(scene_at, {}), ValueError, "no knob"),
        (lambda: tune(scene_at, WRONG), TypeError, "not a knob"),
        (lambda: tune(NOTHING, KNOBS), TypeError, "makes no scene"),
        (lambda: tune(scene_at, KNOBS).turn("z", 0), ValueError, "no such knob"),
        (lambda: tune(scene_at, KNOBS).turn("x", 2), ValueError, "so far"),
    ],
)
def test_bad_input_is_refused_in_three_parts(build, error, words):
    """Bug: a wrong knob that surfaces as a slider without a handle."""
    with pytest.raises(error, match=words) as caught:
        build()
    message = str(caught.value)
    assert "got" in message and message.endswith(".") and message.count(". ") >= 1


def test_an_error_at_the_start_belongs_to_the_cell():
    """Bug: a card without a picture and an error that nobody sees."""
    with pytest.raises(ValueError, match="leaves the square"):
        Tuned(scene_at, {"x": Knob(0, 1, 0.95), "y": Knob(0, 1, 0)})


def test_choices_are_counted_by_the_slider_and_nothing_lies_between():
    """Bug: guidance 3 asked for where only 2 and 4 were prepared."""
    ready = {scale: scene_at({"x": scale / 10, "y": 0.5}) for scale in (0.0, 0.5, 1.0, 4.0)}
    seen = []

    def scene_of(values):
        seen.append(values["scale"])
        return ready[values["scale"]]

    tuned = tune(scene_of, {"scale": Knob.among(ready, 1, "guidance")})
    assert tuned.continuous and seen == [1.0]
    assert slider(tuned).knobs[0]["choices"] == [0, 0.5, 1, 4]
    tuned.turn("scale", 4)
    assert place(tuned.player.scene) == [0.4, 0.5]
    with pytest.raises(ValueError, match="Pass one of 0, 0.5, 1, 4"):
        tuned.turn("scale", 2)
    for bad in ((0, 1), (0, 2, 1), (0, 0, 1, 2), (2,), ()):
        with pytest.raises(ValueError, match="got"):
            Knob.among(bad, 2)


def test_named_choices_are_shown_and_read_out_by_name():
    """Bug: a reader who picks a family by an unexplained number."""
    ready = [scene_at({"x": x, "y": 0.5}) for x in (0.1, 0.9)]
    tuned = tune(lambda v: ready[int(v["of"])], {"of": Knob.named(("flow", "jumps"), 1, "family")})
    assert slider(tuned).knobs[0]["names"] == ["flow", "jumps"] and tuned.values == {"of": 1.0}
    tuned.turn("of", 0)
    assert place(tuned.player.scene) == [0.1, 0.5]
    for names, start in ((("alone",), 0), ((), 0), (("flow", "jumps"), 2)):
        with pytest.raises(ValueError, match="got"):
            Knob.named(names, start)
    with pytest.raises(ValueError, match="Pass one name for each choice"):
        Knob(0.0, 1.0, 0.0, None, "family", (0.0, 1.0), ("flow",))
