"""Tiles of images that play."""

import numpy as np
import pytest
import torch

from gentoolkit.viz import Scene, picture_rows, strip, strip_rows
from tests.viz.kinds import unpack
from tests.viz.refused import refused

TIMES = np.linspace(1, 0, 4)


def images(n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((4, n, 5, 6))


def stored(scene: Scene) -> np.ndarray:
    layer = next(one for one in scene.spec["panels"][0]["layers"] if one["kind"] == "images")
    low, high = (scene.spec["arrays"][layer["values"]][end][0] for end in ("lo", "hi"))
    return low + unpack(scene.spec["arrays"], scene.buffer, layer["values"]) / 255 * (high - low)


def test_frames_images_and_rows_keep_their_order():
    """Bug: time and image swapped, or a flipped image."""
    given = images()
    scene = strip(given, TIMES, limits=(0, 1))
    assert scene.frames == 4 and scene.spec["times"] == TIMES.tolist()
    np.testing.assert_allclose(stored(scene), given, atol=0.51 / 255)
    channel = [torch.from_numpy(frame)[:, None] for frame in given]  # (N, 1, H, W) each
    assert strip(channel, TIMES, limits=(0, 1)).buffer == scene.buffer


def test_the_last_frame_sets_black_and_white():
    """Bug: noise that is louder than the images and leaves them grey."""
    given = images() * 40 - 20
    given[-1] = images()[-1] * 2 - 1
    shown = stored(strip(given, TIMES))
    np.testing.assert_allclose(shown[-1], given[-1], atol=2 / 255)
    assert shown[0].min() == given[-1].min() and shown[0].max() == given[-1].max()
    assert (
        np.unique(stored(strip(np.zeros((4, 2, 5, 5)), TIMES))).size == 1
    )  # no range to divide by


def test_labels_lie_under_their_own_tile():
    """Bug: words over the pictures, cut off at the edge, or under a neighbour."""
    scene = strip(np.zeros((4, 10, 8, 8)), TIMES, labels=range(10), columns=5, limits=(0, 1))
    panel = scene.spec["panels"][0]
    gap = panel["layers"][0]["gap"]
    for i, layer in enumerate(panel["layers"][1:]):
        x, y = unpack(scene.spec["arrays"], scene.buffer, layer["xy"])[0]
        assert layer["texts"] == [str(i)] and x == pytest.approx(i % 5 + 0.5, abs=1e-3)
        foot = panel["y"][1] - (i // 5) * (1 + gap) - 1
        assert foot - gap < y < foot


def test_rows_stand_one_above_the_other_with_their_names():
    """Bug: rows in another order than their names, or images of two rows mixed."""
    rows = {scale: images(seed=k) for k, scale in enumerate((0, 1.5, 4))}
    scene = strip_rows(rows, TIMES, row_label="guidance", limits=(0, 1))
    expected = np.concatenate(list(rows.values()), axis=1)
    np.testing.assert_allclose(stored(scene), expected, atol=0.51 / 255)
    panel = scene.spec["panels"][0]
    assert panel["x"] == [0, 3]
    texts = [layer["texts"][0] for layer in panel["layers"][1:]]
    assert texts == ["guidance 0", "guidance 1.5", "guidance 4"]
    heights = [unpack(scene.spec["arrays"], scene.buffer, one["xy"])[0, 1]
               for one in panel["layers"][1:]]  # fmt: skip
    assert heights == sorted(heights, reverse=True)
    assert "3 rows of 3 images turn from noise to pictures" in scene.alt
    assert "turn to noise" in strip(images(), TIMES[::-1]).alt


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: strip(np.zeros((4, 25)), TIMES), "images must be"),
        (lambda: strip(np.zeros((4, 3, 3, 5, 5)), TIMES), "images in all frames"),
        (lambda: strip([], []), "images must be"),
        (lambda: strip([np.zeros((3, 5, 5)), np.zeros((2, 5, 5))], [1, 0]), "images must be"),
        (lambda: strip(images() * np.nan, TIMES), "must be finite"),
        (lambda: strip(images(), TIMES[:3]), "times, one per frame"),
        (lambda: strip(images(), TIMES, labels=[1]), "labels must be"),
        (lambda: strip(images(), TIMES, columns=-1), "columns must be"),
        (lambda: strip(images(), TIMES, limits=(1, 0)), "limits"),
        (lambda: strip(images(), TIMES, alt="short"), "alt must"),
        (lambda: strip_rows({}, TIMES), "a row to show"),
        (lambda: strip_rows({1: images(), 2: images(2)}, TIMES), "rows must match"),
        (lambda: Scene(4, alt="Images of nothing at all.").panel((0, 1), (0, 1)).images(
            images(), gap=2.0), "gap"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_three_parts(build, match):
    """Bug: flattened images drawn as a line, or a label under the wrong one."""
    refused(build, match)


def test_pictures_that_stand_still_are_few_shades():
    """Catches a picture whose shades are not those of its values, or rows in another order."""
    scene = picture_rows(
        {"first": np.array([[-1.0, 0.1, 1.0, 3.0]]), "second": np.zeros((1, 1, 2, 2))},
        alt="Two small pictures, one above the other.", limits=(-1, 1), greys=3,
    )  # fmt: skip
    shades = stored(scene).reshape(2, 4)
    np.testing.assert_allclose(shades, [[0, 0.5, 1, 1], [0.5] * 4], atol=1 / 255)
    texts = [one["texts"][0] for one in scene.spec["panels"][0]["layers"] if one["kind"] == "text"]
    assert texts == ["first", "second"]


def test_pictures_of_other_shapes_are_refused():
    """Catches rows of pixels that make no square."""
    with pytest.raises(ValueError, match="rows of pixels"):
        picture_rows({"a": np.zeros((2, 5))}, alt="Two pictures that cannot be.")
