"""Grids of tokens: ink, masks, the marks of jumps, and what is refused."""

import numpy as np
import pytest
import torch

from gentoolkit.viz import Scene, token_grid, token_rows
from gentoolkit.viz.colors import (
    PULL,
    PUSH,
    TOKEN_INK,
    TOKEN_MASK,
    TOKEN_PULL,
    TOKEN_PUSH,
    TOKEN_WEAVE,
    rgb,
    table,
)
from tests.viz.kinds import unpack
from tests.viz.refused import refused

FALLING = np.array([1.0, 0.5, 0.0])
GRIDS = np.array([[[[2, 2], [2, 2]]], [[[2, 1], [2, 2]]], [[[0, 1], [1, 0]]]])  # (3, 1, 2, 2)


def pixels(scene: Scene) -> np.ndarray:
    layer = next(one for one in scene.spec["panels"][0]["layers"] if one["kind"] == "images")
    return unpack(scene.spec["arrays"], scene.buffer, layer["values"])


def cell(image: np.ndarray, row: int, column: int) -> np.ndarray:
    return image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]


def test_masks_are_woven_tokens_are_ink_and_jumps_are_dotted():
    """Bug: a mask told by colour alone, ink of another token, a dot in the wrong cell."""
    scene = token_grid(GRIDS, FALLING, size=3, mask=-1)
    shown = pixels(scene)
    assert shown.shape == (3, 1, 6, 6)
    assert set(np.unique(shown[0])) == {TOKEN_MASK, TOKEN_WEAVE}
    ink = cell(shown[1, 0], 0, 1)
    assert ink[1, 1] == TOKEN_PUSH and set(ink.ravel()) == {TOKEN_PUSH, TOKEN_INK}
    assert set(np.unique(cell(shown[1, 0], 1, 0))) == {TOKEN_MASK, TOKEN_WEAVE}
    last = shown[2, 0]
    assert cell(last, 0, 0)[0, 0] == 0 and cell(last, 0, 0)[1, 1] == TOKEN_PUSH
    assert (cell(last, 0, 1) == TOKEN_INK).all()  # did not jump again
    notes = scene.spec["notes"]
    assert notes[0].endswith("4 are masked.")
    assert "1 of 4 tokens have jumped, 3 are masked" in notes[1]
    assert "3 of 4 tokens have jumped, 0 are masked" in notes[2]
    back = pixels(token_grid(GRIDS[::-1], FALLING[::-1], size=3, mask=2))
    assert TOKEN_PULL in back[1] and TOKEN_PUSH not in back
    assert not scene.spec["smooth"] and "from noise to data" in scene.alt


def test_levels_of_ink_leave_out_the_mask():
    """Bug: a mask in the middle that shifts the ink, or sixteen levels that are not even."""
    row = np.arange(4).reshape(1, 1, 1, 4)
    shown = pixels(token_grid(row, [0.0], size=4, mask=1))[0, 0]
    firsts = [cell(shown, 0, k)[0, 0] for k in range(4)]
    assert firsts == [0, TOKEN_MASK, round(TOKEN_INK / 2), TOKEN_INK]
    grey = np.arange(16).reshape(1, 1, 4, 4)
    even = pixels(token_grid(grey, [0.0], size=16))[0, 0].ravel()
    assert even.shape == (16,) and np.abs(even - np.arange(16) * TOKEN_INK / 15).max() <= 0.5
    binary = pixels(token_grid(grey % 2, [0.0], size=2))[0, 0]
    assert set(binary.ravel()) == {0, TOKEN_INK}


def test_tokens_in_a_row_states_of_a_sampler_and_rows():
    """Bug: rows read as columns, the second sampler above the first, names under other tiles."""
    flat = [torch.arange(6).reshape(1, 6) % 2, torch.ones(1, 6, dtype=torch.long)]
    one = token_grid(flat, [1.0, 0.0], size=2, shape=(2, 3))
    assert (pixels(one)[0, 0, 1::3, 1::3] / TOKEN_INK).tolist() == [[0, 1, 0], [1, 0, 1]]
    zeros, ones = np.zeros((2, 3, 2, 2)), np.ones((2, 3, 2, 2))
    rows = token_rows({"Euler": zeros, "analytic": ones}, [1.0, 0.0], size=2)
    assert pixels(rows)[0].max((1, 2)).tolist() == [0, 0, 0, *[TOKEN_INK] * 3]
    texts = [t for t in rows.spec["panels"][0]["layers"] if t["kind"] == "text"]
    assert [t["texts"] for t in texts] == [["Euler"], ["analytic"]]
    assert "2 rows of 3 grids" in rows.alt and "Euler, analytic" in rows.alt
    named = token_grid(zeros, [1.0, 0.0], size=2, labels="abc", columns=2)
    assert [t["texts"][0] for t in named.spec["panels"][0]["layers"][1:]] == ["a", "b", "c"]


def test_the_map_of_tokens_is_ink_followed_by_marks():
    """Bug: marks that slide into the ink, or ink that does not start at white."""
    colors = table("tokens")
    assert colors.shape == (256, 3) and colors[0].tolist() == [255, 255, 255]
    assert colors[TOKEN_INK].tolist() == table("greys")[255].tolist()
    assert tuple(colors[TOKEN_PUSH]) == rgb(PUSH) and tuple(colors[TOKEN_PULL]) == rgb(PULL)
    light, dark = colors[TOKEN_MASK].astype(int).sum(), colors[TOKEN_WEAVE].astype(int).sum()
    assert light - dark > 100  # the weave is seen without colour


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: token_grid(GRIDS, FALLING, size=2), "tokens of size="),
        (lambda: token_grid(GRIDS + 0.5, FALLING, size=4), "tokens of size="),
        (lambda: token_grid(GRIDS, FALLING, size=3, mask=3), "mask must be"),
        (lambda: token_grid(GRIDS, FALLING[:2], size=3), "times, one per frame"),
        (lambda: token_grid(GRIDS[:, 0], FALLING, size=3), "tokens (must be|in all frames)"),
        (
            lambda: token_grid(GRIDS.reshape(3, 1, 4), FALLING, size=3, shape=(3, 2)),
            "tokens (must be|in all frames)",
        ),
        (lambda: token_grid(GRIDS, FALLING, size=3, columns=0), "columns must be"),
        (lambda: token_grid(GRIDS, FALLING, size=3, labels="ab"), "labels"),
        (lambda: token_rows({}, FALLING, size=3), "a row to show"),
        (lambda: token_rows({"a": GRIDS, "b": GRIDS[:2]}, FALLING, size=3), "rows must match"),
        (
            lambda: token_grid(np.zeros((60, 60, 8, 8)), np.arange(60.0), size=2, mask=1),
            "too large",
        ),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Bug: a picture of tokens that do not exist."""
    refused(wrong, words)
