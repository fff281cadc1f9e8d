"""Turn plotly charts into pictures with one page of an offline Chromium."""

import base64
import json
import os
import shutil
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

import numpy as np
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tools import png

PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT, SCALE = 760, 420, 1.5
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
_DRAW = """async ([figure, width, height, scale]) => {
  const config = {staticPlot: true, displaylogo: false};
  const whole = {data: figure.data, layout: figure.layout || {}, config: config};
  const picture = new Image();
  picture.src = await Plotly.toImage(whole, {format: 'png', width, height, scale});
  await picture.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const pen = canvas.getContext('2d');
  pen.fillStyle = 'white';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  const pieces = [];
  for (let i = 0; i < pixels.length; i += 32768) {
    pieces.push(String.fromCharCode(...pixels.subarray(i, i + 32768)));
  }
  return [canvas.width, canvas.height, btoa(pieces.join(''))];
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
    """A browser page that draws charts; started at the first chart, closed by `with`."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._page: Page | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def _open(self) -> Page:
        if self._page is None:
            program = chromium()
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(
                executable_path=program, headless=True, args=FLAGS
            )
            self._page = self._browser.new_page()
            self._page.set_content("<!doctype html><title>charts</title><body></body>")
            script = files("plotly") / "package_data" / "plotly.min.js"
            self._page.add_script_tag(content=script.read_text(encoding="utf-8"))
        return self._page

    def png(self, figure: dict[str, Any]) -> str:
        """Draw one chart.

        Arguments:
            figure: plotly's JSON, `data` and `layout`.

        Returns:
            The picture as base64 text.
        """
        layout = figure.get("layout") or {}
        width = int(layout.get("width") or WIDTH)
        height = int(layout.get("height") or HEIGHT)
        across, down, drawn = self._open().evaluate(_DRAW, [figure, width, height, SCALE])
        pixels = np.frombuffer(base64.b64decode(drawn), np.uint8).reshape(down, across, 4)
        if (pixels == 255).all():
            raise RuntimeError(
                "the browser must draw something; got an empty picture; open the chart in "
                "JupyterLab and read the browser's console"
            )
        return base64.b64encode(png.write(pixels[:, :, :3])).decode()


def paint(data: dict[str, Any], by: Painter) -> dict[str, Any]:
    """Replace a chart's JSON by its picture.

    Arguments:
        data: an output's mime bundle.
        by: the page that draws.

    Returns:
        The bundle with `image/png` in the place of plotly's JSON, and its text kept.
    """
    if PLOTLY not in data:
        return data
    figure = data[PLOTLY]
    parsed = json.loads(figure) if isinstance(figure, str) else figure
    return {"image/png": by.png(parsed), "text/plain": data.get("text/plain", "")}
