"""A few states as a graph in the plane: where they lie, which are neighbours, who is where when."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gentoolkit.viz.arrays import Range, as_array

ROOM = 0.23
"""Radius that a state keeps for its particles, as a share of the least distance of two states."""
_BENT, _VERTICES = 0.30, 9


class Jumping(Protocol):
    """What a batch of jump paths offers."""

    start: float
    """Time where the paths begin."""
    end: float
    """Time where they end."""

    def state_at(self, t: float) -> Tensor:
        """(B, D) tokens at time t."""
        ...


@dataclass(frozen=True, eq=False)
class StateGraph:
    """N states in the plane and the E pairs of them between which one can jump.

    Arguments:
        places: (N, 2) where the states lie.
        edges: (E, 2) numbers of neighbours, each pair once.
        names: N short words; the states' numbers if empty.
        labels: names of the two axes, where a place says what a state is.

    Raises:
        ValueError: wrong shapes, unknown states, a pair twice or of one state, states that lie on
            each other, or not one name per state.
    """

    places: object
    edges: object
    names: Sequence[str] = ()
    labels: tuple[str, str] | None = None
    at: np.ndarray = field(init=False, repr=False)
    """(N, 2) places."""
    pairs: np.ndarray = field(init=False, repr=False)
    """(E, 2) neighbours."""

    def __post_init__(self) -> None:
        at = as_array(self.places, "the states' places", ("N", "M"))
        pairs = as_array(self.edges, "the edges", ("N", "M")).astype(int)
        if at.shape[1] != 2 or pairs.shape[1] != 2 or pairs.min() < 0 or pairs.max() >= len(at):
            raise ValueError(
                f"The edges do not join states: got places {at.shape} and edges {pairs.shape} with "
                f"values up to {pairs.max()}. Pass (N, 2) places and (E, 2) numbers below N."
            )
        each = {tuple(sorted(pair)) for pair in pairs.tolist()}
        if len(each) != len(pairs) or (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError(
                f"An edge is no pair: got {len(pairs)} edges, {len(each)} of them different. Name "
                "each pair of different states once."
            )
        if not _least_distance(at) > 0:
            raise ValueError("Two states lie on each other: got distance 0. Spread the places.")
        if self.names and len(self.names) != len(at):
            raise ValueError(
                f"The names do not fit: got {len(self.names)} for {len(at)} states. Pass one each."
            )
        names = tuple(str(name) for name in self.names or range(len(at)))
        for name, value in (("at", at), ("pairs", pairs), ("names", names)):
            object.__setattr__(self, name, value)

    @classmethod
    def square(cls, size: int) -> "StateGraph":
        """Lay the states of two tokens out in a square; neighbours differ in one token.

        The first token runs to the right, the second upward. State (a, b) has number
        ``size * a + b``, as in a table of shape (size, size).

        Arguments:
            size: number of tokens C, at least 2.

        Raises:
            ValueError: `size` is below two.
        """
        if isinstance(size, bool) or size != int(size) or size < 2:
            raise ValueError(
                f"There are too few tokens: got {size!r}. Pass a whole number above 1."
            )
        states = [(a, b) for a in range(size) for b in range(size)]
        joined = [
            (i, j)
            for i, x in enumerate(states)
            for j, y in enumerate(states)
            if i < j and (x[0] == y[0]) != (x[1] == y[1])
        ]
        names = [f"({a}, {b})" for a, b in states]
        return cls(states, joined, names, ("first token", "second token"))

    @property
    def room(self) -> float:
        """Radius that a state keeps for its particles."""
        return ROOM * _least_distance(self.at)

    @property
    def ranges(self) -> tuple[Range, Range]:
        """Horizontal and vertical range with room for bent edges and for words."""
        low, high = self.at.min(0), self.at.max(0)
        unit = self.room / ROOM
        return (
            (float(low[0] - 0.62 * unit), float(high[0] + 0.62 * unit)),
            (float(low[1] - 0.62 * unit), float(high[1] + 0.72 * unit)),
        )

    @cached_property
    def halves(self) -> np.ndarray:
        """(2 E, V, 2) edges cut in the middle: e starts at ``pairs[e, 0]``, E + e at ``[e, 1]``.

        An edge that would pass a third state is bent around it, outward.
        """
        lines = np.stack([self._line(a, b) for a, b in self.pairs])
        middle = lines.shape[1] // 2
        return np.concatenate([lines[:, : middle + 1], lines[:, : middle - 1 : -1]])

    def directed(self, rates: object) -> np.ndarray:
        """Pick the entries of matrices that belong to the halves.

        Arguments:
            rates: (..., N, N), entry [x, y] for x to y.

        Returns:
            (..., 2 E): half e is x = ``pairs[e, 0]`` to y = ``pairs[e, 1]``, half E + e y to x.

        Raises:
            ValueError: the matrices are of another size.
        """
        array = as_array(rates, "the rates")
        if array.ndim < 2 or array.shape[-2:] != (len(self.at), len(self.at)):
            raise ValueError(
                f"The rates do not fit the states: got shape {array.shape} for {len(self.at)} "
                "states. Pass (..., N, N), the rate from state x to state y at [x, y]."
            )
        from_, to = np.concatenate([self.pairs, self.pairs[:, ::-1]]).T
        return array[..., from_, to]

    def scatter(self, states: np.ndarray) -> np.ndarray:
        """Place particles around their states; particle i keeps its own seat in each.

        Arguments:
            states: (..., B) numbers of states.

        Returns:
            (..., B, 2) places.
        """
        count = states.shape[-1]
        i = np.arange(count)
        turn, reach = i * np.pi * (3 - np.sqrt(5)), 0.86 * self.room * np.sqrt((i + 0.5) / count)
        return self.at[states] + np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=-1)

    def _line(self, a: int, b: int) -> np.ndarray:
        """The way from state a to state b, from rim to rim, bent where a third is in between."""
        here, there = self.at[a], self.at[b]
        run = there - here
        length = float(np.hypot(*run))
        along = (self.at - here) @ run / length**2
        off = np.hypot(*(self.at - here - along[:, None] * run).T)
        third = (along > 0.01) & (along < 0.99) & (off < 0.9 * self.room)
        aside = np.array([-run[1], run[0]]) / length
        if (0.5 * (here + there) - self.at.mean(0)) @ aside < 0:
            aside = -aside
        bend = _BENT * self.room / ROOM if third.any() else 0.0
        share = np.linspace(0, 1, 400)[:, None]
        fine = here + share * run + 4 * bend * share * (1 - share) * aside
        clear = 1.12 * self.room
        kept = fine[(np.hypot(*(fine - here).T) > clear) & (np.hypot(*(fine - there).T) > clear)]
        return kept[np.linspace(0, len(kept) - 1, 2 * _VERTICES - 1).round().astype(int)]


def _least_distance(at: np.ndarray) -> float:
    apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
    return float(apart[~np.eye(len(at), dtype=bool)].min())


def numbers_of(x: object, size: int) -> np.ndarray:
    """Number states of D tokens, the last token running fastest.

    Arguments:
        x: (..., D) tokens.
        size: number of tokens C.

    Returns:
        (...) whole numbers below C ** D.

    Raises:
        ValueError: a token out of range.
    """
    tokens = as_array(x, "the tokens")
    if tokens.min() < 0 or tokens.max() >= size or (tokens != tokens.round()).any():
        raise ValueError(
            f"The tokens are out of range: got {tokens.min():g} to {tokens.max():g}. "
            f"Pass whole numbers from 0 to {size - 1}."
        )
    places = size ** np.arange(tokens.shape[-1])[::-1]
    return (tokens.astype(int) * places).sum(-1)


def follow(path: Jumping, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read jump paths at equally spaced times, from their start to their end.

    Arguments:
        path: a batch of B paths over D tokens, such as a ``JumpPath``.
        frames: how many times, at least 2.
        size: number of tokens C.

    Returns:
        Numbers of states (F, B), and times (F,).

    Raises:
        ValueError: fewer than two frames, or tokens out of range.
    """
    if isinstance(frames, bool) or frames != int(frames) or frames < 2:
        raise ValueError(f"There are too few frames: got {frames!r}. Pass a whole number above 1.")
    times = np.linspace(path.start, path.end, frames)
    return np.stack([numbers_of(path.state_at(float(t)), size) for t in times]), times


def run_law(start: object, rates: object, times: object) -> np.ndarray:
    """Follow a law under rates that change with time: d/dr p = p R, r the time that has passed.

    Each piece takes the rates in its middle, by a matrix exponential: an error of the square of
    its length, and never a negative probability.

    Arguments:
        start: (N,) law at the first time.
        rates: (F - 1, N, N) rates in the middle of each piece; the diagonals are not read.
        times: (F,) times, rising or falling.

    Returns:
        (F, N) laws.

    Raises:
        ValueError: shapes that do not fit, or negative rates.
    """
    law, at = as_array(start, "the law", ("N",)), as_array(times, "the times", ("N",))
    matrices = as_array(rates, "the rates", ("F", "N", "M")).copy()
    count = len(law)
    matrices[:, np.arange(count), np.arange(count)] = 0.0
    if matrices.shape != (len(at) - 1, count, count) or matrices.min() < 0:
        raise ValueError(
            f"The rates do not fit: got shape {matrices.shape}, lowest {matrices.min():g}, for "
            f"{len(at)} times and {count} states. Pass one (N, N) for each piece of time, >= 0."
        )
    matrices[:, np.arange(count), np.arange(count)] = -matrices.sum(-1)
    pieces = torch.as_tensor(matrices * np.abs(np.diff(at))[:, None, None])
    found = [law]
    for step in torch.linalg.matrix_exp(pieces).numpy():
        found.append(found[-1] @ step)
    return np.stack(found)
