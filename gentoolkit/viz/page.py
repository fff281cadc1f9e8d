"""Pages without a kernel: the drawing module and the numbers in one fragment."""

import base64
import hashlib
import html
import json
import zlib
from functools import cache
from importlib.resources import files
from typing import Any

SCENE = "gentoolkit.scene"
"""Where an output's metadata hold the scene of which a build takes a picture."""


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


def _packed(buffer: bytes) -> str:
    return base64.b64encode(zlib.compress(buffer, 9)).decode()


def fragment(spec: dict[str, Any], buffer: bytes) -> str:
    """Write a fragment of HTML that plays by itself, also from ``file://``, several on a page.

    The alternative text stands in the place until the script runs, and stays where scripts are
    not allowed.

    Arguments:
        spec: the JSON description.
        buffer: its numbers.

    Returns:
        The fragment; equal inputs give equal text, and the ids come from the content.
    """
    source = module()
    text = json.dumps(spec, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    digest = hashlib.sha256(text.encode() + buffer).hexdigest()[:12]
    key = f"gentoolkit-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    code = base64.b64encode(source.encode()).decode()
    # Two equal scenes on one page have the same id, so each script takes the first place that is
    # still free; the marker also stops a page that runs its scripts twice from mounting twice.
    return (
        f'<div class="gt-mount" id="gt-{digest}" data-gt="{digest}">'
        f"<p>{html.escape(spec['alt'])}</p></div>\n"
        f"<style>{stylesheet()}</style>\n"
        '<script type="module">\n'
        f"const place = document.querySelector('[data-gt=\"{digest}\"]:not([data-gt-taken])');\n"
        "if (place) {\n"
        '  place.dataset.gtTaken = "yes";\n'
        f'  window["{key}"] ??= import("data:text/javascript;base64,{code}");\n'
        f'  (await window["{key}"]).mountStatic(place, {text}, "{_packed(buffer)}");\n'
        "}\n"
        "</script>\n"
    )


def still(spec: dict[str, Any], buffer: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the output from which a build takes a poster: a picture of the player itself.

    What a cell shows is the alternative text, the same in every run, so no browser is needed to
    run a lesson. The scene travels in the output's metadata, and the build leaves a PNG instead.

    Arguments:
        spec: the JSON description.
        buffer: its numbers.

    Returns:
        The data and the metadata of a Jupyter MIME bundle.
    """
    return {"text/plain": spec["alt"]}, {SCENE: {"spec": spec, "data": _packed(buffer)}}
