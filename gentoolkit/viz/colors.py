"""The colours of every picture in the course: named line colours and 256-entry colour maps."""

import numpy as np

PUSH = "#0072B2"
"""What moves from the source to the target; drawn solid."""
PULL = "#D55E00"
"""What moves from the target to the source; drawn dashed."""
NEUTRAL = "#5B6670"
"""Everything that is neither."""

WRONG = "#B2182B"
"""What missed its aim; drawn as a cross."""

_ANCHORS = {
    "viridis": "440154 482878 3E4989 31688E 26828E 1F9E89 35B779 6ECE58 B5DE2B FDE725",
    "cividis": "00224E 123570 3B496C 575D6D 707173 8A8678 A59C74 C3B369 E1CC55 FEE838",
    # Below, at and above zero; the middle is grey, so that it can be seen on white.
    "balance": "3B0F70 5B2A86 7F56A5 9F88B8 A9ABB0 8DB39A 57A06E 1F7F46 0A5A2E",
    # Dark enough on white throughout, and free of the reds that mark what went wrong.
    "cool": "1B6B3A 14786B 17849C 0E77AE 2F62B5 5A52AE 75459F 8A3A8F",
    "greys": "FFFFFF F0F2F4 DDE1E5 C4CAD0 A7AFB7 8A939C 6C757E 4F5860 343B42 1E2328",
}
# Ten hues that keep their distance for the common colour deficiencies when a label stands beside.
_CLASSES = "0072B2 D55E00 009E73 CC79A7 7B5AA6 8C564B 4B5D16 B2182B 17849C 444444"

COLORMAPS = (*_ANCHORS, "classes", "tokens")
"""Names of the colour maps; ``classes`` gives label k the k-th of ten distinct colours, and
``tokens`` is ink on white up to ``TOKEN_INK``, followed by the marks of cells that jump."""

TOKEN_INK, TOKEN_MASK, TOKEN_WEAVE, TOKEN_PUSH, TOKEN_PULL = 199, 207, 223, 239, 255
"""Values in the map ``tokens``: full ink, a mask's two tones, and a jump in each direction."""


def rgb(color: str) -> tuple[int, int, int]:
    """Turn ``#RRGGBB`` into three integers in [0, 255].

    Raises:
        ValueError: the text is not of that form.
    """
    digits = color.removeprefix("#")
    if len(digits) != 6 or not color.startswith("#") or set(digits) - set("0123456789abcdefABCDEF"):
        raise ValueError(f"a colour must be #RRGGBB; got {color!r}; write it with six digits")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def table(name: str) -> np.ndarray:
    """Look up one of ``COLORMAPS``: (256, 3) of uint8, row i the colour of the value i / 255.

    Raises:
        ValueError: no colour map has this name.
    """
    if name == "classes":
        colors = np.array([rgb("#" + part) for part in _CLASSES.split()])
        return colors[np.arange(256) % len(colors)].astype(np.uint8)
    if name == "tokens":
        ink = table("greys")[np.linspace(0, 255, TOKEN_INK + 1).round().astype(int)]
        marks = np.array([rgb(color) for color in ("#E4DDF0", "#B7A7D6", PUSH, PULL)])
        return np.concatenate([ink, np.repeat(marks, [8, 16, 16, 16], axis=0)]).astype(np.uint8)
    if name not in _ANCHORS:
        raise ValueError(
            f"a colour map must be one of {', '.join(COLORMAPS)}; got {name!r}; choose one"
        )
    anchors = np.array([rgb("#" + part) for part in _ANCHORS[name].split()], dtype=float)
    where = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(where, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)
