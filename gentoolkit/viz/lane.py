"""Lanes: runs of particles through time, and the frames that lanes of unequal steps share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gentoolkit.viz.arrays import as_array, at_least
from gentoolkit.viz.particles import in_plane


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
        if len(self.states) < 2:
            raise ValueError(
                f"the lane {self.name!r} has no steps; got {len(self.states)} states; pass two or "
                "more"
            )
        path = in_plane(self.states, f"lane {self.name!r}, state")
        at = as_array(self.times, f"times of lane {self.name!r}", (len(path),))
        turns = np.diff(np.sign(np.diff(at)))
        if (np.diff(at) == 0).any() or (turns > 0).any() or (turns < 0).sum() > 1:
            raise ValueError(
                f"times of lane {self.name!r} must run; got {len(at)} from {at[0]:g} to "
                f"{at[-1]:g}; pass times that fall, that rise, or that rise and then fall"
            )
        estimates = None
        if self.data is not None:
            estimates = in_plane(self.data, f"lane {self.name!r}, estimate")
            as_array(estimates, f"estimates of lane {self.name!r}", path.shape)
        for name, value in (("path", path), ("at", at), ("estimates", estimates)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, name: str, run: Iterable[Any]) -> "Lane":
        """Collect the ``time``, ``x`` (N, 2) and ``estimate`` (N, 2) that a sampler yields.

        Raises:
            ValueError: the states do not make a lane.
        """
        stops = list(run)
        states, data = [stop.x for stop in stops], [stop.estimate for stop in stops]
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
    def ways(self) -> tuple[bool, bool]:
        """Whether it has steps towards noise, and steps towards data."""
        return self.rising > 0, self.rising < self.steps

    @property
    def ends(self) -> np.ndarray:
        """(N, 2) states at the least time: the data of this lane, the later one if it has two."""
        return self.path[self.steps - int(self.at[::-1].argmin())]

    @property
    def travelled(self) -> np.ndarray:
        """(T + 1,) time passed since the start, whichever way it ran."""
        return np.concatenate([[0.0], np.cumsum(np.abs(np.diff(self.at)))])

    def held(self, travelled: np.ndarray) -> np.ndarray:
        """Find the numbers (F,) of the last states reached after so much time (F,)."""
        slack = 1e-6 * self.travelled[-1]  # times have often passed through float32
        return np.searchsorted(self.travelled, travelled + slack, side="right") - 1

    def when(self, k: int) -> str:
        """Say in words where in the lane the state k is, such as ``step 3 of 10``."""
        past, total = (0, self.rising) if k <= self.rising else (self.rising, self.steps)
        if not self.rising:
            past, total = 0, self.steps
        return f"step {k - past} of {total - past}"

    def way(self, k: int) -> str:
        """Name the direction of the step that led to the state k, or of the first one."""
        return "pull" if k <= self.rising and self.rising else "push"

    def __str__(self) -> str:
        """Return the name and the times between which the lane runs."""
        return f"{self.name!r} from {self.at[0]:g} to {self.at[-1]:g}"


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
    if pull.ways != (True, False) or push.ways != (False, True):
        raise ValueError(
            f"there and back needs a lane that rises and one that falls; got {pull} and {push}; "
            "pass the pull first"
        )
    same = pull.path[0].shape == push.path[0].shape
    far = float(np.abs(pull.path[-1] - push.path[0]).max()) if same else np.inf
    if far > 1e-4 * (1 + np.abs(pull.path[-1]).max()) or abs(pull.at[-1] - push.at[0]) > 1e-6:
        raise ValueError(
            f"the push must start where the pull ended; got states {far:.3g} apart, at times "
            f"{pull.at[-1]:g} and {push.at[0]:g}; start the sampler from the pull's last state"
        )
    data = None
    if pull.data is not None and push.data is not None:
        data = [*pull.data, *push.data[1:]]
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
    at_least(frames, "frames", 2)
    if not lanes:
        raise ValueError("there must be a lane to show; got none; pass Lane(name, states, times)")
    first = lanes[0]
    for lane in lanes:
        if lane.path[0].shape != first.path[0].shape:
            raise ValueError(
                f"lanes must hold the same particles; got {len(first.path[0])} in {first.name!r} "
                f"and {len(lane.path[0])} in {lane.name!r}; start all from the same states"
            )
        far = abs(lane.travelled[-1] - first.travelled[-1])
        if lane.ways != first.ways or far > 0.1 * first.travelled[-1]:
            raise ValueError(
                f"lanes must run the same way over one time; got {first} and {lane}; give all "
                "times in one unit, and join a pull and a push with there_and_back"
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
