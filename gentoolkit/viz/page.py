"""Pages without a kernel: the same drawing modules, the numbers and a poster in one fragment."""

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any


def _asset(name: str) -> str:
    # Read as data: importing gentoolkit.widgets here would load ipywidgets.
    return (files("gentoolkit") / "widgets" / name).read_text(encoding="utf-8")


@cache
def module() -> str:
    """Read the ES module of all widgets, which is bundled from ``widgets/js`` by ``make js``.

    Returns:
        The source of one module without imports: anywidget and a data: address can load it.
    """
    return _asset("bundle.js")


@cache
def stylesheet() -> str:
    """Read the style sheet of all widgets.

    Returns:
        CSS whose every rule lies under a class that starts with ``gt-``.
    """
    return _asset("player.css")


def fragment(spec: dict[str, Any], buffer: bytes, poster: bytes, alt: str) -> str:
    """Write a fragment of HTML that plays by itself, also from ``file://``, several on a page.

    The poster stands in the place until the script runs, and stays where scripts are not allowed.

    Arguments:
        spec: the JSON description.
        buffer: its numbers.
        poster: a PNG.
        alt: the alternative text.

    Returns:
        The fragment; equal inputs give equal text, and the ids come from the content.
    """
    source = module()
    text = json.dumps(spec, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    digest = hashlib.sha256(text.encode() + buffer).hexdigest()[:12]
    key = f"gentoolkit-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    data = base64.b64encode(zlib.compress(buffer, 9)).decode()
    code = base64.b64encode(source.encode()).decode()
    picture = base64.b64encode(poster).decode()
    # Two equal scenes on one page have the same id, so each script takes the first place that is
    # still free; the marker also stops a page that runs its scripts twice from mounting twice.
    return (
        f'<div class="gt-mount" id="gt-{digest}" data-gt="{digest}">'
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{picture}" '
        'style="max-width:100%;height:auto"></div>\n'
        f"<style>{stylesheet()}</style>\n"
        '<script type="module">\n'
        f"const place = document.querySelector('[data-gt=\"{digest}\"]:not([data-gt-taken])');\n"
        "if (place) {\n"
        '  place.dataset.gtTaken = "yes";\n'
        f'  window["{key}"] ??= import("data:text/javascript;base64,{code}");\n'
        f'  (await window["{key}"]).mountStatic(place, {text}, "{data}");\n'
        "}\n"
        "</script>\n"
    )


def bundle(
    mode: str, alt: str, html_text: Callable[[], str], poster: Callable[[], bytes]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the output of a cell that needs no widget, with one picture in it.

    Arguments:
        mode: ``static`` or ``poster``.
        alt: the alternative text.
        html_text: writes the fragment that plays.
        poster: draws the PNG.

    Returns:
        The data and the metadata of a Jupyter MIME bundle.
    """
    if mode == "static":
        return {"text/html": html_text(), "text/plain": alt}, {}
    picture = base64.b64encode(poster()).decode()
    return {"image/png": picture, "text/plain": alt}, {"image/png": {"alt": alt}}
