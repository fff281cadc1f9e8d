"""The pair of chains of a lesson, drawn once as arrows: push above, pull below."""

from collections.abc import Sequence
from math import hypot

import plotly.graph_objects as go

from gentoolkit.viz.charts import INK, Chart, diagram
from gentoolkit.viz.colors import NEUTRAL, PULL, PUSH

LEARNED = ("push", "pull", "both", "nothing")
_WIDTH, _HEIGHT, _RADIUS = 760, 190, 25
_TAIL = 13  # of an arrow's head, in pixels
_BAND = 26  # what a second row of names needs
_NAME = {"showarrow": False, "font": {"size": 16, "color": INK}}


def pair_diagram(
    states: Sequence[str],
    *,
    source: str,
    target: str,
    push: str,
    pull: str,
    learned: str = "push",
    also: Sequence[str] = (),
    also_label: str = "other numbering",
    alt: str = "",
) -> Chart:
    """Draw a chain from its source to its target.

    The push runs along solid blue arrows above the states, the pull along dashed orange ones
    below. What is learned is said beside each.

    Arguments:
        states: names of the states, the source's first; "…" stands for those between. HTML's
            `<sub>` and `<sup>` work.
        source: what the source is, in a few words.
        target: what the target is, in a few words.
        push: what one push does, with its law: "f(x<sub>t</sub> | x<sub>t-1</sub>): denoise".
        pull: what one pull does.
        learned: "push", "pull", "both" or "nothing".
        also: the same states in another numbering, drawn as a second row.
        also_label: whose numbering that is.
        alt: what the drawing says; made of the other arguments if empty.

    Raises:
        ValueError: fewer than two states, another word for `learned`, or a second row of another
            length.
    """
    if len(states) < 2:
        raise ValueError(f"a chain has two states or more; got {list(states)}; name both ends")
    if learned not in LEARNED:
        raise ValueError(f"learned is one of {', '.join(LEARNED)}; got {learned!r}; choose one")
    if also and len(also) != len(states):
        raise ValueError(
            f"both rows name the same states; got {len(states)} and {len(also)}; pass one name each"
        )
    height = _HEIGHT + (_BAND if also else 0)
    middle = 90 + (_BAND if also else 0)
    places = [100 + i * (_WIDTH - 200) / (len(states) - 1) for i in range(len(states))]
    figure = go.Figure()
    for place, name in zip(places, states, strict=True):
        if name != "…":
            figure.add_shape(
                type="circle",
                x0=place - _RADIUS,
                x1=place + _RADIUS,
                y0=middle - _RADIUS,
                y1=middle + _RADIUS,
                line={"color": NEUTRAL, "width": 1.5},
                fillcolor="#F4F6F8",
            )
        figure.add_annotation(x=place, y=middle, text=name, **_NAME)
    for left, right in zip(places[:-1], places[1:], strict=True):
        _arrow(figure, left, right, middle, 1, PUSH, "solid")
        _arrow(figure, right, left, middle, -1, PULL, "dash")
    kinds = {
        "push": "learned" if learned in ("push", "both") else "fixed",
        "pull": "learned" if learned in ("pull", "both") else "fixed",
    }
    rows = (("push", push, PUSH, middle + 66), ("pull", pull, PULL, middle - 58))
    for word, text, color, y in rows:
        figure.add_annotation(
            x=_WIDTH / 2,
            y=y,
            text=f"<b>{word}</b> {text} <i>({kinds[word]})</i>",
            showarrow=False,
            font={"size": 15, "color": color},
        )
    for place, text in ((places[0], source), (places[-1], target)):
        figure.add_annotation(
            x=place,
            y=middle + 46,
            text=f"<b>{text}</b>",
            showarrow=False,
            font={"size": 14, "color": INK},
        )
    for place, name in zip(places, also, strict=False):
        figure.add_annotation(x=place, y=12, text=name, **{**_NAME, "font": {"color": NEUTRAL}})
    if also:
        figure.add_annotation(
            x=8,
            y=12,
            text=f"{also_label}:",
            xanchor="left",
            showarrow=False,
            font={"size": 13, "color": NEUTRAL},
        )
    said = alt or (
        f"A chain of states {', '.join(map(_plain, states))} from the source, {_plain(source)}, to "
        f"the target, {_plain(target)}. Solid arrows to the right are the push, {_plain(push)} "
        f"({kinds['push']}); dashed arrows to the left are the pull, {_plain(pull)} "
        f"({kinds['pull']})."
    )
    return diagram(figure, said, _WIDTH, height)


def _plain(text: str) -> str:
    """Take the marks for sub- and superscripts out of a name."""
    for mark in ("<sub>", "</sub>", "<sup>", "</sup>", "<i>", "</i>", "<b>", "</b>"):
        text = text.replace(mark, "")
    return text


def _arrow(
    figure: go.Figure, start: float, end: float, y: float, side: int, color: str, dash: str
) -> None:
    """Add a bent arrow between two states, above them (side 1) or below (side -1)."""
    inward = 1 if end > start else -1
    x0, x1 = start + inward * 0.75 * _RADIUS, end - inward * 0.75 * _RADIUS
    foot, top = y + side * 0.72 * _RADIUS, y + side * 1.55 * _RADIUS
    middle = (x0 + x1) / 2
    figure.add_shape(
        type="path",
        path=f"M {x0} {foot} Q {middle} {top} {x1} {foot}",
        line={"color": color, "width": 2.5, "dash": dash},
    )
    # The head points along the end of the curve, whose tangent passes through the control point.
    # Its tail is the length of _TAIL: plotly draws no arrow whose head is within its empty label.
    part = _TAIL / hypot(middle - x1, top - foot)
    figure.add_annotation(
        x=x1,
        y=foot,
        ax=x1 + part * (middle - x1),
        ay=foot + part * (top - foot),
        xref="x",
        yref="y",
        axref="x",
        ayref="y",
        text="",
        showarrow=True,
        arrowhead=2,
        arrowsize=1.1,
        arrowwidth=2.5,
        arrowcolor=color,
    )
