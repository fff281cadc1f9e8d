"""What a space of objects built move by move must offer; the rest of the family rests on this."""

from abc import ABC, abstractmethod

import torch
from torch import Size, Tensor, nn

from gentoolkit.core import validate


class Environment(nn.Module, ABC):
    """A directed acyclic graph of states, walked by a batch of paths at once; a module.

    A path starts at `start`, makes build moves `0 ... moves - 1`, and ends with the stop, whose
    number is `moves`. One number names an edge from both of its ends: `undo(step(s, m), m) = s`.

    Obligations: a subclass calls `super().__init__()`. States are rows of whole numbers
    `0 <= states[:, d] < sizes[d]`. `step` and `undo` leave a row where it is when its move is the
    stop or the padding -1; they may take a move that is not allowed for granted. Every state allows
    some move or the stop. No state comes twice on a path. Tables are buffers, so that they follow
    the model that holds the environment.

    Arguments:
        moves: number A of build moves.
        features: width of `encode`.
        longest: most build moves on a path.
        sizes: how many values each entry of a state may take.
    """

    moves: int
    features: int
    longest: int
    sizes: tuple[int, ...]

    def start(self, n: int, device: torch.device | str | None = None) -> Tensor:
        """Return `n` copies of the source state: all zeros, (n, D)."""
        return torch.zeros(n, len(self.sizes), dtype=torch.long, device=device)

    def encode(self, states: Tensor) -> Tensor:
        """Return what a network sees of the states, (B, features): each entry one-hot."""
        offsets = torch.tensor([0, *self.sizes[:-1]], device=states.device).cumsum(0)
        out = torch.zeros(len(states), sum(self.sizes), device=states.device)
        return out.scatter_(1, states + offsets, 1.0)

    @abstractmethod
    def allowed(self, states: Tensor) -> Tensor:
        """Return which moves may follow, bool (B, moves + 1); the last column is the stop."""

    @abstractmethod
    def undoable(self, states: Tensor) -> Tensor:
        """Return which build moves may have come last, bool (B, moves)."""

    @abstractmethod
    def step(self, states: Tensor, move: Tensor) -> Tensor:
        """Return the states after `move` (B,)."""

    @abstractmethod
    def undo(self, states: Tensor, move: Tensor) -> Tensor:
        """Return the states before `move` (B,)."""

    @property
    def event_shape(self) -> Size:
        """Shape of an object, (D,)."""
        return Size((len(self.sizes),))

    def objects(self, states: Tensor) -> Tensor:
        """Return what a reward is asked about: the rows of the states, (B, D)."""
        return states

    def index(self, objects: Tensor) -> Tensor:
        """Return the states of the given objects (B, D): here the rows themselves."""
        return objects


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the log-probabilities of a choice among the entries that `mask` allows.

    Logits, mask and result have shape (B, A); the result is `-inf` where the mask is false.

    Raises:
        ValueError: a row allows nothing.
    """
    refuse_stuck(mask)
    return logits.masked_fill(~mask, -torch.inf).log_softmax(-1)


def refuse_stuck(mask: Tensor, states: Tensor | None = None) -> None:
    """Raise ValueError if some row of `mask` (B, A) allows nothing; name the row or its state."""
    allows = mask.any(-1)
    if validate.readable(allows) and not bool(allows.all()):
        row = int((~allows).nonzero()[0])
        which = f"row {row} of {len(mask)}" if states is None else states[row].tolist()
        raise ValueError(
            f"every state must allow a move or the stop; got {which} with all of them masked; let "
            "that state stop, or forbid the moves that lead into it"
        )
