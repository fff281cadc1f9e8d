"""Small state spaces: a grid and sets."""

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.gflownet.environment import Environment


class _Counts(Environment):
    """Move m adds one to entry m of a state, undoing it takes one away; the stop does nothing."""

    def step(self, states: Tensor, move: Tensor) -> Tensor:
        """Add one to the chosen entry."""
        return states + self._at(states, move)

    def undo(self, states: Tensor, move: Tensor) -> Tensor:
        """Take one from the chosen entry."""
        return states - self._at(states, move)

    def _at(self, states: Tensor, move: Tensor) -> Tensor:
        return (move[:, None] == torch.arange(self.moves, device=states.device)).long()


class Hypergrid(_Counts):
    """Points of `{0 ... side - 1}^dims`; move d adds one to coordinate d; any point may stop.

    Arguments:
        side: values of a coordinate, two or more.
        dims: number of coordinates.

    >>> grid = Hypergrid(side=4, dims=2)
    >>> grid.step(grid.start(1), torch.tensor([1]))
    tensor([[0, 1]])
    """

    def __init__(self, side: int = 8, dims: int = 2) -> None:
        super().__init__()
        self.side = validate.positive_count("side", side)
        self.dims = validate.positive_count("dims", dims)
        if side < 2:
            raise ValueError(f"side must be at least 2; got {side}; a grid of one point is no grid")
        self.moves, self.sizes = dims, (side,) * dims
        self.features, self.longest = side * dims, (side - 1) * dims

    def allowed(self, states: Tensor) -> Tensor:
        """Return which coordinates are below their last value; the stop is always allowed."""
        room = states < self.side - 1
        return torch.cat([room, torch.ones_like(room[:, :1])], 1)

    def undoable(self, states: Tensor) -> Tensor:
        """Return which coordinates are above zero."""
        return states > 0


class Subsets(_Counts):
    """Subsets of n things, grown one by one; those of `least` to `most` things may stop.

    Arguments:
        things: number n of things; move i adds thing i.
        least: smallest subset that may stop.
        most: largest subset; n if left out.
    """

    def __init__(self, things: int, *, least: int = 0, most: int | None = None) -> None:
        super().__init__()
        self.things = validate.positive_count("things", things)
        self.most = things if most is None else validate.positive_count("most", most)
        self.least = least
        if not 0 <= least <= self.most <= things:
            raise ValueError(
                f"sizes must satisfy 0 <= least <= most <= {things}; got least={least}, "
                f"most={self.most}; otherwise some subset could neither grow nor stop"
            )
        self.moves, self.sizes = things, (2,) * things
        self.features, self.longest = things, self.most

    def encode(self, states: Tensor) -> Tensor:
        """Return the membership as zeros and ones, (B, things)."""
        return states.to(torch.get_default_dtype())

    def allowed(self, states: Tensor) -> Tensor:
        """Return what is not yet in, while there is room, and whether the size may stop."""
        size = states.sum(1, keepdim=True)
        return torch.cat([(states == 0) & (size < self.most), size >= self.least], 1)

    def undoable(self, states: Tensor) -> Tensor:
        """Return what is in."""
        return states > 0
