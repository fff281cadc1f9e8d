"""Flows on the group SU(N) that move eigenvalues and leave the frame alone.

    U = V diag(e^{i theta}) V^dag   ->   h(U) = V diag(e^{i theta'}) V^dag

so `h(X U X^dag) = X h(U) X^dag` for every X of SU(N). The gaps between neighbouring eigenangles
are a simplex; breaking it like a stick makes a box, [0, 1]^{N-1}, whose coordinates are moved by
splines one after the other. Against Haar measure

    log J = log |det d theta' / d theta| + sum_{j<k} log (|e^{i theta'_j} - e^{i theta'_k}|^2
                                                        / |e^{i theta_j} - e^{i theta_k}|^2)
"""

from collections.abc import Callable, Sequence
from math import pi

import torch
from torch import Generator, Tensor, nn
from torch.nn.init import zeros_

from gentoolkit.core import validate
from gentoolkit.flows.layer import Layer
from gentoolkit.nets import MLP
from gentoolkit.numerics import spline, spline_inverse, spline_knots, su_n

_MOST = 3
"""The largest N of which `su_n.angles` knows the eigenangles."""


class Haar(nn.Module):
    """The uniform density of SU(N), or of one matrix for each of several places.

        log_prob(U) = 0     against Haar measure

    >>> Haar(2, 3).sample(5).shape
    torch.Size([5, 3, 2, 2])

    Arguments:
        n: size of the matrices, two or more.
        places: the shape of the places, such as `(2, L, L)` for the links of a lattice.

    Raises:
        ValueError: `n` is below two, or a shape below one.
    """

    _like: Tensor

    def __init__(self, n: int, *places: int) -> None:
        super().__init__()
        self.n = su_n.at_least_two(n)
        self.event_shape = torch.Size([*places, n, n])
        validate.event_shape(self.event_shape)
        self.base_measure = su_n.haar_measure(n)
        # Samples follow the dtype and the device of a model that holds the density.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` samples, (n, *places, N, N), complex."""
        validate.positive_count("n", n)
        like = {"dtype": self._like.dtype, "device": self._like.device}
        return su_n.haar(self.n, n, *self.event_shape[:-2], generator=generator, **like)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return zeros, (B,): the density is 1 everywhere.

        Raises:
            TypeError: `x` is not complex.
            ValueError: `x` has another shape, or holds matrices that are not special unitary.
        """
        u = su_n.special_unitary("x", x, self.event_shape)
        return torch.zeros(u.shape[0], dtype=self._like.dtype, device=u.device)


class EigenangleSpline(nn.Module):
    """Moves the eigenangles of matrices by splines, under features that the caller gives.

    Coordinate k of the box is moved by a spline that depends on the features and on the
    coordinates before it. Starts as the identity.

    Arguments:
        n: 2 or 3.
        features: how many numbers each matrix brings along, 0 for none.
        bins: bins of each spline, two or more.
        hidden: widths of the hidden layers of the nets of the second coordinate.

    Raises:
        ValueError: `n` is neither 2 nor 3, or there are fewer than two bins.
    """

    def __init__(
        self, n: int, features: int = 0, bins: int = 8, hidden: Sequence[int] = (16,)
    ) -> None:
        super().__init__()
        if not 2 <= n <= _MOST:
            raise ValueError(
                f"spectral flows are for SU(2) and SU(3); got n={n}; larger groups need other "
                "eigenangles than su_n.angles gives"
            )
        if validate.positive_count("bins", bins) < 2:
            raise ValueError(f"a spline needs two bins or more; got {bins}; 8 is a good start")
        self.n, self.features, self.bins = n, features, bins
        outputs = 3 * bins + 1
        # With nothing to read, the first spline is one set of numbers.
        self.first = nn.Parameter(torch.zeros(outputs)) if features == 0 else None
        self.nets = nn.ModuleList(
            MLP(features + k, outputs, hidden if k else ())
            for k in range(n - 1)
            if features + k > 0
        )
        for net in self.nets:
            last = net[-1]  # pyright: ignore[reportIndexIssue]
            zeros_(last.weight)
            zeros_(last.bias)

    def push(self, u: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return h(u) and log J of each matrix: (..., N, N), (..., features) -> (...)."""
        return self._move(u, features, spline)

    def pull(self, u: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the matrices that `push` moves to `u`, and the same log J."""
        back, log_j = self._move(u, features, spline_inverse, -1.0)
        return back, log_j

    def _knots(self, k: int, seen: list[Tensor]) -> Tensor:
        """Return the knots of coordinate k, from the features and the coordinates before it."""
        if self.first is not None and k == 0:
            return spline_knots(self.first, 1.0, free_ends=True)
        net = self.nets[k - (self.first is not None)]
        return spline_knots(net(torch.cat(seen, -1)), 1.0, free_ends=True)

    def _move(
        self,
        u: Tensor,
        features: Tensor | None,
        curve: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        sign: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Move the eigenangles by curves; `sign` says which side of them the nets read."""
        if self.n == 2:
            return self._move_one(u, features, curve, sign)
        theta = su_n.angles(u)
        gap = su_n.gaps(theta)
        left = gap.flip(-1).cumsum(-1).flip(-1)  # what is left of the stick before each break
        seen = [] if features is None else [features]
        rest = left[..., 0]
        moved, log_j = [], torch.zeros_like(rest)
        for k in range(self.n - 1):
            old = left[..., k].clamp_min(torch.finfo(rest.dtype).tiny)
            place = 2.0 * gap[..., k] / old - 1.0  # the box coordinate, from -1 to 1
            knots = self._knots(k, seen)
            new, log_slope = curve(place, knots.expand(*place.shape, *knots.shape[-2:]))
            seen.append((place if sign > 0 else new)[..., None])
            # The slope of a break, and how long the stick is that it breaks.
            log_j = log_j + log_slope
            if k:
                log_j = log_j + sign * (rest.clamp_min(1e-30).log() - old.clamp_min(1e-30).log())
            moved.append(0.5 * (new + 1.0) * rest)
            rest = 0.5 * (1.0 - new) * rest
        angles = su_n.from_gaps(torch.stack([*moved, rest], -1))
        volume = su_n.log_vandermonde(angles) - su_n.log_vandermonde(theta)
        return su_n.rotate(u, theta, angles), log_j + sign * volume

    def _move_one(
        self,
        u: Tensor,
        features: Tensor | None,
        curve: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        sign: float,
    ) -> tuple[Tensor, Tensor]:
        """Do the same for SU(2), whose one angle needs no order and no stick."""
        cosine, sine = su_n.cosine_and_sine(u)
        knots = self._knots(0, [] if features is None else [features])
        place = torch.atan2(sine, cosine) * (2.0 / pi) - 1.0
        new, log_slope = curve(place, knots.expand(*place.shape, *knots.shape[-2:]))
        moved = (new + 1.0) * (pi / 2.0)
        scale = moved.sin().clamp_min(su_n.DEGENERATE[sine.dtype]) / sine
        one = torch.eye(2, dtype=u.dtype, device=u.device)
        shift = moved.cos() - scale * cosine
        image = scale[..., None, None] * u + shift[..., None, None] * one
        return image, log_slope + 2.0 * sign * scale.log()


class SpectralFlow(Layer):
    """A flow on single matrices of SU(2) or SU(3) that commutes with every change of frame.

    One layer reaches any density that is a function of the eigenvalues, up to the bins of its
    splines. Its source is `Haar(n)`.

    >>> from gentoolkit.flows import Flow, Haar
    >>> flow = Flow([SpectralFlow(2)], (2, 2), Haar(2))
    >>> flow.log_prob(flow.sample(4)).shape
    torch.Size([4])

    Arguments:
        n: 2 or 3.
        bins: bins of each spline, two or more.
        hidden: widths of the hidden layers of the net of SU(3)'s second spline.

    Raises:
        ValueError: `n` is neither 2 nor 3, or there are fewer than two bins.

    Reference: Boyda et al. 2020 (arXiv 2008.05456).
    """

    def __init__(self, n: int = 2, bins: int = 8, hidden: Sequence[int] = (16,)) -> None:
        super().__init__()
        self.angles = EigenangleSpline(n, 0, bins, hidden)
        self.event_shape = torch.Size([n, n])

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return h(x) and log J against Haar measure, (B,)."""
        return self.angles.push(su_n.special_unitary("x", x, self.event_shape))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and the same log J, (B,)."""
        return self.angles.pull(su_n.special_unitary("y", y, self.event_shape))
