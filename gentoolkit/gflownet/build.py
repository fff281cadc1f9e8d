"""A GFlowNet as one step over discrete states, repeated: the core's chain of it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core import Step
from gentoolkit.gflownet.paths import choose
from gentoolkit.gflownet.policy import PolicyOutput
from gentoolkit.gflownet.space import Space


@dataclass(frozen=True)
class Build(Step):
    """Move t of every path: a build move, the stop, or rest for a path that has stopped.

    A state is the number of a state of a `Space`, plus S once the path has stopped there. All
    paths to one state have one length here, so what is pulled knows how long it rested.

    Arguments:
        policy: from states and contexts to what the model says of them.
        time: number t of the move, from 0.
        context: (B, K), one row for each path, or None.
    """

    policy: Callable[[Tensor, Tensor | None], PolicyOutput]
    space: Space
    time: int
    context: Tensor | None = None

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw the next states."""
        size, stop = self.space.size, self.space.moves
        at, done = x % size, x >= size
        move = choose(self.policy(at, self.context).log_push.detach().exp(), generator)
        ahead = torch.where(move == stop, at + size, self.space.step(at, move))
        y = torch.where(done, x, ahead)
        return y, self.log_ratio(x, y)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw the states before: a path rests until as many moves are left as it needs."""
        size = self.space.size
        at, done = y % size, y >= size
        # A state that cannot be undone is not pulled on: the source at time zero.
        probs = self.policy(at, self.context).log_pull.detach().exp()
        open_ = self.space.undoable(at).any(1)
        move = choose(torch.where(open_[:, None], probs, 1.0), generator)
        before = torch.where(open_, self.space.undo(at, move), at)
        rests = self.time > self.space.depth[at]
        x = torch.where(done, torch.where(rests, y, at), before)
        return x, self.log_ratio(x, y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log pull - log push` of each pair, (B,); zero where the path rests."""
        size, stop = self.space.size, self.space.moves
        at, end = x % size, y % size
        rests, stops = x >= size, (x < size) & (y >= size)
        move = (self.space.child[at] == end[:, None]).int().argmax(1)
        made = torch.where(stops, stop, move)
        log_push = self.policy(at, self.context).log_push.gather(1, made[:, None])[:, 0]
        log_pull = self.policy(end, self.context).log_pull.gather(1, move[:, None])[:, 0]
        ratio = torch.where(stops, -log_push, log_pull - log_push)
        return torch.where(rests, 0.0, ratio)


@dataclass(frozen=True)
class Finish(Step):
    """The last step: the number of a stopped state of `space` becomes its object, for certain.

    The ratio is zero, with the dtype of the tensor `like`.
    """

    space: Space
    like: Tensor

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return the objects, (B, D), and zero."""
        return self.space.objects(x % self.space.size), self.log_ratio(x, x)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return the numbers of the objects, plus S, and zero."""
        return self.space.index(y) + self.space.size, self.log_ratio(y, y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero, (B,)."""
        return self.like.new_zeros(len(x))
