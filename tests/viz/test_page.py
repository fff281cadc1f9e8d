"""Pages and stills: what is seen where no kernel answers."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser

import pytest

from gentoolkit.viz import Scene
from gentoolkit.viz.output import mode
from gentoolkit.viz.page import SCENE
from tests.viz.kinds import ALT, every_kind


def test_a_still_is_words_and_the_scene_of_which_a_build_takes_a_picture(monkeypatch):
    """Bug: a lesson that needs a browser to run, or a poster of another frame or other numbers."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    scene = every_kind()
    data, metadata = scene._repr_mimebundle_()
    assert data == {"text/plain": ALT}
    sent = json.loads(json.dumps(metadata[SCENE]))  # it travels as JSON
    assert sent["spec"] == json.loads(json.dumps(scene.spec))
    assert zlib.decompress(base64.b64decode(sent["data"])) == scene.buffer
    for frame, index in ((0, 0), (-1, 2), (1, 1), (-3, 0)):
        assert Scene(3, alt=ALT, poster_frame=frame).spec["poster"] == index


class Page(HTMLParser):
    """Collects what a page asks the network for, and its words."""

    def __init__(self):
        super().__init__()
        self.addresses, self.ids, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[k] for k in ("src", "href") if k in found]

    def handle_data(self, data):
        self.words.append(data)


def test_a_fragment_is_deterministic_offline_and_has_its_words():
    """Bug: a random id, a CDN, or an empty place where scripts are not allowed."""
    text = every_kind().to_html()
    assert text == every_kind().to_html()
    page = Page()
    page.feed(text)
    assert page.words[0] == ALT and page.addresses == []
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
    assert page.words[0] == alt


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
