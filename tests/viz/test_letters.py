"""Words and tunes that are filled in: what is drawn, in which colour, and what is refused."""

import numpy as np
import pytest

from gentoolkit.viz import Scene, piano_roll, word_grid
from gentoolkit.viz.colors import PUSH, TOKEN_MASK, TOKEN_PUSH, TOKEN_WEAVE
from tests.viz.kinds import unpack

WORDS = np.array([[[0, 3, 3]], [[0, 3, 2]], [[0, 1, 2]]])  # a__, a_c, abc
TIMES = np.array([1.0, 0.5, 0.0])
NAN = np.nan


def layers(scene: Scene, kind: str, panel: int = 0) -> list[dict]:
    return [one for one in scene.spec["panels"][panel]["layers"] if one["kind"] == kind]


def read(scene: Scene, name: str) -> np.ndarray:
    return unpack(scene.spec["arrays"], scene.buffer, name)


def test_letters_appear_where_and_when_they_are_filled_in():
    """Bug: a letter in another cell or frame, a given letter in blue, a blank without its weave."""
    scene = word_grid(WORDS, TIMES, letters="abc")
    texts = layers(scene, "text")
    assert [one["texts"] for one in texts] == [["a"] * 3, [" ", " ", "b"], [" ", "c", "c"]]
    assert texts[0]["color"] != PUSH and texts[1]["color"] == texts[2]["color"] == PUSH
    (image,) = layers(scene, "images")
    pixels = read(scene, image["values"])  # (3, 3, 6, 6)
    assert set(np.unique(pixels[0, 1])) == {TOKEN_MASK, TOKEN_WEAVE}
    assert (pixels[1, 2, -1] == TOKEN_PUSH).all() and (pixels[2, 2] == 0).all()
    assert (pixels[:, 0] == 0).all()
    assert "1 letters have jumped, 1 are blank" in scene.spec["notes"][1]
    assert "abc" in scene.alt


def test_words_stand_side_by_side_in_reading_order():
    """Bug: columns that hold other words."""
    two = np.repeat(np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1]])[None], 2, 0)
    scene = word_grid(two, [1.0, 0.0], letters="abc", columns=2)
    assert len(scene.spec["panels"]) == 2
    assert [t["texts"][0] for t in layers(scene, "text", 1)] == ["c", "b", "a"]
    assert [t["texts"][0] for t in layers(scene, "text", 0)] == ["a", "b", "c", "b", "b", "b"]


def test_a_tune_is_strokes_of_pitch_in_the_colour_of_who_wrote_them():
    """Bug: a stroke at another pitch, a masked moment that is drawn, a held note that is cut."""
    first = [[60.0, 60.0, NAN, 64.0]]
    last = [[60.0, 60.0, 62.0, 64.0]]
    scene = piano_roll(
        [first, last], [1.0, 0.0], titles=["tune"], held=[[[0, 1, 0, 0]]] * 2,
        given=[True, True, False, True], moments=2,
    )  # fmt: skip
    walls, given, filled = layers(scene, "lines")
    assert filled["color"] == PUSH != given["color"] and walls["width"] == 1.0
    strokes = read(scene, filled["xy"])  # (2, 4, 2, 2)
    low, high = scene.spec["panels"][0]["y"]
    seen = (strokes[..., 1] <= high).all(-1)
    assert seen.tolist() == [[False] * 4, [False, False, True, False]]
    np.testing.assert_allclose(strokes[1, 2, :, 1], 62.0, atol=0.01)
    black = read(scene, given["xy"])[0]
    assert black[1, 0, 0] == pytest.approx(1.0, abs=0.01)  # held: no gap before it
    assert black[3, 0, 0] > 3.1
    assert "1 of 4 moments are empty" in scene.spec["notes"][0]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: word_grid(WORDS + 9, TIMES, letters="abc"), "tokens of words"),
        (lambda: word_grid(WORDS, TIMES[:2], letters="abc"), "one per frame"),
        (lambda: word_grid(WORDS, TIMES, letters="abc", columns=0), "columns"),
        (lambda: piano_roll([[[60.0]]], [0.0], titles=[]), "one title each"),
        (lambda: piano_roll([[[NAN]]], [0.0], titles=["a"]), "one title each"),
        (lambda: piano_roll([[[60.0]]], [0.0], titles=["a"], given=[True] * 2), "given must fit"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, message):
    """Catches a picture of nothing, or of the wrong cells."""
    with pytest.raises(ValueError, match=message):
        wrong()
