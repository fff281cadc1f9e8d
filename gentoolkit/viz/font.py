"""A small stroke font, so that a poster can carry words without a font file or an image library.

A glyph is a list of strokes. Each stroke is a string of two-digit points ``xy`` on a grid where
y = 2 is the base line, 7 the height of small letters, 9 that of capitals and 0 the lowest descent.
A stroke that starts with ``~`` is rounded, one that starts with ``o`` is rounded and closed.
"""

import unicodedata
from functools import cache

import numpy as np

_CAPITAL = 7.0  # grid units from base line to the top of a capital

_BOWL = "o07474202"
_STROKES = {
    "0": "o09494202", "1": "072922", "2": "~0709494602 0242", "3": "~0809494626 ~2646420203",
    "4": "32390444", "5": "490906 ~0646420203", "6": "~48490904 o06464202", "7": "094912",
    "8": "o09494606 o06464202", "9": "o09494505 ~47420203",
    "a": f"{_BOWL} 4742", "b": f"0902 {_BOWL}", "c": "~464707024243", "d": f"4942 {_BOWL}",
    "e": "~05454707024243", "f": "~391917 1712 0727", "g": f"{_BOWL} 4742 ~42400001",
    "h": "0902 ~05074745 4542", "i": "0702 0909", "j": "1712 ~121000 1919", "k": "0902 3704 1532",
    "l": "0902", "m": "0702 ~05073735 3532 ~35376765 6562", "n": "0702 ~05074745 4542",
    "o": _BOWL, "p": f"0700 {_BOWL}", "q": f"4740 {_BOWL}", "r": "0702 ~050737",
    "s": "~4647070544420203", "t": "1913 ~131232 0737", "u": "0704 ~04024244 4742",
    "v": "072247", "w": "0722364267", "x": "0742 0247", "y": "0722 4710", "z": "07470242",
    "A": "022942 1434", "B": "0902 ~09494606 ~06464202", "C": "~585909025253",
    "D": "0902 ~09595202",
    "E": "49090242 0636", "F": "490902 0636", "G": "~585909025255 5535", "H": "0902 5952 0656",
    "I": "0902", "J": "3934 ~34320204", "K": "0902 4905 1642", "L": "090242", "M": "0209346962",
    "N": "02095259", "O": "o09595202", "P": "0902 ~09494505", "Q": "o09595202 3452",
    "R": "0902 ~09494505 2542", "S": "~4849090645420203", "T": "0949 2922",
    "U": "0904 ~04025254 5954", "V": "092249", "W": "0922384269", "X": "0942 0249",
    "Y": "092649 2622", "Z": "09490242",
    ".": "0202", ",": "1200", "-": "0525", "\u2212": "0545", "+": "0545 2723", "=": "0646 0444",
    "(": "~29070420", ")": "~09272400", "[": "29090020", "]": "09292000", "/": "0139", "|": "0901",
    ":": "0606 0202", ";": "1606 1200", "'": "0907", '"': "0907 2927", "*": "2824 0745 0547",
    "%": "o09292707 o24444222 4902", "<": "470543", ">": "074503", "_": "0141", "^": "072947",
    "~": "~050626244445", "!": "0904 0202", "?": "~080949462624 2222", "#": "1912 3932 0747 0444",
    "\u00b7": "0505", "\u00d7": "0743 0347", "\u2192": "0555 375533", "\u2013": "0545",
    "\u2264": "470543 0141", "\u2265": "074503 0141", "\u2207": "095932 0932",
    "{": "~29192605142020",
    "\u03b1": "~473202073742", "\u03b2": "0008 ~0809393616 ~16464202", "\u03b8": "o09494202 0545",
    "\u03bb": "091942 2502", "\u03bc": "0700 ~04024244 4742", "\u03c3": "o07373202 2757",
    "\u03c0": "0757 1712 4742", "\u03c6": f"{_BOWL} 2920", "\u03b5": "~37070525 ~25050232",
    "\u03a3": "4909250242", "}": "~09191625141000", "&": "~42073939063242",
}  # fmt: skip


def _rounded(points: np.ndarray, closed: bool) -> np.ndarray:
    # Chaikin's corner cutting: three rounds are smooth at the size of a label.
    for _ in range(3):
        following = np.roll(points, -1, axis=0) if closed else points[1:]
        leading = points if closed else points[:-1]
        cut = np.stack([0.75 * leading + 0.25 * following, 0.25 * leading + 0.75 * following], 1)
        middle = cut.reshape(-1, 2)
        points = middle if closed else np.concatenate([points[:1], middle[1:-1], points[-1:]])
    return np.concatenate([points, points[:1]]) if closed else points


@cache
def _glyph(character: str) -> tuple[tuple[np.ndarray, ...], float]:
    """The strokes of a character with the base line at y = 0, and its advance, in grid units."""
    if character == " ":
        return (), 3.0
    strokes = []
    for word in _STROKES.get(character, "02094942 0242").split():  # unknown: an open box
        digits = word.lstrip("~o")
        pairs = [(int(digits[i]), int(digits[i + 1]) - 2) for i in range(0, len(digits), 2)]
        points = np.array(pairs, dtype=float)
        smooth = word[0] in "~o"
        strokes.append(_rounded(points, word[0] == "o") if smooth else points)
    return tuple(strokes), float(max(s[:, 0].max() for s in strokes)) + 1.9


def _plain(text: str) -> str:
    # Accents and subscripts fall back to the letter below them.
    known = set(_STROKES) | {" "}
    parts = [c if c in known else unicodedata.normalize("NFKD", c) for c in text]
    return "".join(c for c in "".join(parts) if not unicodedata.combining(c))


def text_width(text: str, size: float) -> float:
    """Measure a line of text.

    Arguments:
        text: the line.
        size: font size in pixels.

    Returns:
        Its width in pixels.
    """
    return sum(_glyph(c)[1] for c in _plain(text)) * 0.72 * size / _CAPITAL


def text_strokes(text: str, size: float) -> list[np.ndarray]:
    """Lay out a line of text.

    Arguments:
        text: the line.
        size: font size in pixels; a capital is 0.72 times as high.

    Returns:
        Polylines (V, 2) in pixels, x to the right from 0, y upward from the base line.
    """
    unit = 0.72 * size / _CAPITAL
    lines, pen = [], 0.0
    for character in _plain(text):
        strokes, advance = _glyph(character)
        lines += [(stroke + [pen, 0.0]) * unit for stroke in strokes]
        pen += advance
    return lines
