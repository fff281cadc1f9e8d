"""Batches of paths of unequal length, and how they are drawn.

The padding rule: after its stop a path stays where it is, its moves are -1, and it adds zero to
every sum. The stop itself is never undone by chance: its pull has probability one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate
from gentoolkit.gflownet.environment import Environment

PADDING = -1
Chooser = Callable[[Tensor], Tensor]
"""From states (B, ...) to probabilities (B, moves), not necessarily normalised."""


@dataclass(frozen=True)
class Paths:
    """B paths from the source to a stop, padded to T moves.

    Arguments:
        states: (T, B, ...) the state before each move; the last row holds the finished objects.
        moves: (T, B) the moves; the last one of a path is the stop, then comes `PADDING`.
        log_reward: (B,) log R of the objects.
        context: (B, K) what each path was conditioned on, or None.

    Raises:
        ValueError: the shapes do not fit: paths of unequal length must be padded.
    """

    states: Tensor
    moves: Tensor
    log_reward: Tensor
    context: Tensor | None = None

    def __post_init__(self) -> None:
        states, moves, rewards = self.states.shape, self.moves.shape, self.log_reward.shape
        context = None if self.context is None else self.context.shape
        rows = moves[1:] if context is None else context[:1]
        if not (len(moves) == 2 and states[:2] == moves and moves[1:] == rewards == rows):
            raise ValueError(
                "paths need states (T, B, ...), moves (T, B), log_reward (B,) and contexts (B, K) "
                f"or None; got {states}, {moves}, {rewards} and {context}; pad shorter paths: "
                f"repeat the last state, and write {PADDING} for the moves after the stop"
            )

    @property
    def alive(self) -> Tensor:
        """Whether each entry of `moves` is a move, the stop included, bool (T, B)."""
        return self.moves != PADDING

    @property
    def ends(self) -> Tensor:
        """The state in which each path stopped, (B, ...)."""
        return self.states[-1]

    def __len__(self) -> int:
        return self.moves.shape[1]

    def visited(self) -> int:
        """Return how many states the paths passed through."""
        return int(self.alive.sum())

    def pick(self, rows: Tensor) -> "Paths":
        """Return the paths of the given numbers (B',)."""
        context = None if self.context is None else self.context[rows]
        return Paths(self.states[:, rows], self.moves[:, rows], self.log_reward[rows], context)

    def padded(self, length: int) -> "Paths":
        """Return the paths in `length` rows: the last state repeated, the moves `PADDING`."""
        more = length - len(self.moves)
        states = torch.cat([self.states, self.states[-1:].expand(more, *self.states.shape[1:])])
        moves = torch.cat([self.moves, self.moves.new_full((more, len(self)), PADDING)])
        return Paths(states, moves, self.log_reward, self.context)


def join(batches: list[Paths]) -> Paths:
    """Return one batch of all the paths, padded to the longest.

    Raises:
        ValueError: there is no batch, or some have a context and others none.
    """
    if not batches:
        raise ValueError("join needs a batch of paths; got none; draw some first")
    refuse_mixed(batches)
    padded = [b.padded(max(len(b.moves) for b in batches)) for b in batches]
    contexts = [b.context for b in batches if b.context is not None]
    return Paths(
        torch.cat([b.states for b in padded], 1),
        torch.cat([b.moves for b in padded], 1),
        torch.cat([b.log_reward for b in batches]),
        torch.cat(contexts) if contexts else None,
    )


def refuse_mixed(batches: list[Paths]) -> None:
    """Raise ValueError if some batches have a context and others none."""
    count = sum(b.context is not None for b in batches)
    if count not in (0, len(batches)):
        raise ValueError(
            f"all paths must have a context or none; got {count} of {len(batches)} batches with "
            "one; draw them from one model"
        )


def choose(probs: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw one column of each row in proportion to its entry, (B, A) -> (B,)."""
    # The first of A exponential clocks with these rates: no normalisation, no sorted sums.
    clocks = torch.empty_like(probs).exponential_(generator=generator)
    return (probs / clocks).argmax(-1)


def push_paths(
    environment: Environment,
    chooser: Chooser,
    n: int,
    generator: Generator | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the padded states (T, n, ...) and moves (T, n) of `n` paths from the source, in step.

    The chooser gives the moves and the stop, (B, moves + 1), zero where they are not allowed.
    """
    stop = environment.moves
    state = environment.start(validate.positive_count("n", n), device)
    done = torch.zeros(n, dtype=torch.bool, device=device)
    states, moves = [], []
    for _ in range(environment.longest + 1):
        move = choose(chooser(state), generator).masked_fill(done, PADDING)
        states.append(state)
        moves.append(move)
        done = (move == stop) | done
        if validate.readable(done) and bool(done.all()):
            break
        state = environment.step(state, move)
    return torch.stack(states), torch.stack(moves)


def pull_paths(
    environment: Environment,
    chooser: Chooser,
    ends: Tensor,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw one path to each of the states `ends` (B, ...), from its stop back to the source.

    The chooser gives the undoable moves, (B, moves), zero where they are not. States (T, B, ...)
    and moves (T, B) are returned from the source on, padded.

    Raises:
        ValueError: some state of `ends` may not stop.
    """
    stops = environment.allowed(ends)[:, -1]
    if validate.readable(stops) and not bool(stops.all()):
        strange = environment.objects(ends)[int((~stops).nonzero()[0])].tolist()
        raise ValueError(
            f"paths end in states that may stop; got {strange}, which may not; "
            "pass finished objects"
        )
    state, n = ends, len(ends)
    states, moves = [state], [torch.full((n,), environment.moves, device=ends.device)]
    for _ in range(environment.longest):
        open_ = environment.undoable(state).any(1)
        if validate.readable(open_) and not bool(open_.any()):
            break
        move = choose(chooser(state), generator).masked_fill(~open_, PADDING)
        state = environment.undo(state, move)
        states.append(state)
        moves.append(move)
    return _aligned(torch.stack(states), torch.stack(moves))


def _aligned(states: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Turn pulled rows round: row t of the result is t moves from the source."""
    alive = moves != PADDING
    last = alive.sum(0) - 1  # the pulled row that holds the source
    at = last - torch.arange(len(moves), device=moves.device)[:, None]  # (T, B)
    columns = torch.arange(moves.shape[1], device=moves.device)
    kept = at.clamp_min(0)
    return states[kept, columns], torch.where(at >= 0, moves[kept, columns], PADDING)
