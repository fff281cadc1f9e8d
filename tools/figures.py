"""Take the pictures of stored notebooks in an offline Chromium: charts, and posters of scenes."""

import base64
import io
import json
import os
import shutil
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

from nbformat import NotebookNode
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from gentoolkit.viz.page import SCENE, module, stylesheet

PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT, SCALE = 760, 420, 1.5
POSTER_WIDTHS = {1: 440, 2: 700, 3: 840}
"""Width of a poster by the number of panels in a row, in the player's own pixels."""
POSTER_SCALE = 1.25
COLORS, LARGE = 128, 40_000
"""Colours of a picture, and the bytes from which on it gets half as many."""
# No name but the loopback resolves, so a chart that needs the network shows here, not at a reader.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_CHART = """async ([figure, width, height, scale]) => {
  const config = {staticPlot: true, displaylogo: false};
  const whole = {data: figure.data, layout: figure.layout || {}, config: config};
  const address = await Plotly.toImage(whole, {format: 'png', width, height, scale});
  return address.slice(address.indexOf(',') + 1);
}"""
# What a still picture cannot do is left out, and so is the card's rim.
_POSTER_STYLE = """
body { margin: 0; background: #fff; }
.gt-player { margin: 0; padding: 8px 10px; border: 0; border-radius: 0; box-shadow: none; }
.gt-player .gt-bar, .gt-player .gt-step { display: none; }
.gt-player .gt-picked { text-align: left; }
"""
_POSTER = """async ([spec, data, width]) => {
  const place = document.querySelector('main');
  window.stopped?.stop();
  place.style.width = `${width}px`;
  window.stopped = await (await window.gentoolkit).mountStatic(place, spec, data, spec.poster);
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def chromium() -> str:
    """Find a Chromium on this machine.

    Returns:
        The path of its program.

    Raises:
        RuntimeError: if there is none.
    """
    named = os.environ.get("GENTOOLKIT_CHROMIUM")
    for name in (named, "chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise RuntimeError(
        "drawing the charts needs Chromium; got no program of that name; install it "
        "(Debian: apt-get install chromium), or put its path in GENTOOLKIT_CHROMIUM"
    )


class Painter:
    """A browser that draws charts and scenes; started at the first picture, closed by `with`.

    Arguments:
        browser: one that already runs, which is left open; a new one if None.
    """

    def __init__(self, browser: Browser | None = None) -> None:
        self._browser = browser
        self._playwright: Playwright | None = None
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for page in self._pages.values():
            page.context.close()
        if self._playwright is not None:
            if self._browser is not None:
                self._browser.close()
            self._playwright.stop()

    def _page(self, content: str) -> Page:
        """Open a page once and keep it; its pixels are finer than the screen's."""
        if content not in self._pages:
            if self._browser is None:
                program = chromium()
                self._playwright = sync_playwright().start()
                self._browser = self._playwright.chromium.launch(
                    executable_path=program, headless=True, args=FLAGS
                )
            context = self._browser.new_context(
                device_scale_factor=POSTER_SCALE, reduced_motion="reduce"
            )
            self._pages[content] = context.new_page()
            self._pages[content].set_content(content)
        return self._pages[content]

    def chart(self, figure: dict[str, Any]) -> bytes:
        """Draw one chart.

        Arguments:
            figure: plotly's JSON, `data` and `layout`.

        Returns:
            A PNG file.
        """
        page = self._page("<!doctype html><title>charts</title><body></body>")
        if page.evaluate("() => typeof Plotly") == "undefined":
            script = files("plotly") / "package_data" / "plotly.min.js"
            page.add_script_tag(content=script.read_text(encoding="utf-8"))
        layout = figure.get("layout") or {}
        width = int(layout.get("width") or WIDTH)
        height = int(layout.get("height") or HEIGHT)
        return small(base64.b64decode(page.evaluate(_CHART, [figure, width, height, SCALE])))

    def poster(self, spec: dict[str, Any], data: str) -> bytes:
        """Take a picture of the player that shows the scene's poster frame.

        Arguments:
            spec: the scene's description.
            data: its numbers, deflated, as base64.

        Returns:
            A PNG file.
        """
        code = base64.b64encode(module().encode()).decode()
        page = self._page(
            f"<!doctype html><style>{stylesheet()}{_POSTER_STYLE}</style><main></main>"
            f'<script>gentoolkit = import("data:text/javascript;base64,{code}")</script>'
        )
        page.evaluate(_POSTER, [spec, data, poster_width(spec["panels"])])
        return small(page.locator(".gt-player").screenshot(animations="disabled"))


def poster_width(panels: list[dict[str, Any]]) -> int:
    """Choose the width of a poster, so that its panels stand three in a row at most.

    Arguments:
        panels: of the scene's spec.

    Returns:
        Pixels.
    """
    rows = -(-len(panels) // 3)
    width = POSTER_WIDTHS[-(-len(panels) // rows)]
    widest = max(panel["weight"] for panel in panels)
    return round(width * min(1.75, max(1.0, widest))) if len(panels) == 1 else width


def small(picture: bytes) -> bytes:
    """Write a picture with at most 128 colours: a fifth of the size.

    Large ones, such as thousands of points over a shaded density, get half as many.

    Arguments:
        picture: a PNG file, of any colours.

    Returns:
        A PNG file; the same picture always gives the same bytes.

    Raises:
        RuntimeError: the picture is blank.
    """
    whole = Image.open(io.BytesIO(picture)).convert("RGBA")
    flat = Image.new("RGB", whole.size, "white")
    flat.paste(whole, mask=whole)
    if flat.getcolors(1) is not None:
        raise RuntimeError(
            "the browser must draw something; got an empty picture; open it in JupyterLab and "
            "read the browser's console"
        )
    few = _indexed(flat, COLORS)
    return few if len(few) <= LARGE else _indexed(flat, COLORS // 2)


def _indexed(picture: Image.Image, count: int) -> bytes:
    # No smooth method serves the few dots of a rare colour as well as this one.
    method = Image.Quantize.MAXCOVERAGE
    indexed = picture.quantize(count, method, kmeans=1, dither=Image.Dither.NONE)
    written = io.BytesIO()
    indexed.save(written, "PNG", optimize=True)
    return written.getvalue()


def paint(output: NotebookNode, painter: Painter) -> None:
    """Put a picture in the place of what an output describes, and keep its words.

    Arguments:
        output: of a cell, run in poster mode; changed in place if it holds a chart or a scene.
        painter: what draws.
    """
    data, words = output.get("data", {}), output.get("data", {}).get("text/plain", "")
    scene = output.get("metadata", {}).pop(SCENE, None)
    if scene is not None:
        picture = painter.poster(scene["spec"], scene["data"])
    elif PLOTLY in data:
        figure = data[PLOTLY]
        picture = painter.chart(json.loads(figure) if isinstance(figure, str) else figure)
    else:
        return
    encoded = base64.b64encode(picture).decode()
    output.data = NotebookNode({"image/png": encoded, "text/plain": words})
    if scene is not None:
        output.metadata["image/png"] = NotebookNode({"alt": words})
