"""Special unitary matrices: draws, checks, eigenangles, and maps of the eigenangles.

SU(N) holds the complex N x N matrices with `U U^dag = 1` and `det U = 1`. Such a matrix turns an
orthonormal frame, and its eigenvalues lie on the unit circle:

    U = V diag(e^{i theta_1}, ..., e^{i theta_N}) V^dag,   theta_1 + ... + theta_N = 0

The angles are given in one order, from the largest down, with `theta_1 - theta_N <= 2 pi`. Then
the N gaps between neighbours on the circle are at least 0 and sum to 2 pi: a simplex.
"""

from math import pi, sqrt

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_SLACK = {torch.complex64: 1e-4, torch.complex128: 1e-6}
"""How far from the group a matrix may be; in double precision one of single is still welcome."""

DEGENERATE = {torch.float32: 1e-6, torch.float64: 1e-13}
"""Least distance of two eigenvalues that a division is allowed to see."""


def haar_measure(n: int) -> str:
    """Return the name of the measure against which densities on SU(n) are densities."""
    return f"Haar measure of SU({n})"


def haar(
    n: int,
    *shape: int,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Draw matrices of SU(n) uniformly, that is by Haar measure, (*shape, n, n).

    For n = 2 a Gaussian direction in R^4; else the unitary factor of a Gaussian matrix, with the
    phases of its triangular factor put right and the determinant divided out.

    Arguments:
        n: size of the matrices, two or more.
        shape: how many.
        dtype: real type of their parts, float32 or float64; torch's default if left out.
        device: where they live.
        generator: source of randomness.

    Raises:
        ValueError: `n` is below two, or the type is not float32 or float64.

    >>> haar(3, 5, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3, 3])

    Reference: Mezzadri 2007 (arXiv math-ph/0609050).
    """
    at_least_two(n)
    real = torch.get_default_dtype() if dtype is None else dtype
    if real not in _COMPLEX:
        raise ValueError(f"matrices need float32 or float64 parts; got {real}; use torch.float32")
    size = (4,) if n == 2 else (n, n, 2)
    x = torch.randn(*shape, *size, dtype=real, device=device, generator=generator)
    if n == 2:
        return quaternion(x / x.norm(dim=-1, keepdim=True))
    q, r = torch.linalg.qr(torch.view_as_complex(x))
    phase = r.diagonal(dim1=-2, dim2=-1)
    return _unit_determinant(q * (phase / phase.abs()).unsqueeze(-2))


def quaternion(q: Tensor) -> Tensor:
    """Return the SU(2) matrices of unit 4-vectors (..., 4), (..., 2, 2).

        U = [[q_0 + i q_3, q_2 + i q_1], [-q_2 + i q_1, q_0 - i q_3]]

    `q_0 = cos theta`, and the rest is `sin theta` times an axis: `U = q_0 + i q.sigma` with the
    Pauli matrices sigma.
    """
    a, b, c, d = q.unbind(-1)
    real = torch.stack([a, c, -c, a], -1)
    imaginary = torch.stack([d, b, b, -d], -1)
    return torch.complex(real, imaginary).unflatten(-1, (2, 2))


def to_quaternion(u: Tensor) -> Tensor:
    """Return the unit 4-vectors of SU(2) matrices (..., 2, 2), (..., 4): undoes `quaternion`."""
    first, second = u[..., 0, :].unbind(-1)
    return torch.stack([first.real, second.imag, second.real, first.imag], -1)


def nearest(u: Tensor) -> Tensor:
    """Return the special unitary matrices nearest to matrices that are almost so, (..., N, N).

    Raises:
        ValueError: a matrix is singular: it is near to none.
    """
    if validate.readable(u) and not bool((torch.linalg.svdvals(u)[..., -1] > 1e-3).all()):
        raise ValueError(
            "nearest needs matrices that are almost special unitary; got a singular one; "
            "draw fresh matrices with haar"
        )
    left, _, right = torch.linalg.svd(u)
    return _unit_determinant(left @ right)


def special_unitary(name: str, u: Tensor, event: torch.Size | None = None) -> Tensor:
    """Return `u` if it holds special unitary matrices in its last two dimensions.

    Arguments:
        name: what the caller calls it.
        u: (B, ..., N, N), complex.
        event: the event shape that is asked for; any if left out.

    Raises:
        TypeError: `u` is not complex.
        ValueError: `u` has another shape, or a matrix is not unitary, or not of determinant 1.
    """
    if not isinstance(u, Tensor) or u.dtype not in _SLACK:
        got = u.dtype if isinstance(u, Tensor) else type(u).__name__
        raise TypeError(
            f"{name} must be a complex tensor; got {got}; use numerics.quaternion for 4-vectors, "
            "or torch.complex(real, imaginary)"
        )
    wanted = u.shape[1:] if event is None else event
    if u.ndim < 3 or u.shape[-1] != u.shape[-2] or u.shape[-1] < 2 or u.shape[1:] != wanted:
        shape = ", ".join(map(str, event)) if event else "..., N, N"
        raise ValueError(
            f"{name} must have shape (B, {shape}); got {tuple(u.shape)}; one square matrix for "
            "each link, a batch dimension in front"
        )
    validate.batch(name, torch.view_as_real(u.detach().resolve_conj()))
    if validate.readable(u):
        error = _distance(u.detach())
        if not error <= _SLACK[u.dtype]:
            raise ValueError(
                f"{name} must hold special unitary matrices, U U^dag = 1 and det U = 1; got one "
                f"that is off by {error:.2g}; use numerics.nearest, or draw them with numerics.haar"
            )
    return u


def trace(u: Tensor) -> Tensor:
    """Return the trace of each matrix, (..., N, N) -> (...)."""
    return u.diagonal(dim1=-2, dim2=-1).sum(-1)


def angles(u: Tensor) -> Tensor:
    """Return the eigenangles of SU(2) or SU(3) matrices, from the largest down, (..., N).

    They sum to 0 and span at most 2 pi. Both groups are small enough for the trace to fix them:

        N = 2:  cos theta = Re tr U / 2
        N = 3:  z^3 - t z^2 + conj(t) z - 1 = 0,   t = tr U,   z = e^{i theta}

    A gradient flows through the trace; where two eigenvalues meet it has no limit, and is bounded.

    Raises:
        ValueError: N is neither 2 nor 3.
    """
    if u.shape[-1] == 2:
        # An arccos would lose its digits at both ends.
        cosine, sine = cosine_and_sine(u)
        theta = torch.atan2(sine, cosine)
        return torch.stack([theta, -theta], -1)
    if u.shape[-1] == 3:
        return _angles_of_three(trace(u))
    raise ValueError(
        f"angles are for SU(2) and SU(3); got matrices of size {u.shape[-1]}; larger groups need "
        "torch.linalg.eigvals"
    )


def cosine_and_sine(u: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos theta and sin theta >= 0 of SU(2) matrices, (..., 2, 2) -> (...) each.

    Half of the trace, and the length of the part that has a direction, which is never quite 0.
    """
    (a, b), (c, d) = (row.unbind(-1) for row in u.unbind(-2))
    diagonal, corner = 0.5 * (a.imag - d.imag), 0.5 * (b - c.conj())
    square = diagonal.square() + corner.real.square() + corner.imag.square()
    sine = square.clamp_min(DEGENERATE[square.dtype] ** 2).sqrt()
    return 0.5 * (a.real + d.real), sine


def rotate(u: Tensor, theta: Tensor, moved: Tensor) -> Tensor:
    """Return `V diag(e^{i moved}) V^dag` for `u = V diag(e^{i theta}) V^dag`, (..., N, N).

    The frame V is never computed. The result is the polynomial in u that takes each eigenvalue z
    to its new value w(z), in Newton's form with divided differences w[...]:

        w[z_1] + w[z_1, z_2] (u - z_1) + w[z_1, z_2, z_3] (u - z_1)(u - z_2)

    Arguments:
        u: SU(2) or SU(3) matrices.
        theta: their eigenangles, from `angles`, (..., N).
        moved: the new ones, (..., N).
    """
    n, least = u.shape[-1], DEGENERATE[theta.dtype]
    one = torch.eye(n, dtype=u.dtype, device=u.device)
    if n == 2:
        # w[z_1, z_2] = sin moved / sin theta, and both parts of theta are read off u itself.
        cosine, sine = cosine_and_sine(u)
        scale = moved[..., 0].sin() / sine
        shift = moved[..., 0].cos() - scale * cosine
        return scale[..., None, None] * u + shift[..., None, None] * one
    z, w = _circle(theta), _circle(moved)

    def over(top: Tensor, i: int, j: int) -> Tensor:
        gap = z[..., j] - z[..., i]
        size = gap.abs()
        return top / torch.where(size < least, torch.full_like(gap, least), gap)

    first, second = over(w[..., 1] - w[..., 0], 0, 1), over(w[..., 2] - w[..., 1], 1, 2)
    third = over(second - first, 0, 2)
    at = [u - z[..., k, None, None] * one for k in range(2)]
    return (
        w[..., 0, None, None] * one
        + first[..., None, None] * at[0]
        + third[..., None, None] * (at[0] @ at[1])
    )


def gaps(theta: Tensor) -> Tensor:
    """Return the N gaps between neighbouring eigenangles around the circle, (..., N): a simplex.

    gap_k = theta_k - theta_{k+1},   gap_N = 2 pi - (theta_1 - theta_N)
    """
    between = theta[..., :-1] - theta[..., 1:]
    return torch.cat([between, 2 * pi - between.sum(-1, keepdim=True)], -1).clamp_min(0.0)


def from_gaps(gap: Tensor) -> Tensor:
    """Return the eigenangles with these gaps, (..., N): undoes `gaps`."""
    below = torch.cat([torch.zeros_like(gap[..., :1]), gap[..., :-1].cumsum(-1)], -1)
    return below.mean(-1, keepdim=True) - below


def log_vandermonde(theta: Tensor) -> Tensor:
    """Return `sum_{j<k} log |e^{i theta_j} - e^{i theta_k}|^2`, (...): how much of SU(N) is there.

    A function of the eigenangles alone has, under Haar measure, a density of its angles in
    proportion to the exponential of this (Weyl's integration formula).
    """
    n = theta.shape[-1]
    j, k = torch.triu_indices(n, n, 1, device=theta.device)
    half = 0.5 * (theta[..., j] - theta[..., k])
    least = DEGENERATE[theta.dtype]
    return 2.0 * (2.0 * half.sin().abs()).clamp_min(least).log().sum(-1)


def basis(n: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Return Hermitian matrices T_a without trace, `tr T_a T_b = delta_ab / 2`, (n^2 - 1, n, n).

    `matrix_exp(i sum_a x_a T_a)` is special unitary: the x_a are coordinates near the identity.
    """
    at_least_two(n)
    found = []
    for j in range(n):
        for k in range(j + 1, n):
            for phase in (0.0, -pi / 2.0):
                t = torch.zeros(n, n, dtype=torch.complex128)
                t[j, k] = torch.polar(torch.tensor(1.0), torch.tensor(phase))
                found.append((t + t.mH) / 2)
    for k in range(1, n):
        t = torch.zeros(n, n, dtype=torch.complex128)
        t.diagonal()[:k], t[k, k] = 1.0, -float(k)
        found.append(t / sqrt(2.0 * k * (k + 1)))
    return torch.stack(found).to(dtype)


def at_least_two(n: int) -> int:
    """Return the size of a matrix of SU(n) if it is two or more.

    Raises:
        ValueError: it is not: SU(1) holds the number 1 alone.
    """
    if validate.positive_count("n", n) < 2:
        raise ValueError(f"SU(n) needs n of two or more; got {n}; SU(1) holds the number 1 alone")
    return n


def _unit_determinant(u: Tensor) -> Tensor:
    n = u.shape[-1]
    turn = torch.linalg.det(u).angle() / n
    return u * torch.polar(torch.ones_like(turn), -turn)[..., None, None]


def _distance(u: Tensor) -> float:
    """Return the largest entry of `U U^dag - 1` and of `det U - 1`; NaN if there is one."""
    one = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    off = (u @ u.mH - one).abs().amax()
    return float(torch.maximum(off, (torch.linalg.det(u) - 1).abs().amax()))


def _circle(theta: Tensor) -> Tensor:
    return torch.complex(theta.cos(), theta.sin())


def _angles_of_three(t: Tensor) -> Tensor:
    """Return the eigenangles of SU(3) matrices from their traces, with the right gradient.

    On the circle the characteristic polynomial is, up to a phase, the real function

        F(theta) = sin(3 theta / 2) - Im(t e^{i theta / 2}) = -4 prod_k sin((theta - theta_k) / 2)

    so d theta_k = (sin(theta_k / 2) d Re t + cos(theta_k / 2) d Im t) / F'(theta_k).
    """
    with torch.no_grad():
        theta = _cubic_roots(t.detach().to(torch.complex128))
        slope = torch.stack(
            [
                (0.5 * (theta[..., k] - theta[..., j])).sin()
                * (0.5 * (theta[..., k] - theta[..., m])).sin()
                for k, j, m in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
            ],
            -1,
        ).mul(-2.0)
        least = DEGENERATE[torch.float32] ** 2
        slope = torch.where(slope.abs() < least, torch.full_like(slope, least), slope)
        real = (0.5 * theta).sin() / slope
        imaginary = (0.5 * theta).cos() / slope
    if not t.requires_grad:
        return theta.to(t.real.dtype)
    off = t - t.detach()
    theta, real, imaginary = (v.to(t.real.dtype) for v in (theta, real, imaginary))
    return theta + real * off.real[..., None] + imaginary * off.imag[..., None]


def _cubic_roots(t: Tensor) -> Tensor:
    """Return the angles of the roots of `z^3 - t z^2 + conj(t) z - 1`, in order, summing to 0.

    Cardano's formula, with the sign of the square root that does not cancel.
    """
    p = t.conj() - t * t / 3.0
    q = t * t.conj() / 3.0 - 2.0 * t**3 / 27.0 - 1.0
    root = (q * q / 4.0 + p**3 / 27.0).sqrt()
    plus, minus = -q / 2.0 + root, -q / 2.0 - root
    cube = torch.where(plus.abs() >= minus.abs(), plus, minus)
    size = cube.abs().pow(1.0 / 3.0)
    turns = 2.0 * pi / 3.0 * torch.arange(3, device=t.device, dtype=size.dtype)
    c = torch.polar(size[..., None].expand(*size.shape, 3), cube.angle()[..., None] / 3.0 + turns)
    # A threefold eigenvalue has c = 0 and p = 0.
    rest = torch.where(c.abs() > 1e-30, p[..., None] / (3.0 * c), torch.zeros_like(c))
    theta = (c - rest + t[..., None] / 3.0).angle()
    return _ordered(theta)


def _ordered(theta: Tensor) -> Tensor:
    """Return angles (..., N) whose sum is a multiple of 2 pi, turned and sorted to sum to 0."""
    n = theta.shape[-1]
    theta = theta.sort(-1, descending=True).values
    turns = (theta.sum(-1, keepdim=True) / (2.0 * pi)).round()
    rank = torch.arange(n, device=theta.device, dtype=theta.dtype)
    # The largest |turns| of them go once around backwards, or the smallest ones forwards.
    down = (rank < turns).to(theta.dtype)
    up = (rank >= n + turns).to(theta.dtype)
    theta = (theta + 2.0 * pi * (up - down)).sort(-1, descending=True).values
    return theta - theta.mean(-1, keepdim=True)
