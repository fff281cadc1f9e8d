"""Flows of lattice gauge fields: links of SU(2) or SU(3) on a periodic square lattice.

A coupling moves every fourth row of links along one direction. With a link U of such a row goes
the square Q that starts with it, Q = U S, with S the other three links. A spectral flow moves the
square, and the link makes room:

    Q' = h(Q; features),   U' = Q' S^dag,   log J = sum over squares of log J of h

since a product with a fixed matrix keeps Haar measure.

Reference: Kanwar et al. 2020 (arXiv 2003.06413); Boyda et al. 2020 (arXiv 2008.05456).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.flows.layer import Flow, Layer
from gentoolkit.flows.spectral import EigenangleSpline, Haar
from gentoolkit.numerics import su_n
from gentoolkit.numerics.lattice import transposed

STRIDE = 4
"""Rows between two that move at once: a moved one, two whose squares stay, one that is dragged."""


class _Rows(NamedTuple):
    """The field seen from the rows that move; each (B, L, L / 4, N, N), rows last.

    `own` are the links that move, `staple` the other three of each square; `across[k]` and `up[k]`
    are the links of the rows k above the moving one, across[0] left out.
    """

    own: Tensor
    staple: Tensor
    across: list[Tensor]
    up: list[Tensor]


class LinkCoupling(Layer):
    """The shape of both couplings: which links move, what a net reads, how the rest is joined.

    A subclass says what is read and which matrix is moved.

    Arguments:
        side: L, a multiple of 4.
        n: 2 for SU(2), 3 for SU(3).
        direction: 0 or 1, of the links that move.
        offset: which row in four moves, 0 to 3.
        bins: bins of each spline.
        channels: widths of the convolutions.

    Raises:
        ValueError: the side is not a multiple of 4, or an argument is out of range.
    """

    rows: Tensor

    def __init__(
        self,
        side: int,
        n: int = 2,
        direction: int = 0,
        offset: int = 0,
        bins: int = 6,
        channels: Sequence[int] = (12, 12),
    ) -> None:
        super().__init__()
        self.event_shape = torch.Size([2, lattice_side(side), side, n, n])
        if direction not in (0, 1) or offset not in range(STRIDE):
            raise ValueError(
                f"direction must be 0 or 1 and offset 0 to {STRIDE - 1}; got {direction} and "
                f"{offset}; gauge_flow builds the layers that move every link"
            )
        if not channels:
            raise ValueError("channels must name one convolution or more; got none; try (12, 12)")
        self.direction = direction
        rows = torch.arange(offset, side, STRIDE)
        self.register_buffer("rows", rows, persistent=False)
        wide = 3 if len(rows) > 1 else 1
        widths = [self.inputs(n), *channels]
        layers: list[nn.Module] = []
        for k, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            layers += [nn.SiLU()] if k else []
            layers += [nn.Conv2d(a, b, (3, wide), padding="same", padding_mode="circular")]
        self.net = nn.Sequential(*layers, nn.SiLU())
        self.angles = EigenangleSpline(n, widths[-1], bins)

    @staticmethod
    @abstractmethod
    def inputs(n: int) -> int:
        """Return how many numbers the net reads at each place of a row."""

    @abstractmethod
    def reads(self, rows: _Rows) -> Tensor:
        """Return what the net reads, (B, inputs, L, L / 4), of matrices that stay."""

    @abstractmethod
    def before(self, rows: _Rows) -> Tensor:
        """Return what stands to the right of each moving link in the matrix that is moved."""

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Move the links of some rows; return the field and log J, (B,)."""
        return self._run(x, self.angles.push)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Move them back; return the field and the same log J, (B,)."""
        return self._run(y, self.angles.pull)

    def _run(self, u: Tensor, move) -> tuple[Tensor, Tensor]:  # noqa: ANN001
        su_n.special_unitary("links", u, self.event_shape)
        u = transposed(u) if self.direction else u
        rows = self._rows(u)
        features = self.net(self.reads(rows)).movedim(1, -1)
        right = self.before(rows)
        moved, log_j = move(rows.own @ right, features)
        own = _unitary(moved @ right.mH)
        across = u[:, 0].index_copy(2, self.rows, own)
        u = torch.stack([across, u[:, 1]], 1)
        return transposed(u) if self.direction else u, log_j.sum((1, 2))

    def _rows(self, u: Tensor) -> _Rows:
        side = self.event_shape[1]
        across, up = u.unbind(1)

        def row(field: Tensor, k: int) -> Tensor:
            return field.index_select(2, (self.rows + k) % side)

        ups = [row(up, k) for k in range(3)]
        acrosses = [row(across, k) for k in range(4)]
        staple = ups[0].roll(-1, 1) @ (ups[0] @ acrosses[1]).mH
        return _Rows(acrosses[0], staple, acrosses, ups)


class GaugeCoupling(LinkCoupling):
    """A coupling that commutes with every gauge transformation: it moves squares.

    The net reads the traces of the squares in the two rows above, which hold no moving link. Starts
    as the identity.

    Arguments and errors are those of `LinkCoupling`.
    """

    @staticmethod
    def inputs(n: int) -> int:
        """Return the numbers of two traces; those of SU(2) are real."""
        return 2 if n == 2 else 4

    def reads(self, rows: _Rows) -> Tensor:
        """Return the traces of the squares one and two rows above the moving links."""
        found = []
        for k in (1, 2):
            up = rows.up[k]
            square = rows.across[k] @ up.roll(-1, 1) @ (up @ rows.across[k + 1]).mH
            t = su_n.trace(square) / square.shape[-1]
            found += [t.real] if square.shape[-1] == 2 else [t.real, t.imag]
        return torch.stack(found, 1)

    def before(self, rows: _Rows) -> Tensor:
        """Return the other three links of the square."""
        return rows.staple


class PlainCoupling(LinkCoupling):
    """The same spline and net without the symmetry: it moves the links themselves.

    The net reads the entries of all links that stay. A valid flow, and the rival of
    `GaugeCoupling`: nothing tells it that most of what it reads is a choice of frames.

    Arguments and errors are those of `LinkCoupling`.
    """

    @staticmethod
    def inputs(n: int) -> int:
        """Return the entries of six links; SU(2) has four real ones."""
        return 6 * (4 if n == 2 else 2 * n * n)

    def reads(self, rows: _Rows) -> Tensor:
        """Return the entries of the links of the three rows above, and of those between."""
        found = torch.stack([*rows.across[1:], *rows.up], 3)  # (B, L, S, 6, N, N)
        if found.shape[-1] == 2:
            return su_n.to_quaternion(found).flatten(3).movedim(3, 1)
        return torch.view_as_real(found).flatten(3).movedim(3, 1)

    def before(self, rows: _Rows) -> Tensor:
        """Return ones: the link alone is moved."""
        one = torch.eye(rows.own.shape[-1], dtype=rows.own.dtype, device=rows.own.device)
        return one.expand_as(rows.own)


def lattice_side(side: int) -> int:
    """Return the side of a lattice that couplings can share out: a multiple of 4.

    Raises:
        ValueError: it is another number.
    """
    if validate.positive_count("side", side) % STRIDE:
        raise ValueError(
            f"side must be a multiple of {STRIDE}, since every fourth row moves at once; got "
            f"{side}; try {STRIDE * (side // STRIDE + 1)}"
        )
    return side


def gauge_flow(
    side: int,
    n: int = 2,
    sweeps: int = 1,
    bins: int = 6,
    channels: Sequence[int] = (12, 12),
    coupling: type[GaugeCoupling] | type[PlainCoupling] = GaugeCoupling,
) -> Flow:
    """Return a flow of links from Haar measure; each sweep of 8 layers moves every link once.

    >>> flow = gauge_flow(4)
    >>> flow.sample(3).shape
    torch.Size([3, 2, 4, 4, 2, 2])

    Arguments:
        side: L, a multiple of 4.
        n: 2 for SU(2), 3 for SU(3).
        sweeps: how often every link moves.
        bins: bins of each spline.
        channels: widths of the convolutions.
        coupling: `GaugeCoupling`, or its rival `PlainCoupling`.

    Raises:
        ValueError: the side is not a multiple of 4, or an argument is out of range.

    Reference: Boyda et al. 2020 (arXiv 2008.05456).
    """
    layers = [
        coupling(side, n, direction, offset, bins, channels)
        for _ in range(validate.positive_count("sweeps", sweeps))
        for direction in (0, 1)
        # A moved row drags the squares of the row below, which must have its turn afterwards.
        for offset in reversed(range(STRIDE))
    ]
    return Flow(layers, (2, side, side, n, n), Haar(n, 2, side, side))


def _unitary(u: Tensor) -> Tensor:
    """Take back the rounding of a few products: one step of Newton's iteration for U U^dag = 1."""
    return 1.5 * u - 0.5 * u @ (u.mH @ u)
