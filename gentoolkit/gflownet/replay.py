"""A memory of paths: objectives of balance hold for paths of any law, old ones too."""

from math import isfinite

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.gflownet.paths import Paths, choose, join


class ReplayBuffer:
    """The last paths that were drawn, or those of high reward more often.

        P(path) in proportion to R(x)^sharpness

    Arguments:
        capacity: number of paths kept; the oldest go first.
        sharpness: zero draws all alike; one in proportion to the reward.

    Raises:
        ValueError: `capacity` is below one, or `sharpness` is negative or not finite.
    """

    def __init__(self, capacity: int, sharpness: float = 0.0) -> None:
        self.capacity = validate.positive_count("capacity", capacity)
        if not (isfinite(sharpness) and sharpness >= 0):
            raise ValueError(
                f"sharpness must be zero or positive; got {sharpness}; zero draws all alike"
            )
        self.sharpness = sharpness
        self._paths: Paths | None = None

    def __len__(self) -> int:
        return 0 if self._paths is None else len(self._paths)

    def add(self, paths: Paths) -> None:
        """Keep the paths; the oldest leave when there are too many."""
        kept = paths if self._paths is None else join([self._paths, paths])
        if len(kept) > self.capacity:
            device = kept.moves.device
            kept = kept.pick(torch.arange(len(kept) - self.capacity, len(kept), device=device))
        self._paths = kept

    def sample(self, n: int, generator: Generator | None = None) -> Paths:
        """Draw `n` paths with replacement.

        Raises:
            ValueError: the buffer is empty.
        """
        if self._paths is None:
            raise ValueError("the buffer must hold paths; got none; call add(paths) first")
        validate.positive_count("n", n)
        return self._paths.pick(self._numbers(self._paths.log_reward, n, generator))

    def _numbers(self, log_reward: Tensor, n: int, generator: Generator | None) -> Tensor:
        weight = (self.sharpness * (log_reward - log_reward.max())).exp()
        return choose(weight.expand(n, -1), generator)
