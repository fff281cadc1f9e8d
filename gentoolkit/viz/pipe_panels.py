"""The panels of ``pipes``: the network and its water, the leaks, the law beside the target."""

from collections.abc import Sequence

import numpy as np

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import as_array, extent
from gentoolkit.viz.panel import THINNEST, Panel
from gentoolkit.viz.pipe_graph import Pipes
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.state_graph import ROOM

WIDEST = 13.0
"""Width in pixels of a pipe that carries the flow ``widest``."""
TIGHT = 0.02
"""Nats up to which a state counts as tight."""
_LEAK_END = 2.0
_RING = 1.25
"""Radius of the ring, in rooms of a state; names stand outside of it."""
_INK, _GREY = "#1F2933", "#A7AFB7"


def checked(values: object, name: str, count: int, frames: int | None, least: float) -> np.ndarray:
    """Return one number per pipe or state, in one frame or in all.

    Arguments:
        values: (count,), or (frames, count).
        name: what they are, for the error message.
        count: how many pipes or states there are.
        frames: number of frames, or None for a still picture.
        least: the lowest value allowed.

    Raises:
        ValueError: another shape, or a lower value.
    """
    array = as_array(values, name)
    shape = (count,) if frames is None else (frames, count)
    if array.shape != shape or array.min() < least:
        floor = "" if least == -np.inf else f" of at least {least:g}"
        raise ValueError(
            f"{name} does not fit the pipes: got shape {array.shape}, lowest {array.min():g}. "
            f"Pass an array of shape {shape}, numbers{floor}."
        )
    return array


def checked_law(values: object, name: str, count: int, frames: int | None) -> np.ndarray:
    """Return a law over the states, in one frame or in all.

    Raises:
        ValueError: another shape, a negative entry, or a sum that is not 1.
    """
    law = checked(values, name, count, frames, -1e-9)
    if abs(law.sum(-1) - 1).max() > 1e-4:
        raise ValueError(
            f"{name} is no law: got a sum of {law.sum(-1).min():g} to {law.sum(-1).max():g}. "
            "Pass probabilities that sum to 1."
        )
    return law


def scale_of(flow: np.ndarray, widest: float | None) -> float:
    """Return the pixels that one unit of flow is wide.

    Raises:
        ValueError: ``widest`` is not positive, or nothing flows.
    """
    most = float(flow.max()) if widest is None else widest
    if not 0 < most < float("inf"):
        raise ValueError(f"Nothing flows: got a widest flow of {most}. Pass one above 0.")
    return WIDEST / most


def water_panel(
    scene: Scene, pipes: Pipes, flow: np.ndarray, stop: np.ndarray, scale: float, title: str
) -> Panel:
    """Add the network: pipes in blue as wide as their flow, drops into the cells in grey.

    Arguments:
        scene: of F frames.
        pipes: S states, E pipes.
        flow: (E,) or (F, E).
        stop: (S,) or (F, S).
        scale: pixels for one unit of flow.
        title: shown above.
    """
    x, y = pipes.ranges
    panel = scene.panel(x, y, title=title, axes=False)
    # Every pipe is seen, also one that carries too little to be drawn.
    panel.lines(pipes.ways[:, [0, -1]] if _straight(pipes) else pipes.ways, color="#CFD6DD",
                width=1.0)  # fmt: skip
    most = 2.2 * WIDEST  # a net that has not learned yet may claim any flow
    panel.ribbons(pipes.ways, np.minimum(scale * flow, most), color=colors.PUSH, alpha=0.85,
                  beside=False)  # fmt: skip
    panel.ribbons(pipes.drops, np.minimum(scale * stop, most), color=colors.NEUTRAL, alpha=0.85,
                  beside=False)  # fmt: skip
    for across, up, word in pipes.ticks:
        panel.text(across, up, word, color=colors.NEUTRAL)
    return panel


def _straight(pipes: Pipes) -> bool:
    chord = pipes.ways[:, -1] - pipes.ways[:, 0]
    off = pipes.ways[:, pipes.ways.shape[1] // 2] - pipes.ways[:, 0]
    return bool(abs(chord[:, 0] * off[:, 1] - chord[:, 1] * off[:, 0]).max() < 1e-9)


def cells(panel: Panel, pipes: Pipes, law: np.ndarray) -> None:
    """Draw the states, the darker the more paths end there; law (S,) or (F, S)."""
    _rims(panel, pipes)
    top = 1.7 * float(law.max())
    panel.points(pipes.graph.at, size=_disc(pipes), values=law, limits=(0.0, top),
                 colormap="greys", alpha=1.0)  # fmt: skip
    _names(panel, pipes)


def leak_meter(panel: Panel, pipes: Pipes, leaks: np.ndarray) -> None:
    """Let each state glow with its leak, and ring the one that leaks most; leaks (S,) or (F, S).

    Purple takes in less than it gives away, green takes in more, grey is tight.
    """
    _rims(panel, pipes)
    panel.points(pipes.graph.at, size=_disc(pipes), values=leaks, limits=(-_LEAK_END, _LEAK_END),
                 colormap="balance", alpha=1.0)  # fmt: skip
    _names(panel, pipes)
    worst = abs(leaks).argmax(-1)
    leaking = abs(leaks).max(-1) > TIGHT
    rings = (pipes.graph.at[worst][..., None, :] + _circle(pipes))[..., None, :, :]
    panel.lines(np.where(leaking[..., None, None, None], rings, 1e6), color=colors.WRONG, width=2.0)
    (x0, _), (y0, _) = pipes.ranges
    words = "purple: takes in too little; green: too much"
    panel.text(x0 + 0.1, y0 + 0.3 * pipes.graph.room / ROOM, words, color=_INK, anchor="left")


def ring(panel: Panel, pipes: Pipes, state: int, color: str) -> None:
    """Draw a ring around one state."""
    panel.lines((pipes.graph.at[state] + _circle(pipes))[None], color=color, width=2.0)


def _circle(pipes: Pipes) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 25)
    return _RING * pipes.graph.room * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def leak_words(pipes: Pipes, leaks: np.ndarray) -> str:
    """Say which state leaks most, for leaks (S,)."""
    worst = int(abs(leaks).argmax())
    if abs(leaks[worst]) <= TIGHT:
        return f"Every state is tight to {TIGHT:g} nats."
    side = "too much" if leaks[worst] > 0 else "too little"
    nats = f"{abs(leaks[worst]):.2f} nats"
    return f"State {pipes.graph.names[worst]} leaks most: it takes in {nats} {side}."


def law_panel(scene: Scene, pipes: Pipes, target: np.ndarray, law: np.ndarray) -> np.ndarray:
    """Add the target as wide grey bars and the law of where paths end as narrow blue ones.

    Arguments:
        scene: of F frames.
        pipes: S states.
        target: (S,).
        law: (S,) or (F, S).

    Returns:
        Total variation between the two, () or (F,).
    """
    count, names = len(target), pipes.graph.names
    top = 1.36 * float(max(target.max(), law.max()))
    panel = scene.panel(
        (-0.8, count - 0.2), (0.0, top), title="where paths end",
        x_label=f"state: 0 is {names[0]}, {count - 1} is {names[-1]}", equal=False, weight=0.85,
    )  # fmt: skip
    panel.bars(target, width=0.95, color=_GREY, alpha=1.0)
    panel.bars(law, width=0.45, color=colors.PUSH, alpha=1.0)
    panel.text(count - 0.6, 0.95 * top, "wide grey: target", color=colors.NEUTRAL, anchor="right")
    panel.text(count - 0.6, 0.88 * top, "narrow blue: terminating law", color=colors.PUSH,
               anchor="right")  # fmt: skip
    off = 0.5 * abs(law - target).sum(-1)
    words = [f"apart by {v:.3f}" for v in np.atleast_1d(off)]
    panel.text(count - 0.6, 0.81 * top, words if off.ndim else words[0], color=_INK, anchor="right")
    return off


def sum_panel(scene: Scene, each: np.ndarray, sums: np.ndarray, total: float) -> None:
    """Add bars of each move's residual (T,), their running sum (T + 1,), and the whole path's."""
    low, high = extent(np.concatenate([sums, each, [0.0, total]]))
    high += 0.22 * (high - low)
    panel = scene.panel(
        (-0.2, len(each) + 0.2), (low, high), title="balance of the path, summed",
        x_label="moves, the last one the stop", equal=False, weight=0.85,
    )  # fmt: skip
    reached = np.arange(len(sums))[:, None] > np.arange(len(each))
    panel.bars(each * reached, positions=np.arange(len(each)) + 0.5, width=0.7, color=_GREY,
               alpha=1.0)  # fmt: skip
    ends = np.array([[[-0.2, total], [len(each) + 0.2, total]]])
    panel.lines(ends, color=_INK, width=2.0, dash=True)
    panel.accounts(np.arange(len(sums)), sums[:, None], name="sum of residuals", others=0)
    words = ("bars: each move; blue: their sum", "dashed: the whole path")
    for k, line in enumerate(words):
        panel.text(0, high - (0.06 + 0.075 * k) * (high - low), line, anchor="left")


def unseen(flow: np.ndarray, scale: float) -> int:
    """Count the pipes that carry too little to be drawn, for flow (E,)."""
    return int((scale * flow < THINNEST).sum())


def _disc(pipes: Pipes) -> float:
    (x0, x1), _ = pipes.ranges
    return min(40.0, 150.0 * pipes.graph.room / ROOM / (x1 - x0))


def _rims(panel: Panel, pipes: Pipes) -> None:
    panel.points(pipes.graph.at, size=_disc(pipes) + 3, color=_GREY, alpha=1.0)


def _names(panel: Panel, pipes: Pipes) -> None:
    if len(pipes.graph.at) > 16:
        return
    up: Sequence[float] = (0.0, (_RING + 0.7) * pipes.graph.room)
    for (x, y), name in zip(pipes.graph.at + up, pipes.graph.names, strict=True):
        panel.text(x, y, name)
