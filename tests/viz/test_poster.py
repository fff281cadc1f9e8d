"""Posters and pages: what is seen where nothing can play."""

import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from gentoolkit.viz import Scene
from gentoolkit.viz.colors import table
from gentoolkit.viz.output import mode
from tests.viz.test_scene import ALT, every_kind


def decode_png(data):
    """Read a PNG by the standard: checks each chunk's CRC, undoes filters 0 to 4."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert zlib.crc32(kind + body) == check
        parts[kind] = parts.get(kind, b"") + body
        at += 12 + length
    width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert (depth, color, interlace) == (8, 3, 0)
    raw = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert (raw[:, 0] == 0).all()  # no filter: the rows are the indices themselves
    return np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)[raw[:, 1:]]


def near(pixels, color, tolerance=12):
    return (np.abs(pixels.astype(int) - np.array(color)).max(axis=2) <= tolerance).sum()


def test_the_poster_is_a_png_with_every_panel_in_it():
    """Bug: a broken chunk, a wrong size, a layer that cannot be drawn or stays blank."""
    pixels = decode_png(every_kind().poster())
    height, width = pixels.shape[:2]
    assert width == 880 and 200 < height < 700
    for third in np.array_split(pixels, 3, axis=1):
        assert (third < 200).any(axis=2).mean() > 0.01


def one_point(x, y, **style):
    scene = Scene(1, alt=ALT)
    scene.panel((0, 1), (0, 1), axes=False).points([[x, y]], alpha=1.0, **style)
    return decode_png(scene.poster())


def test_a_point_is_drawn_where_it_is_and_as_large_as_said():
    """Bug: an axis upside down, left and right swapped, radius taken for diameter."""
    pixels = one_point(0.25, 0.75, color="#D55E00", size=20)
    rows, columns = np.nonzero((pixels < 250).any(axis=2))
    height, width = pixels.shape[:2]
    assert abs(columns.mean() / width - 0.25) < 0.03
    assert abs(rows.mean() / height - 0.25) < 0.03
    assert abs(near(pixels, (0xD5, 0x5E, 0)) / (np.pi * 100) - 1) < 0.12


def test_heat_shows_the_colour_map_with_row_zero_below():
    """Bug: a flipped heat map or a reversed colour map."""
    scene = Scene(1, alt=ALT)
    scene.panel((0, 1), (0, 1), axes=False).heat([[0.0, 0.0], [1.0, 1.0]], colormap="viridis")
    pixels = decode_png(scene.poster()).astype(int)
    middle = pixels[:, pixels.shape[1] // 2]
    assert np.abs(middle[20] - table("viridis")[255]).max() < 12
    assert np.abs(middle[-20] - table("viridis")[0]).max() < 12


def test_the_poster_shows_the_frame_that_is_asked_for():
    """Bug: a poster that ignores its frame, or a last frame that is the first."""
    scene = Scene(3, alt=ALT)
    scene.panel((0, 1), (0, 1), axes=False).points([[[0.1, 0.5]], [[0.5, 0.5]], [[0.9, 0.5]]])
    centres = []
    for frame in (0, 1, 2):
        pixels = decode_png(scene.poster(frame))
        centres.append(np.nonzero((pixels < 250).any(axis=2))[1].mean() / pixels.shape[1])
    np.testing.assert_allclose(centres, [0.12, 0.5, 0.88], atol=0.04)
    assert scene.poster() == scene.poster(2) != scene.poster(0)


def test_words_leave_ink_in_the_colour_of_words():
    """Bug: a title or a label that is not drawn."""

    def ink(**words):
        scene = Scene(1, alt=ALT)
        scene.panel((0, 1), (0, 1), **words).heat(np.zeros((2, 2)), colormap="greys")
        return near(decode_png(scene.poster()), (0x1F, 0x29, 0x33), 40)

    assert ink() == 0
    assert ink(title="log w") > 30 and ink(x_label="θ") > 3 and ink(y_label="density") > 50


def test_a_busy_poster_stays_small():
    """Bug: a poster that bursts the size of a committed notebook."""
    rng = np.random.default_rng(0)
    scene = Scene(2, alt=ALT)
    grid = np.exp(-(np.linspace(-2, 2, 64) ** 2))
    panel = scene.panel((-3, 3), (-3, 3), title="a panel")
    panel.heat(np.outer(grid, grid)).points(rng.normal(size=(2, 2000, 2)), size=4)
    assert len(scene.poster()) <= 35_000


class Page(HTMLParser):
    """Collects what a page asks the network for, and its pictures."""

    def __init__(self):
        super().__init__()
        self.images, self.addresses, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.images += [found] if tag == "img" else []
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[k] for k in ("src", "href") if k in found]


def test_a_fragment_is_deterministic_offline_and_has_its_poster():
    """Bug: a random id, a CDN, or no picture where scripts are not allowed."""
    text = every_kind().to_html()
    assert text == every_kind().to_html()
    page = Page()
    page.feed(text)
    assert page.images[0]["alt"] == ALT
    assert page.images[0]["src"].startswith("data:image/png;base64,")
    assert all(address.startswith("data:") for address in page.addresses)
    without_data = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)
    assert not re.search(r"https?://", without_data)
    other = Page()
    other.feed(every_kind(frames=4).to_html())
    assert other.ids != page.ids


def test_words_cannot_break_out_of_the_page():
    """Bug: a note with </script> that ends the script, a quote that ends the alt text."""
    alt = 'A "quoted" </script> text that is long enough to pass.'
    scene = Scene(1, alt=alt, notes=["</script><b>"])
    scene.panel((0, 1), (0, 1)).points([[0.5, 0.5]])
    text = scene.to_html()
    assert text.count("</script>") == 1
    page = Page()
    page.feed(text)
    assert page.images[0]["alt"] == alt


@pytest.mark.parametrize("name", ["live", "static", "poster"])
def test_the_mode_is_read_from_the_environment(monkeypatch, name):
    """Bug: a mode remembered from import time."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", name)
    assert mode() == name


def test_an_unknown_mode_is_refused(monkeypatch):
    """Bug: a typing mistake that silently means live."""
    monkeypatch.delenv("GENTOOLKIT_OUTPUT", raising=False)
    assert mode() == "live"
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "posters")
    with pytest.raises(ValueError, match="got 'posters'.*Set it to one of"):
        mode()
