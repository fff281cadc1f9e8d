"""A memory of paths: objectives of balance hold for paths of any law, old ones too."""

import torch
from torch import Generator

from gentoolkit.core import validate
from gentoolkit.gflownet.paths import Paths, refuse_mixed


class ReplayBuffer:
    """The last paths that were drawn, or those of high reward more often.

        P(path) in proportion to R(x)^sharpness

    Arguments:
        capacity: number of paths kept; the oldest go first.
        sharpness: zero draws all alike; one in proportion to the reward.
    """

    def __init__(self, capacity: int, *, sharpness: float = 0.0) -> None:
        self.capacity = validate.positive_count("capacity", capacity)
        self.sharpness = validate.at_least_zero("sharpness", sharpness)
        self._room: Paths | None = None  # `capacity` paths, the oldest of which is overwritten
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, paths: Paths) -> None:
        """Keep the paths; the oldest leave when there are too many."""
        room = self._room
        if room is None:
            room = paths.pick(paths.moves.new_zeros(self.capacity))
        refuse_mixed([room, paths])
        if len(room.moves) != len(paths.moves):
            longest = max(len(room.moves), len(paths.moves))
            room, paths = room.padded(longest), paths.padded(longest)
        at = torch.arange(self._added, self._added + len(paths), device=paths.moves.device)
        at, new = at[-self.capacity :] % self.capacity, slice(-self.capacity, None)
        room.states[:, at] = paths.states[:, new]
        room.moves[:, at] = paths.moves[:, new]
        room.log_reward[at] = paths.log_reward[new]
        if room.context is not None and paths.context is not None:
            room.context[at] = paths.context[new]
        self._room, self._added = room, self._added + len(paths)

    def sample(self, n: int, *, generator: Generator | None = None) -> Paths:
        """Draw `n` paths with replacement; an empty buffer raises ValueError."""
        if self._room is None:
            raise ValueError("the buffer must hold paths; got none; call add(paths) first")
        validate.positive_count("n", n)
        log_reward = self._room.log_reward[: len(self)]
        if self.sharpness == 0.0:
            device = log_reward.device
            rows = torch.randint(len(self), (n,), device=device, generator=generator)
        else:
            weight = (self.sharpness * (log_reward - log_reward.max())).exp()
            rows = torch.multinomial(weight, n, replacement=True, generator=generator)
        return self._room.pick(rows)
