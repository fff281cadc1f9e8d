"""A GFlowNet as one step over discrete states, repeated: the core's chain of it."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core import Chain, Step
from gentoolkit.gflownet.model import GFlowNet
from gentoolkit.gflownet.paths import choose
from gentoolkit.gflownet.space import Space


@dataclass(frozen=True)
class Build(Step):
    """Move t of every path: a build move, the stop, or rest for a path that has stopped.

    A state is the number of a state of a `Space`, plus S once the path has stopped there. All
    paths to one state have one length here, so what is pulled knows how long it rested.

    Arguments:
        model: its push and pull; the environment is a `Space` without a context.
        time: number t of the move, from 0.
    """

    model: GFlowNet
    time: int

    @property
    def space(self) -> Space:
        """The listed space; `chain` has checked that there is one."""
        space = self.model.environment
        assert isinstance(space, Space)
        return space

    def push(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw the next states."""
        size, stop = self.space.size, self.space.moves
        at, done = x % size, x >= size
        move = choose(self.model.heads(at).log_push.detach().exp(), generator)
        ahead = torch.where(move == stop, at + size, self.space.step(at, move))
        y = torch.where(done, x, ahead)
        return y, self.log_ratio(x, y)

    def pull(self, y: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw the states before: a path rests until as many moves are left as it needs."""
        size = self.space.size
        at, done = y % size, y >= size
        # A state that cannot be undone is not pulled on: the source at time zero.
        probs = self.model.heads(at).log_pull.detach().exp()
        open_ = self.space.undoable(at).any(1)
        move = choose(torch.where(open_[:, None], probs, 1.0), generator)
        before = torch.where(open_, self.space.undo(at, move), at)
        rests = self.time > self._depth(at)
        x = torch.where(done, torch.where(rests, y, at), before)
        return x, self.log_ratio(x, y)

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `log pull - log push` of each pair, (B,); zero where the path rests."""
        size, stop = self.space.size, self.space.moves
        at, end = x % size, y % size
        rests, stops = x >= size, (x < size) & (y >= size)
        hit = (
            self.space.step(at[:, None], torch.arange(stop, device=at.device)) == end[:, None]
        ) & (self.space.children[at] >= 0)
        move = hit.int().argmax(1)
        push = self.model.heads(at).log_push
        made = torch.where(stops, stop, move)
        log_push = push.gather(1, made[:, None])[:, 0]
        log_pull = self.model.heads(end).log_pull.gather(1, move[:, None])[:, 0]
        ratio = torch.where(stops, -log_push, log_pull - log_push)
        return torch.where(rests, 0.0, ratio)

    def _depth(self, at: Tensor) -> Tensor:
        return self.space.depth[at]


@dataclass(frozen=True)
class Point:
    """The source of all paths: state 0, with probability one.

    Arguments:
        like: a tensor whose dtype and device the log-density takes.
    """

    like: Tensor

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Return `n` zeros."""
        return torch.zeros(n, dtype=torch.long, device=self.like.device)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return zero at the source, `-inf` elsewhere, (B,)."""
        return torch.where(x == 0, 0.0, -torch.inf).to(self.like)


def chain(model: GFlowNet) -> Chain:
    """Return the model as a chain of the core: `longest + 1` steps from the source to a stop.

    The end of a path is the number of its object plus the number S of states.

    Raises:
        TypeError: the environment is not a `Space`.
        ValueError: the policy takes a context, or paths of two lengths lead to one state.
    """
    space = model.environment
    if not isinstance(space, Space):
        raise TypeError(
            f"a chain needs a Space; got {type(space).__name__}; build the model on "
            "Space(environment)"
        )
    if model.policy.context:
        raise ValueError(
            f"a chain takes no context; got a policy with {model.policy.context}; use paths(n, "
            "context=...) and account"
        )
    there = space.children >= 0
    ahead = space.depth[space.children.clamp_min(0)]
    if bool((there & (ahead != space.depth[:, None] + 1)).any()):
        raise ValueError(
            "a chain needs all paths to a state to have one length; got a state reached by paths "
            "of two lengths; use paths(n) and account, which pad"
        )
    return Chain(Point(model.log_z.detach()), [Build(model, t) for t in range(space.longest + 1)])
