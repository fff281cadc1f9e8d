"""Particles on their way between noise and data, in lanes side by side on the same noise."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gentoolkit.viz import colors
from gentoolkit.viz.arrays import Range, as_array, as_range
from gentoolkit.viz.lane import Clock, Lane, common, there_and_back
from gentoolkit.viz.panel import INK, Panel
from gentoolkit.viz.particles import account_panel, cells, number
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.size import small

__all__ = ["Field", "Lane", "there_and_back", "trajectories"]

Field = Callable[[Tensor, Tensor], Tensor]
"""A function of states (M, 2) and times (M,), called as a net is; all times of a call are equal."""

_HEAT, _ARROWS, _PROBE = 48, 11, 33  # cells or points along each side
_SMALLER = "the number of particles, frames or lanes, or leave out the estimates (data=None)"


def trajectories(
    lanes: Lane | Sequence[Lane],
    *,
    score: Field | None = None,
    denoiser: Field | None = None,
    density: Field | None = None,
    outlines: object = None,
    log_ratio: object = None,
    off: Callable[[Tensor], Tensor] | None = None,
    extent: Sequence[float] | None = None,
    probe: Sequence[float] | None = None,
    frames: int = 60,
    alt: str | None = None,
    time_label: str = "t",
    fps: float = 15.0,
) -> Scene:
    """Show runs of the same particles side by side, scrubbed through one time.

    Particle i has one colour in all lanes (by where it started, from left to right), and a click
    shows its way in all of them, with a ring at the data estimated from it where the lane has
    estimates. A lane with fewer steps holds its states longer. Fields, exact or learned, are drawn
    at the time of the frame.

    Arguments:
        lanes: one lane or several, all noising, all denoising, or all ``there_and_back``.
        score: (M, 2) score of the law at that time: arrows that grow with it up to a limit.
        denoiser: (M, 2) estimate of the data: a handle to drag, and a ring at the estimate.
        density: (M,) density of the law at that time, up to a factor: heat, relative to its
            highest value in each frame.
        outlines: (P, V, 2) grey lines behind the particles, such as rings around the modes.
        log_ratio: (T, N) log-ratios of the first lane's steps: a panel with their running sum.
        off: (N, 2) -> (N,), true outside of every mode. The particles that end there, where the
            time is least, are crosses in every frame, so that they can be traced back.
        extent: (lowest, highest) of both coordinates; what holds nearly all particles if None.
        probe: where the handle starts; to the right of the middle and above it if None.
        frames: about how many; every step of the finest lane gets the same number.
        alt: the alternative text; composed from the lanes if None.
        time_label: the name of the time.
        fps: frames a second at normal speed.

    Returns:
        A scene of at most 1.5 MB.

    Raises:
        ValueError: lanes that do not fit together, a field of another shape or not finite, an
            argument out of range, or more than 1.5 MB.

    Reference: Song et al. 2021 (arXiv 2011.13456).
    """
    shown = [lanes] if isinstance(lanes, Lane) else list(lanes)
    clock = common(shown, frames)
    state = shown[0].states[0]
    like = state.detach() if isinstance(state, Tensor) else torch.zeros(1)
    span = _square(shown) if extent is None else as_range(extent, "extent")
    crossed = None if off is None else [_crossed(off, lane, like) for lane in shown]
    scene = Scene(
        len(clock.times),
        alt=_description(shown, crossed) if alt is None else alt,
        fps=fps,
        times=clock.times,
        time_label=time_label,
        notes=_notes(shown, clock, time_label),
        # At its end a denoiser estimates what is already there.
        poster_frame=-1 if denoiser is None else round(0.65 * (len(clock.times) - 1)),
    )
    backdrop = _Backdrop(span, clock.times, like, density, score, crossed is not None)
    ring = None
    if denoiser is not None:
        grid = cells(span, _PROBE, to_edge=True)
        found = _over(denoiser, "denoiser", grid, clock.times, like)
        ring = found.reshape(-1, _PROBE, _PROBE, 2)
    # Three panels in a row leave no room for the time, which stands below them anyway.
    narrow = len(shown) + (log_ratio is not None) not in (1, 2, 4)
    order = np.argsort(np.argsort(shown[0].path[0, :, 0], kind="stable"), kind="stable")
    for k, (lane, held) in enumerate(zip(shown, clock.held, strict=True)):
        probed = ring is not None and k == 0
        colored = "colour: place at the start, left to right"
        label = "drag the handle: the ring is its estimate" if probed else colored
        panel = scene.panel(span, span, title=lane.name, x_label=label)
        backdrop.draw(panel)
        if outlines is not None:
            panel.lines(outlines, color=colors.NEUTRAL, width=1.5, alpha=0.8)
        panel.points(
            lane.path[held],
            values=order / max(1, len(order) - 1),
            limits=(0.0, 1.0),
            colormap="cool",
            size=5.5,
            alpha=0.85,
            crossed=None if crossed is None else crossed[k],
            ghosts=None if lane.estimates is None else lane.estimates[held],
        )
        if probed:
            third = span[0] + 0.66 * (span[1] - span[0])
            start = (third, third) if probe is None else probe
            panel.probe(ring, start=start, name="estimate of the data")
        words = [f"{lane.way(k)}, {lane.when(k)}" for k in held]
        if not narrow:
            at = lane.at[held]
            words = [f"{w}, {time_label} = {_time(t)}" for w, t in zip(words, at, strict=True)]
        left, side = span[0] + 0.03 * (span[1] - span[0]), span[1] - span[0]
        panel.text(left, span[1] - 0.055 * side, words, anchor="left")
        if crossed is not None:
            told = f"\u00d7 end outside: {int(crossed[k].sum())} of {len(crossed[k])}"
            panel.text(left, span[0] + 0.05 * side, told, color=colors.WRONG, anchor="left")
    if log_ratio is not None:
        _sum_panel(scene, shown[0], clock.held[0], log_ratio)
    return small(scene, _SMALLER)


class _Backdrop:
    """Density and score at the time of each frame, the same behind every lane."""

    def __init__(
        self,
        span: Range,
        times: np.ndarray,
        like: Tensor,
        density: Field | None,
        score: Field | None,
        words_below: bool,
    ) -> None:
        self.heat = self.moves = None
        if density is not None:
            heat = _over(density, "density", cells(span, _HEAT), times, like)
            heat = heat.reshape(-1, _HEAT, _HEAT)
            self.heat = heat / np.maximum(heat.max((1, 2), keepdims=True), 1e-300)
        if score is not None:
            places = cells(span, _ARROWS)
            found = _over(score, "score", places, times, like)
            length = np.hypot(found[..., 0], found[..., 1])
            usual = float(np.median(length)) or 1.0
            # In proportion while small, and never so long that one reaches into the next.
            reach = 0.9 * (span[1] - span[0]) / _ARROWS
            moves = found * (reach / (length + usual))[..., None]
            # The words at the upper and lower edge stay free.
            share = (places[:, 1] - span[0]) / (span[1] - span[0])
            free = (share < 0.91) & (share > (0.09 if words_below else 0.0))
            self.moves = places[free], moves[:, free]

    def draw(self, panel: Panel) -> None:
        """Add the layers."""
        if self.heat is not None:
            panel.heat(self.heat, limits=(0.0, 1.7), colormap="greys")
        if self.moves is not None:
            panel.arrows(*self.moves, color=colors.NEUTRAL, width=1.3, alpha=0.8)


def _over(
    field: Field, name: str, places: np.ndarray, times: np.ndarray, like: Tensor
) -> np.ndarray:
    """Evaluate a field at the same places (M, 2) at each time (F,): (F, M) or (F, M, 2).

    Raises:
        ValueError: values of another shape, or not finite.
    """
    x = torch.as_tensor(places).to(like)
    shape = (len(x),) if name == "density" else (len(x), 2)
    at, which = np.unique(times, return_inverse=True)  # a way back asks nothing anew
    values = np.empty((len(at), *shape))
    for k, time in enumerate(at):
        with torch.no_grad():
            found = field(x, x.new_full((len(x),), float(time)))
        if found.shape != shape or not bool(torch.isfinite(found).all()):
            raise ValueError(
                f"the {name} must be finite, of shape {shape}; got shape {tuple(found.shape)} or "
                f"numbers that are not finite at time {time:g}; near the data, stop the lanes at a "
                "small time above 0"
            )
        values[k] = found.double().cpu().numpy()
    return values[which]


def _square(lanes: Sequence[Lane]) -> Range:
    """Find one range for both coordinates that holds nearly all particles of all lanes."""
    ends = [np.quantile(lane.path, q) for lane in lanes for q in (0.003, 0.997)]
    reach = 1.1 * max(abs(float(end)) for end in ends) or 1.0
    return -reach, reach


def _crossed(off: Callable[[Tensor], Tensor], lane: Lane, like: Tensor) -> np.ndarray:
    with torch.no_grad():
        found = off(torch.as_tensor(lane.ends).to(like))
    if found.dtype != torch.bool or found.shape != (len(lane.ends),):
        raise ValueError(
            f"off must tell inside from outside; got {found.dtype} of shape {tuple(found.shape)}; "
            f"return booleans of shape ({len(lane.ends)},)"
        )
    return found.cpu().numpy()


def _sum_panel(scene: Scene, lane: Lane, held: np.ndarray, log_ratio: object) -> None:
    """Add the running sum of the log-ratios: one particle's, others faint, the mean dashed."""
    shape = (lane.steps, lane.path.shape[1])
    each = as_array(log_ratio, f"log_ratio, one per step and particle of {lane.name!r},", shape)
    sums = np.concatenate([np.zeros((1, shape[1])), np.cumsum(each, axis=0)])
    # One vertex per frame: where frames skip steps, so does the curve.
    panel = account_panel(
        scene, held, sums[held], title="log-ratios summed so far", label=f"step of {lane.name}",
        name="sum of log-ratios", inside=(0.01, 0.99), across=(0, lane.steps), weight=0.8,
    )  # fmt: skip
    mean = sums.mean(1)
    panel.lines(
        np.stack([np.arange(lane.steps + 1), mean], axis=1)[None], color=INK, width=2.0, dash=True
    )
    low, high = panel.y
    top = low + (0.06 if mean[-1] > 0.5 * (low + high) else 0.94) * (high - low)
    panel.text(0.97 * lane.steps, top, "dashed: mean", anchor="right")


def _notes(lanes: Sequence[Lane], clock: Clock, label: str) -> list[str]:
    found = []
    for f, time in enumerate(clock.times):
        states = [int(held[f]) for held in clock.held]
        steps = [f"{one.name}: {one.when(k)}" for one, k in zip(lanes, states, strict=True)]
        noising = lanes[0].way(states[0] or 1) == "pull"
        verb = "Pull, data to noise" if noising else "Push, noise to data"
        found.append(f"{verb}, {label} = {_time(time)}. {'; '.join(steps)}.")
    return found


def _description(lanes: Sequence[Lane], crossed: Sequence[np.ndarray] | None) -> str:
    ways = {
        (True, False): "from data to noise",
        (False, True): "from noise to data",
        (True, True): "from data to noise and back to data",
    }
    names = [  # many a name says already how many steps there are
        lane.name if "step" in lane.name else f"{lane.name} in {lane.steps} steps" for lane in lanes
    ]
    beside = f" in {len(lanes)} lanes side by side" if len(lanes) > 1 else ""
    text = (
        f"{len(lanes[0].path[0])} particles move {ways[lanes[0].ways]}{beside}: {'; '.join(names)}."
    )
    if crossed is None:
        return text
    ends = [f"{int(c.sum())} in {lane.name}" for c, lane in zip(crossed, lanes, strict=True)]
    return f"{text} Outside of every mode end {'; '.join(ends)}."


def _time(time: float) -> str:
    """Write a time with two decimals, or three where it is small."""
    return number(float(time), 2 if time == 0 or abs(time) >= 0.095 else 3)
