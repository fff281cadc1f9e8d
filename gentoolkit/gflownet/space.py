"""An environment small enough to list: every state a number, every move a look-up."""

import torch
from torch import Size, Tensor

from gentoolkit.core import validate
from gentoolkit.gflownet.environment import Environment, refuse_stuck


class Space(Environment):
    """All states of an environment as the numbers `0 ... S - 1`, itself an environment.

    States are sorted by level, the longest distance from the source, so that every edge leads to a
    later level and state 0 is the source. A state is then a number, shape (B,).

    Arguments:
        environment: what is listed.
        limit: refuse to list more states than this.

    Attributes:
        rows: (S, D) the environment's states.
        child, parent: (S, moves) number of the state after and before each move, -1 for none.
        may_stop: bool (S,).
        levels: slices of states, from the source down.
        depth: (S,) level of each state, the longest distance from the source.

    Raises:
        ValueError: there are more states than `limit`, a cycle, a state that can neither move nor
            stop, or masks of allowed and of undoable moves that contradict each other.
    """

    rows: Tensor
    child: Tensor
    parent: Tensor
    may_stop: Tensor
    depth: Tensor
    _table: Tensor
    _keys: Tensor
    _place: Tensor
    _strides: Tensor
    _mask: Tensor
    _next: Tensor
    _back: Tensor

    def __init__(self, environment: Environment, *, limit: int = 1_000_000) -> None:
        super().__init__()
        self.environment = environment
        self.moves, self.features = environment.moves, environment.features
        self.longest = environment.longest
        sizes = torch.tensor(environment.sizes)
        if float(sizes.double().prod()) > 2**62:
            raise ValueError(
                f"a listed space needs few states; got sizes {environment.sizes}; "
                "use the environment itself, without tables"
            )
        strides = torch.cat([sizes.flip(0).cumprod(0).flip(0)[1:], sizes.new_ones(1)])
        keys = _reachable(environment, strides, sizes, limit)
        rows = _rows(keys, strides, sizes)
        mask = environment.allowed(rows)
        refuse_stuck(mask, rows)
        children = torch.full((len(rows), environment.moves), -1)
        at, move = mask[:, :-1].nonzero(as_tuple=True)
        ahead = (environment.step(rows[at], move) * strides).sum(1)
        children[at, move] = torch.searchsorted(keys, ahead)
        first = int(torch.searchsorted(keys, (environment.start(1) * strides).sum(1)))
        level = _levels(children, rows, first)
        order = torch.sort(level, stable=True).indices
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        rows, may_stop, stay = rows[order], mask[order, -1], torch.arange(len(order))[:, None]
        child = torch.where(children >= 0, place[children], -1)[order]
        parent = torch.full_like(child, -1)
        at, move = (child >= 0).nonzero(as_tuple=True)
        parent[child[at, move], move] = at
        undoable = environment.undoable(rows)
        if not torch.equal(parent >= 0, undoable):
            strange = rows[((parent >= 0) != undoable).any(1).nonzero()[0, 0]].tolist()
            raise ValueError(
                "undoable moves must be those that lead here; got another mask at state "
                f"{strange}; make undo(step(s, m), m) = s for every allowed m"
            )
        ends = level[order].bincount().cumsum(0).tolist()
        self.levels = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        self.sizes = (len(order),)
        tables = {
            "rows": rows,
            "child": child,
            "parent": parent,
            "may_stop": may_stop,
            "depth": level[order],
            "_table": environment.encode(rows),
            "_keys": keys,
            "_place": place,
            "_strides": strides,
            "_mask": torch.cat([child >= 0, may_stop[:, None]], 1),
            # The stop and the padding -1 both read the last column, which stays.
            "_next": torch.cat([torch.where(child >= 0, child, stay), stay], 1),
            "_back": torch.cat([torch.where(parent >= 0, parent, stay), stay], 1),
        }
        for name, table in tables.items():  # listed anew from the environment, never loaded
            self.register_buffer(name, table, persistent=False)

    @property
    def size(self) -> int:
        """Number S of states."""
        return self.sizes[0]

    def index(self, objects: Tensor) -> Tensor:
        """Return the numbers of the given states of the environment, (B, D) -> (B,).

        Raises:
            ValueError: some row is not a state that can be reached.
        """
        keys = self._keys
        if objects.shape[-1:] != self.event_shape:
            raise ValueError(
                f"rows must have shape (B, {len(self._strides)}); got {tuple(objects.shape)}; pass "
                "states of the environment, not their numbers"
            )
        wanted = (objects * self._strides).sum(-1)
        at = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        if validate.readable(wanted) and not torch.equal(keys[at], wanted):
            strange = objects[(keys[at] != wanted).nonzero()[0, 0]].tolist()
            raise ValueError(
                f"rows must be states of the environment; got {strange}; "
                "pass rows that moves can reach"
            )
        return self._place[at]

    @property
    def event_shape(self) -> Size:
        """Shape of an object, (D,)."""
        return self.environment.event_shape

    def start(self, n: int, device: torch.device | str | None = None) -> Tensor:
        """Return `n` times the source, which is number 0, (n,)."""
        return torch.zeros(n, dtype=torch.long, device=device)

    def encode(self, states: Tensor) -> Tensor:
        """Return what the environment shows of the states, (B, features)."""
        return self._table[states]

    def allowed(self, states: Tensor) -> Tensor:
        """Return which moves may follow, bool (B, moves + 1)."""
        return self._mask[states]

    def undoable(self, states: Tensor) -> Tensor:
        """Return which build moves may have come last, bool (B, moves)."""
        return self.parent[states] >= 0

    def step(self, states: Tensor, move: Tensor) -> Tensor:
        """Look up the next states."""
        return self._next[states, move]

    def undo(self, states: Tensor, move: Tensor) -> Tensor:
        """Look up the states before."""
        return self._back[states, move]

    def objects(self, states: Tensor) -> Tensor:
        """Return the rows of the environment, (B, D)."""
        return self.rows[states]


def _rows(keys: Tensor, strides: Tensor, sizes: Tensor) -> Tensor:
    return keys[:, None].div(strides, rounding_mode="floor") % sizes


def _reachable(environment: Environment, strides: Tensor, sizes: Tensor, limit: int) -> Tensor:
    """Return the sorted keys of all states that moves can reach."""
    frontier = environment.start(1)
    known = (frontier * strides).sum(1)
    while len(frontier):
        at, move = environment.allowed(frontier)[:, :-1].nonzero(as_tuple=True)
        keys = (environment.step(frontier[at], move) * strides).sum(1).unique()
        fresh = keys[~torch.isin(keys, known)]
        known = torch.cat([known, fresh])
        if len(known) > limit:
            raise ValueError(
                f"a listed space may have at most {limit} states; got more; raise limit, or use "
                "the environment itself, without tables"
            )
        frontier = _rows(fresh, strides, sizes)
    return known.sort().values


def _levels(children: Tensor, rows: Tensor, first: int) -> Tensor:
    """Return the longest distance of each state from the source, by peeling layer after layer."""
    waiting = children[children >= 0].bincount(minlength=len(rows))
    level = torch.full((len(rows),), -1)
    frontier, depth = torch.tensor([first]), 0
    while len(frontier) and not bool(waiting[first]):
        level[frontier], depth = depth, depth + 1
        ahead = children[frontier]
        ahead = ahead[ahead >= 0]
        waiting -= ahead.bincount(minlength=len(rows))
        ahead = ahead.unique()
        frontier = ahead[waiting[ahead] == 0]
    if bool((level < 0).any()):
        raise ValueError(
            "the environment must have no cycle; got one through state "
            f"{rows[(level < 0).nonzero()[0, 0]].tolist()}; flows on a cycle can be infinite: "
            "forbid the move that closes it"
        )
    return level
