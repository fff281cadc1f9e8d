"""The three ways in which a figure can leave a cell, chosen once by the environment."""

import os

MODES = ("live", "static", "poster")
"""live: a widget; static: HTML that plays without a kernel; poster: words, and a PNG once built."""


def mode() -> str:
    """Read the output mode from the environment variable ``GENTOOLKIT_OUTPUT``.

    Returns:
        ``"live"`` (the default), ``"static"`` or ``"poster"``.

    Raises:
        ValueError: the variable holds any other word.
    """
    value = os.environ.get("GENTOOLKIT_OUTPUT", "live")
    if value not in MODES:
        raise ValueError(
            f"GENTOOLKIT_OUTPUT names an unknown output mode: got {value!r}. "
            f"Set it to one of {', '.join(MODES)}, or unset it for 'live'."
        )
    return value
