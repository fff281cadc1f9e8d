"""Posters: pictures of the player, taken by the build, hold what the scene says, where it says."""

import io

import numpy as np
import pytest
from PIL import Image

from gentoolkit.viz import Scene, token_grid
from gentoolkit.viz.colors import PUSH, TOKEN_WEAVE, rgb, table
from gentoolkit.viz.page import SCENE
from tests.viz.kinds import ALT, every_kind
from tools.figures import POSTER_SCALE as SCALE
from tools.figures import POSTER_WIDTHS, Painter

pytestmark = pytest.mark.browser

INK, RED, GREEN = (0x1F, 0x29, 0x33), (0xB2, 0x18, 0x2B), (0x00, 0x9E, 0x73)
BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
CORNERS = "#8C564B"
EDGE, TOP = 1, 8  # pixels between a canvas and its plot area, where there are no axes and no title


@pytest.fixture(scope="module")
def painter(chromium):
    with Painter(chromium) as painter:
        yield painter


@pytest.fixture
def poster(painter, monkeypatch):
    """What takes the picture of a scene, as bytes."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")

    def take(scene):
        sent = scene.bundle()[1][SCENE]
        return painter.poster(sent["spec"], sent["data"])

    return take


def pixels_of(png):
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.mode == "P"  # a palette: a third of the size
    return np.asarray(picture.convert("RGB")).astype(int)


def like(pixels, color, tolerance=12):
    return np.abs(pixels - np.array(color)).max(axis=2) <= tolerance


def square(painter):
    """The plot area of the only panel of the poster taken last: left, top and side in pixels."""
    box = next(iter(painter._pages.values())).locator("canvas").bounding_box()
    return SCALE * (box["x"] + EDGE), SCALE * (box["y"] + TOP), SCALE * (box["width"] - 2 * EDGE)


def middle_of(painter, mask):
    """Mean place of a mask's pixels in the units of a panel from 0 to 1, y upward."""
    left, top, side = square(painter)
    rows, columns = np.nonzero(mask)
    assert len(rows) > 0
    return [(columns.mean() + 0.5 - left) / side, 1 - (rows.mean() + 0.5 - top) / side]


def plain(frames=1, **options):
    scene = Scene(frames, alt=ALT, **options)
    return scene, scene.panel((0, 1), (0, 1), axes=False)


def test_two_posters_are_the_same_bytes_and_every_panel_is_in_them(poster, chromium):
    """Bug: a picture taken before it was drawn, a layer that cannot be drawn, a blank panel."""
    first = poster(every_kind())
    assert poster(token_grid([np.eye(2)[None]] * 2, [1, 0], size=2)) != first  # on the same page
    assert poster(every_kind()) == first
    pixels = pixels_of(first)
    height, width = pixels.shape[:2]
    assert width == POSTER_WIDTHS[3] * SCALE and 300 < height < 900
    for third in np.array_split(pixels, 3, axis=1):
        assert (third < 200).any(axis=2).mean() > 0.01


def test_a_point_is_drawn_where_it_is_and_as_large_as_said(poster, painter):
    """Bug: an axis upside down, left and right swapped, radius taken for diameter."""
    scene, panel = plain()
    panel.points([[0.25, 0.75]], color="#D55E00", size=20, alpha=1.0)
    found = like(pixels_of(poster(scene)), ORANGE, 100)
    assert middle_of(painter, found) == pytest.approx([0.25, 0.75], abs=0.003)
    assert found.sum() == pytest.approx(np.pi * 100 * SCALE**2, rel=0.1)


def test_heat_shows_the_colour_map_with_row_zero_below(poster):
    """Bug: a flipped heat map or a reversed colour map."""
    scene, panel = plain()
    panel.heat([[0.0, 0.0], [1.0, 1.0]], colormap="viridis")
    pixels = pixels_of(poster(scene))
    middle = pixels[:, pixels.shape[1] // 2]
    assert np.abs(middle[40] - table("viridis")[255]).max() < 14
    assert np.abs(middle[-40] - table("viridis")[0]).max() < 14


def test_the_poster_shows_its_frame_and_that_frames_note(poster, painter):
    """Bug: a poster that ignores its frame, or the words of another one."""
    shown = []
    for frame in (0, 1, -1):
        scene, panel = plain(3, poster_frame=frame, notes=["", "a", "a rather long note"])
        panel.points([[[0.1, 0.5]], [[0.5, 0.5]], [[0.9, 0.5]]], alpha=1.0)
        pixels = pixels_of(poster(scene))
        shown.append(middle_of(painter, like(pixels, BLUE)))
        left, top, side = square(painter)
        note = (pixels[round(top + side) + 6 :] < 128).any(axis=2).sum()
        shown[-1].append(note)
    np.testing.assert_allclose([x for x, _, _ in shown], [0.1, 0.5, 0.9], atol=0.005)
    assert shown[0][2] == 0 < shown[1][2] < shown[2][2] / 5


def test_words_leave_ink_in_the_colour_of_words(poster):
    """Bug: a title or a label that is not drawn."""

    def ink(**words):
        scene = Scene(1, alt=ALT)
        scene.panel((0, 1), (0, 1), **words).heat(np.zeros((2, 2)), colormap="greys")
        return like(pixels_of(poster(scene)), INK, 40).sum()

    assert ink() == 0
    assert (
        ink(title="log w") > 100
        and ink(x_label="the number of the state") > 30
        and ink(y_label="density") > 50
    )


def test_nothing_in_a_poster_asks_to_be_pressed(poster, painter):
    """Bug: a Play button in a picture that cannot play."""
    scene, panel = plain(2)
    panel.points(np.zeros((2, 3, 2))).accounts([0, 1], np.zeros((2, 3)))
    poster(scene)
    page = next(iter(painter._pages.values()))
    assert not any(button.is_visible() for button in page.locator("button, input, select").all())
    assert page.locator(".gt-picked").is_visible()  # whose account it is, in words


def test_a_busy_poster_stays_small(poster):
    """Bug: a poster that bursts the size of a committed notebook."""
    rng = np.random.default_rng(0)
    scene = Scene(2, alt=ALT)
    grid = np.exp(-(np.linspace(-2, 2, 64) ** 2))
    panel = scene.panel((-3, 3), (-3, 3), title="a panel")
    panel.heat(np.outer(grid, grid)).points(rng.normal(size=(2, 2000, 2)), size=4)
    assert len(poster(scene)) <= 45_000


def test_crosses_lie_on_the_points_that_missed(poster, painter):
    """Bug: a cross for the wrong particle, or a disc below it."""
    scene, panel = plain(2, poster_frame=0)
    points = [[[0.8, 0.8], [0.5, 0.1]]] * 2
    panel.points(points, crossed=[True, False], color="#009E73", size=14, alpha=1)
    pixels = pixels_of(poster(scene))
    assert middle_of(painter, like(pixels, RED)) == pytest.approx([0.8, 0.8], abs=0.004)
    assert middle_of(painter, like(pixels, GREEN)) == pytest.approx([0.5, 0.1], abs=0.004)


def test_the_probe_points_at_what_its_field_gives(poster, painter):
    """Bug: a ring at a mirrored place, or of another frame."""
    corners = np.stack(np.meshgrid([0.0, 1.0], [0.0, 1.0]), axis=2)
    for frame, (x, y) in ((0, (0.1, 0.45)), (1, (0.2, 0.9))):
        scene, panel = plain(2, poster_frame=frame)
        panel.probe(np.stack([0.5 * corners, corners]), start=(0.2, 0.9))
        rows, columns = np.nonzero(like(pixels_of(poster(scene)), INK, 40))
        left, top, side = square(painter)
        away = np.hypot(columns + 0.5 - left - x * side, rows + 0.5 - top - (1 - y) * side) / SCALE
        assert ((away > 7) & (away < 11)).sum() > 100  # a ring of radius 9


def test_the_account_and_the_path_of_the_first_point_are_drawn(poster):
    """Bug: another point's curve, no marker, no path, or no line to where it is expected."""
    scene = Scene(2, alt=ALT)
    panel = scene.panel((0, 1), (0, 1), axes=False, equal=False)
    panel.accounts([0, 1], [[0.25, 0.8], [0.25, 0.8]], color="#D55E00", others=2)
    pixels = pixels_of(poster(scene))
    rows, columns = np.nonzero(like(pixels, ORANGE))
    assert np.ptp(columns) > 0.9 * pixels.shape[1] and np.ptp(rows) < 20 * SCALE
    assert np.argmax(np.bincount(columns)) > 0.9 * pixels.shape[1]  # the marker, at the end

    def dark(accounts, ghosts=None):
        made = Scene(2, alt=ALT)
        plane = made.panel((0, 1), (0, 1), axes=False)
        plane.points([[[0.1, 0.5]], [[0.9, 0.5]]], color="#009E73", ghosts=ghosts)
        side = made.panel((0, 1), (0, 1), equal=False, axes=False)
        if accounts:
            side.accounts([0, 1], [[0.5], [0.5]])
        picture = pixels_of(poster(made))
        return like(picture[: picture.shape[0] * 3 // 4], INK).sum()  # without the words below

    assert dark(False) == 0
    assert dark(True) > 400
    assert dark(True, [[[0.5, 0.9]]] * 2) > dark(True) + 150


def test_a_ribbon_is_as_wide_as_said_and_lies_on_its_right(poster, painter):
    """Bug: half the width, the left side, a head that points back, or dashes without gaps."""

    def ribbon(width, **style):
        scene, panel = plain()
        line = [[[0.1, 0.5], [0.9, 0.5]]]
        panel.ribbons(line, [width], color="#0072B2", alpha=1.0, **style)
        return like(pixels_of(poster(scene)), BLUE, 60)

    for width in (4.0, 12.0):
        ink = ribbon(width)
        _, top, side = square(painter)
        middle = np.flatnonzero(ink[:, ink.shape[1] // 2])
        assert len(middle) == pytest.approx(width * SCALE, abs=2)
        below = middle.mean() + 0.5 - top - side / 2
        assert below == pytest.approx((1 + width / 2) * SCALE, abs=1)
        columns = np.flatnonzero(ink.any(0))
        tip, barb = (ink[:, columns.max() - k].sum() for k in (2, 8))
        assert tip < barb - 3 and ink[:, columns[3]].sum() <= width * SCALE + 2
    whole = ribbon(6.0).sum()
    assert 0.5 < ribbon(6.0, dash=True).sum() / whole < 0.85
    with pytest.raises(RuntimeError, match="empty picture"):
        ribbon(0.2)
    along = np.flatnonzero(ribbon(8.0, beside=False)[:, ink.shape[1] // 2])
    assert along.mean() + 0.5 - square(painter)[1] == pytest.approx(square(painter)[2] / 2, abs=1)


def test_tokens_keep_the_colours_of_their_marks(poster):
    """Bug: a palette that loses the few dots of a jump."""
    generator = np.random.default_rng(0)
    data, level = generator.integers(0, 2, (4, 8, 8)), generator.random((4, 8, 8))
    frames = [np.where(level < t, 2, data) for t in np.linspace(1, 0, 9)]
    scene = token_grid(frames, np.linspace(1, 0, 9), size=3, mask=-1)
    scene._spec["poster"] = 4
    pixels = pixels_of(poster(scene))
    assert like(pixels, rgb(PUSH)).sum() > 50
    assert like(pixels, table("tokens")[TOKEN_WEAVE]).sum() > 1000


def test_ticks_of_a_wide_axis_and_lines_that_leave_it_are_drawn_right(poster, painter):
    """Bug: a line to (100, 10) drawn with slope 1 in a panel from -1 to 1."""
    scene = Scene(1, alt=ALT)
    panel = scene.panel((-1, 1), (-1, 1), axes=False)
    panel.lines([[[0, 0], [100, 10]]], color="#D55E00", width=2.0)
    rows, columns = np.nonzero(like(pixels_of(poster(scene)), ORANGE))
    slope = np.polyfit(columns, -rows, 1)[0]
    assert slope == pytest.approx(0.1, abs=0.003)
