"""Lanes: runs of particles through time, and the frames that lanes of unequal steps share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gentoolkit.viz.arrays import as_array


class Stop(Protocol):
    """What a sampler yields: a time, the states there, and the data estimated from them."""

    @property
    def time(self) -> float:
        """The time."""
        ...

    @property
    def x(self) -> Tensor:
        """(N, 2) states."""
        ...

    @property
    def data(self) -> Tensor:
        """(N, 2) estimates of the data."""
        ...


@dataclass(frozen=True, eq=False)
class Lane:
    """One run of particles through time, in the order in which it happened.

    Arguments:
        name: shown above it.
        states: T + 1 arrays or tensors of shape (N, 2).
        times: (T + 1,) time of each state: falling where noise is pushed to data, rising where
            data is pulled to noise, or first rising and then falling.
        data: T + 1 estimates of the data, (N, 2), if there are any.

    Raises:
        ValueError: fewer than two states, states that are not (N, 2), numbers that are not finite,
            not one time or estimate per state, or times that stand still or turn otherwise.
    """

    name: str
    states: Sequence[object]
    times: object
    data: Sequence[object] | None = None
    path: np.ndarray = field(init=False, repr=False)
    """(T + 1, N, 2) states."""
    at: np.ndarray = field(init=False, repr=False)
    """(T + 1,) times."""
    estimates: np.ndarray | None = field(init=False, repr=False)
    """(T + 1, N, 2) estimates of the data, or None."""

    def __post_init__(self) -> None:
        path = _path(self.name, "state", self.states)
        at = as_array(self.times, f"the times of lane {self.name!r}", ("N",))
        if len(path) < 2 or len(at) != len(path):
            raise ValueError(
                f"The lane {self.name!r} has no steps, or not one time per state: got {len(path)} "
                f"states and {len(at)} times. Pass two states or more, and as many times."
            )
        turns = np.diff(np.sign(np.diff(at)))
        if (np.diff(at) == 0).any() or (turns > 0).any() or (turns < 0).sum() > 1:
            raise ValueError(
                f"The times of lane {self.name!r} do not run: got {len(at)} from {at[0]:g} to "
                f"{at[-1]:g}. Pass times that fall, that rise, or that rise and then fall."
            )
        estimates = None if self.data is None else _path(self.name, "estimate", self.data)
        if estimates is not None and estimates.shape != path.shape:
            raise ValueError(
                f"The estimates of lane {self.name!r} do not fit: got shape {estimates.shape} for "
                f"states {path.shape}. Pass one estimate per state and particle."
            )
        for name, value in (("path", path), ("at", at), ("estimates", estimates)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, name: str, run: Iterable[Stop]) -> "Lane":
        """Collect what a sampler yields.

        Arguments:
            name: shown above the lane.
            run: objects with ``time``, ``x`` (N, 2) and ``data`` (N, 2).

        Raises:
            ValueError: the states do not make a lane.
        """
        stops = list(run)
        states, data = [stop.x for stop in stops], [stop.data for stop in stops]
        return cls(name, states, [float(stop.time) for stop in stops], data)

    @property
    def steps(self) -> int:
        """The number of steps, T."""
        return len(self.at) - 1

    @property
    def rising(self) -> int:
        """How many steps, from the first on, lead towards noise."""
        return int((np.diff(self.at) > 0).sum())

    @property
    def ends(self) -> np.ndarray:
        """(N, 2) states at the least time: the data of this lane, the later one if it has two."""
        return self.path[self.steps - int(self.at[::-1].argmin())]

    @property
    def travelled(self) -> np.ndarray:
        """(T + 1,) time passed since the start, whichever way it ran."""
        return np.concatenate([[0.0], np.cumsum(np.abs(np.diff(self.at)))])

    def held(self, travelled: np.ndarray) -> np.ndarray:
        """Find the last state that is reached after so much time.

        Arguments:
            travelled: (F,) time passed since the start.

        Returns:
            (F,) indices of states.
        """
        slack = 1e-6 * self.travelled[-1]  # times have often passed through float32
        return np.searchsorted(self.travelled, travelled + slack, side="right") - 1

    def when(self, k: int) -> str:
        """Say in words where in the lane the state k is, such as ``step 3 of 10``."""
        past, total = (0, self.rising) if k <= self.rising else (self.rising, self.steps)
        if not self.rising:
            past, total = 0, self.steps
        return f"step {k - past} of {total - past}"


def there_and_back(pull: Lane, push: Lane, name: str = "") -> Lane:
    """Join a pull and the push that starts where it ended: data -> noise -> data.

    Arguments:
        pull: a lane whose times rise.
        push: a lane of the same particles whose times fall.
        name: shown above; the push's name if empty.

    Returns:
        One lane; estimates of the data are kept if both have them.

    Raises:
        ValueError: a lane runs the other way, or the push does not start where the pull ended.
    """
    if pull.rising != pull.steps or push.rising:
        raise ValueError(
            f"There is no way there and back: got times from {pull.at[0]:g} to {pull.at[-1]:g} and "
            f"from {push.at[0]:g} to {push.at[-1]:g}. Pass a lane that rises and one that falls."
        )
    same = pull.path[0].shape == push.path[0].shape
    far = float(np.abs(pull.path[-1] - push.path[0]).max()) if same else np.inf
    if far > 1e-4 * (1 + np.abs(pull.path[-1]).max()) or abs(pull.at[-1] - push.at[0]) > 1e-6:
        raise ValueError(
            f"The push does not start where the pull ended: got states {far:.3g} apart, at times "
            f"{pull.at[-1]:g} and {push.at[0]:g}. Start the sampler from the pull's last state."
        )
    both = pull.data is not None and push.data is not None
    data = [*(pull.data or ()), *(push.data or ())[1:]] if both else None
    times = np.concatenate([pull.at, push.at[1:]])
    return Lane(name or push.name, [*pull.states, *push.states[1:]], times, data)


@dataclass(frozen=True, eq=False)
class Clock:
    """The frames that several lanes share.

    Arguments:
        times: (F,) time of each frame.
        held: for each lane (F,) the index of the state that it shows.
    """

    times: np.ndarray
    held: tuple[np.ndarray, ...]


def common(lanes: Sequence[Lane], frames: int) -> Clock:
    """Lay the lanes on one axis; every step of the finest lane gets the same number of frames.

    Arguments:
        lanes: one or more lanes of the same particles.
        frames: about how many frames; a lane of many more steps is shown in part.

    Raises:
        ValueError: lanes of different particles or directions, or fewer than two frames.
    """
    if not lanes:
        raise ValueError("There is no lane to show: got 0. Pass Lane(name, states, times).")
    if isinstance(frames, bool) or frames != int(frames) or frames < 2:
        raise ValueError(f"There are too few frames: got {frames!r}. Pass a whole number above 1.")
    first = lanes[0]
    for lane in lanes:
        if lane.path[0].shape != first.path[0].shape:
            raise ValueError(
                f"The lanes hold different particles: got {len(first.path[0])} in {first.name!r} "
                f"and {len(lane.path[0])} in {lane.name!r}. Start all lanes from the same states."
            )
        ways = [(one.rising > 0, one.rising < one.steps) for one in (first, lane)]
        if ways[0] != ways[1]:
            raise ValueError(
                f"The lanes run different ways: got {first.name!r} from {first.at[0]:g} to "
                f"{first.at[-1]:g} and {lane.name!r} from {lane.at[0]:g} to {lane.at[-1]:g}. "
                "Show a pull and a push one after the other with there_and_back."
            )
        if abs(lane.travelled[-1] - first.travelled[-1]) > 0.1 * first.travelled[-1]:
            raise ValueError(
                f"The lanes do not share one time: got {first.name!r} from {first.at[0]:g} to "
                f"{first.at[-1]:g} and {lane.name!r} from {lane.at[0]:g} to {lane.at[-1]:g}. "
                "Give the times of all lanes in the same unit, over the same range."
            )
    # Of equally many steps, the grid that gathers most: its short steps must not fall in one frame.
    finest = max(lanes, key=lambda one: (one.steps, -np.diff(one.travelled).min()))
    each = max(1, round((frames - 1) / finest.steps))
    count = each * finest.steps if finest.steps < 1.5 * frames else frames - 1
    where = np.linspace(0, finest.steps, count + 1)
    travelled = np.interp(where, np.arange(finest.steps + 1), finest.travelled)
    times = np.interp(where, np.arange(finest.steps + 1), finest.at)
    # Where a grid is that of the frames, the index is exact, however short a step may be.
    exact = np.floor(where + 1e-9).astype(int)
    held = [exact if np.array_equal(one.at, finest.at) else one.held(travelled) for one in lanes]
    for lane, steps in zip(lanes, held, strict=True):
        steps[-1] = lane.steps  # some stop a little before the data
    return Clock(times, tuple(held))


def like(lanes: Sequence[Lane]) -> Tensor:
    """Return a tensor of the dtype and device of the first lane's states."""
    state = lanes[0].states[0]
    return state.detach() if isinstance(state, Tensor) else torch.zeros(1)


def _path(name: str, what: str, states: Sequence[object]) -> np.ndarray:
    arrays = [as_array(state, f"{what} {k} of lane {name!r}") for k, state in enumerate(states)]
    for k, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1] != 2 or array.shape != arrays[0].shape:
            raise ValueError(
                f"The {what} {k} of lane {name!r} is not in the plane: got shape {array.shape}. "
                "Pass (N, 2) numbers, as many in each."
            )
    return np.stack(arrays) if arrays else np.zeros((0, 1, 2))
