"""A map of families: boxes joined by lines, each of which names the one piece that changes."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from gentoolkit.viz.charts import INK, Chart, diagram
from gentoolkit.viz.colors import NEUTRAL, PULL, PUSH
from gentoolkit.viz.pair import LEARNED

_ACROSS, _DOWN = 236, 124  # from box to box
_WIDE, _HIGH = 156, 52  # of a box
_EDGE, _FOOT = 12, 46
_LINE = 16  # height of a line of small print

Family = tuple[float, float, str, str]
"""Column and row of a box, what is learned ("push", "pull", "both", "nothing"), and small print."""


def family_map(
    families: Mapping[str, Family], changes: Sequence[tuple[str, str, str]], *, alt: str = ""
) -> Chart:
    """Draw families as boxes, and join two of them where one piece leads from one to the other.

    The rim of a box says what is learned: solid blue the push, dashed orange the pull, both rims
    both, grey nothing.

    Arguments:
        families: name -> (column, row, learned, small print); row 0 is at the top.
        changes: (from, to, what changes), drawn as a line from box to box with its words in the
            middle; `<br>` breaks them.
        alt: what the drawing says; made of the other arguments if empty.

    Raises:
        ValueError: no family, an unknown name in a change, a family that no change reaches, or
            another word for what is learned.
    """
    if not families:
        raise ValueError("a map needs families; got none; pass {name: (column, row, learned, '')}")
    for name, (_, _, learned, _) in families.items():
        if learned not in LEARNED:
            raise ValueError(
                f"learned is one of {', '.join(LEARNED)}; got {learned!r} for {name!r}; choose one"
            )
    ends = {name for start, end, _ in changes for name in (start, end)}
    if ends != set(families):
        raise ValueError(
            "changes join all families and only them; got a difference in "
            f"{sorted(ends ^ set(families))}; name each family in a change"
        )
    rows = max(place[1] for place in families.values())
    width = round(max(p[0] for p in families.values()) * _ACROSS + _WIDE + 2 * _EDGE)
    height = round(rows * _DOWN + _HIGH + 2 * _EDGE + _FOOT)
    centres = {
        name: (_EDGE + _WIDE / 2 + c * _ACROSS, height - _EDGE - _HIGH / 2 - r * _DOWN)
        for name, (c, r, _, _) in families.items()
    }
    figure = go.Figure()
    for start, end, words in changes:
        (x0, y0), (x1, y1) = centres[start], centres[end]
        figure.add_shape(
            type="line", x0=x0, y0=y0, x1=x1, y1=y1, line={"color": INK, "width": 1.5},
            layer="below",
        )  # fmt: skip
        _words(figure, (x0 + x1) / 2, (y0 + y1) / 2, words, 14, background="#FFFFFF")
    for name, (x, y) in centres.items():
        _box(figure, x, y, families[name][2])
        _words(figure, x, y, f"<b>{name}</b><br>{families[name][3]}".removesuffix("<br>"), 14)
    x = _EDGE
    for learned, words, room in (
        ("push", "push learned", 150), ("pull", "pull learned", 150), ("both", "both", 100),
        ("nothing", "nothing learned", 150),
    ):  # fmt: skip
        _box(figure, x + 17, _EDGE + 10, learned, 34, 18)
        _words(figure, x + 42, _EDGE + 10, words, 14, anchor="left")
        x += room
    return diagram(figure, alt or _said(families, changes), width, height)


def _box(
    figure: go.Figure, x: float, y: float, learned: str, wide: float = _WIDE, high: float = _HIGH
) -> None:
    """Add a box with the rims of what is learned, the second one inside the first."""
    rims = {"push": [(PUSH, "solid")], "pull": [(PULL, "dash")], "nothing": [(NEUTRAL, "solid")]}
    rims["both"] = rims["push"] + rims["pull"]
    for i, (color, dash) in enumerate(rims[learned]):
        a, b = wide / 2 - 5 * i, high / 2 - 5 * i
        figure.add_shape(
            type="rect", x0=x - a, x1=x + a, y0=y - b, y1=y + b, fillcolor="#F4F6F8",
            line={"color": color, "width": 2.5, "dash": dash},
        )  # fmt: skip


def _words(
    figure: go.Figure, x: float, y: float, text: str, size: int, *, background: str | None = None,
    anchor: str = "center",
) -> None:  # fmt: skip
    figure.add_annotation(
        x=x, y=y, text=text, showarrow=False, font={"size": size, "color": INK}, xanchor=anchor,
        bgcolor=background, borderpad=1,
    )  # fmt: skip


def _said(families: Mapping[str, Family], changes: Sequence[tuple[str, str, str]]) -> str:
    links = (f"{a} to {b}: {words.replace('<br>', ' ')}" for a, b, words in changes)
    learned = ", ".join(f"{name} {place[2]}" for name, place in families.items())
    return f"A map of families joined by what changes. {'; '.join(links)}. Learned: {learned}."
