"""The panels, fields and words of ``trajectories``."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array
from gentoolkit.viz.arrays import extent as extent_of
from gentoolkit.viz.lane import Clock, Lane
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene

Field = Callable[[Tensor, Tensor], Tensor]
"""A function of states (M, 2) and times (M,), called as a net is; all times of a call are equal."""


def square(lanes: Sequence[Lane]) -> Range:
    """Find one range for both coordinates that holds nearly all particles of all lanes."""
    ends = [np.quantile(lane.path, q) for lane in lanes for q in (0.003, 0.997)]
    reach = 1.1 * max(abs(float(end)) for end in ends) or 1.0
    return -reach, reach


def field_over(
    field: Field, name: str, places: np.ndarray, times: np.ndarray, like: Tensor
) -> np.ndarray:
    """Evaluate a field at the same places at each time; each time is asked once.

    Arguments:
        field: the function.
        name: what it is, for the error message.
        places: (M, 2).
        times: (F,).
        like: a tensor of the dtype and device that the field expects.

    Returns:
        (F, M) or (F, M, 2).

    Raises:
        ValueError: values of another shape, or not finite.
    """
    width = () if name == "density" else (2,)
    x = torch.as_tensor(places).to(like)
    at, which = np.unique(times, return_inverse=True)  # a way back asks nothing anew
    values = np.empty((len(at), len(places), *width))
    for k, time in enumerate(at):
        with torch.no_grad():
            found = field(x, x.new_full((len(x),), float(time)))
        if found.shape != (len(x), *width) or not bool(torch.isfinite(found).all()):
            raise ValueError(
                f"The {name} cannot be drawn at time {time:g}: got shape {tuple(found.shape)} for "
                f"{len(x)} states, or values that are not finite. Return {(len(x), *width)} finite "
                "numbers; near the data, stop the lanes at a small time above 0."
            )
        values[k] = found.double().cpu().numpy()
    return values[which]


def grid(span: Range, count: int, to_edge: bool) -> np.ndarray:
    """Lay (count * count, 2) places over a square, row by row from below.

    Arguments:
        span: (lowest, highest) of both coordinates.
        count: along each side.
        to_edge: from edge to edge, or at the centres of cells.
    """
    inset = 0.0 if to_edge else 0.5 * (span[1] - span[0]) / count
    side = np.linspace(span[0] + inset, span[1] - inset, count)
    across, up = np.meshgrid(side, side)
    return np.stack([across.ravel(), up.ravel()], axis=1)


def beside_words(places: np.ndarray, span: Range, below: bool) -> np.ndarray:
    """Choose (M,) places for arrows that leave the words at the upper and lower edge free."""
    share = (places[:, 1] - span[0]) / (span[1] - span[0])
    return (share < 0.91) & (share > (0.09 if below else 0.0))


def limited(score: np.ndarray, reach: float) -> np.ndarray:
    """Shorten vectors smoothly: in proportion while small, never longer than ``reach``."""
    length = np.hypot(score[..., 0], score[..., 1])
    usual = float(np.median(length)) or 1.0
    return score * (reach / (length + usual))[..., None]


def start_colors(lane: Lane) -> np.ndarray:
    """Rank the particles by where the lane starts, from left to right, as numbers in [0, 1]."""
    order = np.argsort(np.argsort(lane.path[0, :, 0], kind="stable"), kind="stable")
    return order / max(1, len(order) - 1)


def crossed_ends(off: Callable[[Tensor], Tensor] | None, lane: Lane, like: Tensor) -> np.ndarray:
    """Ask which particles (N,) end outside of every mode; none if nobody is asked.

    Raises:
        ValueError: the answer is not one truth value per particle.
    """
    if off is None:
        return np.zeros(len(lane.ends), dtype=bool)
    with torch.no_grad():
        found = off(torch.as_tensor(lane.ends).to(like))
    if found.dtype != torch.bool or found.shape != (len(lane.ends),):
        raise ValueError(
            f"off does not tell inside from outside: got {found.dtype} of shape "
            f"{tuple(found.shape)}. Return booleans of shape ({len(lane.ends)},)."
        )
    return found.cpu().numpy()


def way(lane: Lane, k: int) -> str:
    """Name the direction of the step that led to state ``k``, or of the first one."""
    return "pull" if k <= lane.rising and lane.rising else "push"


def captions(panel: Panel, span: Range, lane: Lane, held: np.ndarray, label: str | None) -> None:
    """Write each frame's step, and its time under a label, into the upper left corner."""
    side = span[1] - span[0]
    words = [f"{way(lane, k)}, {lane.when(k)}" for k in held]
    if label is not None:
        times = [f"{label} = {number(float(lane.at[k]))}" for k in held]
        words = [", ".join(pair) for pair in zip(words, times, strict=True)]
    panel.text(span[0] + 0.03 * side, span[1] - 0.055 * side, words, anchor="left")


def count_crosses(panel: Panel, span: Range, crossed: np.ndarray) -> None:
    """Write how many particles end outside into the lower left corner, in their colour."""
    side = span[1] - span[0]
    words = f"\u00d7 end outside: {int(crossed.sum())} of {len(crossed)}"
    place = (span[0] + 0.03 * side, span[0] + 0.05 * side)
    panel.text(*place, words, color=colors.WRONG, anchor="left")


def account_panel(scene: Scene, lane: Lane, held: np.ndarray, log_ratio: object) -> None:
    """Add the running sum of the log-ratios: one particle's, others faint, the mean dashed.

    Raises:
        ValueError: not one log-ratio per step and particle.
    """
    each = as_array(log_ratio, "log_ratio", ("N", "M"))
    shape = (lane.steps, lane.path.shape[1])
    if each.shape != shape:
        raise ValueError(
            f"The log-ratios do not fit the lane {lane.name!r}: got shape {each.shape}. "
            f"Pass one per step and particle, in the lane's order: {shape}."
        )
    sums = np.concatenate([np.zeros((1, shape[1])), np.cumsum(each, axis=0)])
    shown = np.array([*np.quantile(sums, (0.01, 0.99)), sums[:, 0].min(), sums[:, 0].max()])
    title, label = "log-ratios summed so far", f"step of {lane.name}"
    panel = scene.panel(
        (0, lane.steps), extent_of(shown), title=title, x_label=label, equal=False, weight=0.8
    )
    # One vertex per frame: where frames skip steps, so does the curve.
    panel.accounts(held, sums[held], name="sum of log-ratios", color=colors.PUSH, others=40)
    mean = np.stack([np.arange(lane.steps + 1), sums.mean(1)], axis=1)
    panel.lines(mean[None], color="#1F2933", width=2.0, dash=True)
    low, high = extent_of(shown)
    rising = sums[-1].mean() > 0.5 * (low + high)
    top = low + (0.06 if rising else 0.94) * (high - low)
    panel.text(0.97 * lane.steps, top, "dashed: mean", anchor="right")


def notes(lanes: Sequence[Lane], clock: Clock, label: str) -> list[str]:
    """Say for each frame which step each lane shows."""
    found = []
    for f, time in enumerate(clock.times):
        states = [int(held[f]) for held in clock.held]
        steps = [f"{one.name}: {one.when(k)}" for one, k in zip(lanes, states, strict=True)]
        noising = way(lanes[0], states[0] or 1) == "pull"
        verb = "Pull, data to noise" if noising else "Push, noise to data"
        found.append(f"{verb}, {label} = {number(time)}. {'; '.join(steps)}.")
    return found


def description(lanes: Sequence[Lane], scattered: Sequence[int] | None) -> str:
    """Compose an alternative text from the lanes and how many particles of each end outside."""
    count, first = len(lanes[0].path[0]), lanes[0]
    ways = {(True, False): "from data to noise", (False, True): "from noise to data"}
    where = ways.get(
        (first.rising > 0, first.rising < first.steps), "from data to noise and back to data"
    )
    names = [  # many a name says already how many steps there are
        lane.name if "step" in lane.name else f"{lane.name} in {lane.steps} steps" for lane in lanes
    ]
    beside = f" in {len(lanes)} lanes side by side" if len(lanes) > 1 else ""
    text = f"{count} particles move {where}{beside}: {'; '.join(names)}."
    if scattered is None:
        return text
    ends = [f"{k} in {lane.name}" for k, lane in zip(scattered, lanes, strict=True)]
    return f"{text} Outside of every mode end {'; '.join(ends)}."


def number(value: float) -> str:
    """Write a number with two decimals, or more where it is small."""
    digits = 2 if value == 0 or abs(value) >= 0.095 else 3
    return f"{value:.{digits}f}".replace("-", "\u2212")
