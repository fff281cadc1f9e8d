"""Special unitary matrices against torch's own decompositions, and against exact integrals."""

from math import factorial, pi

import pytest
import torch

from gentoolkit.core import checks
from gentoolkit.numerics import haar, nearest, quaternion, special_unitary, su_n, to_quaternion

BOTH = pytest.mark.parametrize("n", [2, 3])


def eigenangles(u):
    """Return the angles of the eigenvalues by torch, sorted on the circle."""
    return torch.linalg.eigvals(u).angle().sort(-1).values


@pytest.mark.parametrize("n", [2, 3, 4])
def test_haar_draws_are_special_unitary_and_uniform(n):
    """Catches a QR without its phases: E|tr U|^2 = 1 and E|tr U|^4 = 2 for Haar."""
    u = haar(n, 40_000, generator=torch.Generator().manual_seed(1))
    special_unitary("u", u)
    t = su_n.trace(u)
    assert checks.mean_is(t.abs().square(), 1.0)
    assert checks.mean_is(t.abs().pow(4), 2.0)
    assert checks.mean_is(t.pow(n).real, 1.0), "one invariant in n factors: the determinant"
    # The control: the unitary factor without its phases, and determinant 1, is not uniform.
    x = torch.view_as_complex(torch.randn(40_000, n, n, 2))
    q = torch.linalg.qr(x)[0]
    q = q * torch.linalg.det(q).angle().div(-n).mul(1j).exp()[..., None, None]
    assert not checks.mean_is(su_n.trace(q).abs().square(), 1.0)


def test_quaternions_multiply_as_matrices():
    """Catches a sign of the Pauli matrices: the real part of a product of two unit 4-vectors."""
    q = torch.nn.functional.normalize(torch.randn(2, 9, 4), dim=-1)
    u = quaternion(q)
    torch.testing.assert_close(to_quaternion(u), q)
    product = to_quaternion(u[0] @ u[1])
    real = q[0, :, 0] * q[1, :, 0] - (q[0, :, 1:] * q[1, :, 1:]).sum(-1)
    torch.testing.assert_close(product[:, 0], real)
    cross = torch.linalg.cross(q[0, :, 1:], q[1, :, 1:])
    vector = q[0, :, :1] * q[1, :, 1:] + q[1, :, :1] * q[0, :, 1:] - cross
    torch.testing.assert_close(product[:, 1:], vector)


@BOTH
def test_angles_are_those_of_the_eigenvalues(n):
    """Catches a lost root, angles that sum to 2 pi, and an order that is none."""
    u = haar(n, 2000)
    theta = su_n.angles(u)
    on_circle = torch.remainder(theta + pi, 2 * pi) - pi
    torch.testing.assert_close(on_circle.sort(-1).values, eigenangles(u), rtol=0, atol=1e-9)
    assert float(theta.sum(-1).abs().max()) < 1e-12
    assert bool((theta.diff(dim=-1) <= 0).all())
    assert float((theta[:, 0] - theta[:, -1]).max()) <= 2 * pi
    gap = su_n.gaps(theta)
    assert bool((gap >= 0).all())
    torch.testing.assert_close(gap.sum(-1), torch.full((2000,), 2 * pi))
    torch.testing.assert_close(su_n.from_gaps(gap), theta, rtol=0, atol=1e-12)


@BOTH
def test_angles_have_the_gradient_of_perturbation_theory(n):
    """Catches a gradient that is turned or of the wrong root: d theta = v* (-i dU) v."""
    u, turn = haar(n, 20), haar(n, 20)
    theta = torch.randn(20, n).sort(-1, descending=True).values
    theta = theta - theta.mean(-1, keepdim=True)
    u = (turn * torch.polar(torch.ones(()), theta)[:, None, :]) @ turn.mH
    change = torch.randn(20, n, n, dtype=u.dtype)
    change = change - change.mH
    change = change - su_n.trace(change)[:, None, None] / n * torch.eye(n)
    exact = (turn.mH @ (-1j * change) @ turn).diagonal(dim1=1, dim2=2).real
    weights = torch.randn(20, n)

    def value(step):
        return (weights * su_n.angles(torch.linalg.matrix_exp(step * change) @ u)).sum(-1)

    # The matrix exponential moves all matrices by one number: one gradient, summed over them.
    step = torch.zeros((), requires_grad=True)
    (slope,) = torch.autograd.grad(value(step).sum(), step)
    assert float(slope) == pytest.approx(float((weights * exact).sum()), rel=1e-9)


@BOTH
def test_rotate_moves_eigenvalues_and_keeps_the_frame(n):
    """Catches a divided difference of the wrong pair, and a matrix that mixes frames."""
    frame = haar(n, 50)
    start, end = (su_n.from_gaps(2 * pi * torch.rand(50, n).softmax(-1)) for _ in range(2))

    def of(theta):
        return (frame * torch.polar(torch.ones(()), theta)[:, None, :]) @ frame.mH

    torch.testing.assert_close(su_n.rotate(of(start), start, end), of(end), rtol=0, atol=1e-10)
    other = su_n.rotate(of(start), start, end.flip(-1))
    assert float((other - of(end)).abs().max()) > 0.1, "the control: angles in another order"


@BOTH
@pytest.mark.parametrize("near", [0.0, 1e-9, 1e-5])
def test_meeting_eigenvalues_give_numbers(n, near):
    """Catches 0/0 and infinite gradients at the identity, at -1, and where two eigenvalues meet."""
    pair = torch.tensor([near, -near] if n == 2 else [0.7 + near, 0.7 - near, -1.4])
    centre = torch.full((n,), near)
    centre[-1] -= n * near
    for theta in (pair, centre, torch.tensor([pi - near, near - pi] if n == 2 else [pi, 0.0, -pi])):
        frame = haar(n, 1)
        u = (frame * torch.polar(torch.ones(()), theta)) @ frame.mH
        u = u.requires_grad_()
        found = su_n.angles(u)
        moved = su_n.from_gaps(su_n.gaps(found))
        back = su_n.rotate(u, found, moved)
        torch.testing.assert_close(back, u, rtol=0, atol=1e-6)
        (g,) = torch.autograd.grad(back.abs().square().sum() + found.sum(), u)
        assert bool(torch.view_as_real(g).isfinite().all())
        assert bool(su_n.log_vandermonde(found).isfinite().all())


@pytest.mark.parametrize("n", [2, 3])
def test_weyl_integrates_to_one(n):
    """Catches a factor |.| in place of |.|^2: mean of the Vandermonde over all angles is n!."""
    points = 2 * pi * torch.arange(64) / 64
    free = torch.cartesian_prod(*[points] * (n - 1)).reshape(-1, n - 1)
    theta = torch.cat([free, -free.sum(-1, keepdim=True)], -1)
    mean = su_n.log_vandermonde(theta).exp().mean()
    assert float(mean) == pytest.approx(factorial(n), rel=1e-9)


def test_the_basis_is_orthonormal_and_generates_the_group():
    """Catches a missing 1/2 and a generator with a trace."""
    for n in (2, 3, 4):
        t = su_n.basis(n)
        products = torch.einsum("aij,bji->ab", t, t)
        torch.testing.assert_close(products, (torch.eye(n * n - 1) / 2).to(products))
        x = torch.randn(5, n * n - 1)
        u = torch.linalg.matrix_exp(1j * torch.einsum("ba,aij->bij", x.to(t), t))
        special_unitary("u", u)


def test_nearest_takes_back_noise():
    """Catches a projection to U(n) alone: the determinant must be 1, and the way short."""
    u = haar(3, 20)
    noisy = u + 1e-3 * torch.view_as_complex(torch.randn(20, 3, 3, 2))
    near = nearest(noisy)
    special_unitary("near", near)
    assert float((near - u).abs().max()) < 0.02
    torch.testing.assert_close(nearest(u), u)
    with pytest.raises(ValueError, match="singular"):
        nearest(torch.zeros(1, 3, 3, dtype=torch.complex128))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: special_unitary("u", torch.zeros(3, 2, 2)), TypeError, "complex tensor; got"),
        (lambda: special_unitary("u", 3.0), TypeError, "got float"),
        (lambda: special_unitary("u", haar(2, 3)[0]), ValueError, r"\(B, ..., N, N\)"),
        (lambda: special_unitary("u", haar(2, 3)[:, :1]), ValueError, "square matrix"),
        (lambda: special_unitary("u", 1.001 * haar(2, 3)), ValueError, "numerics.nearest"),
        (lambda: special_unitary("u", 1j * haar(2, 3)), ValueError, "det U = 1"),
        (lambda: special_unitary("u", torch.nan * haar(2, 3)), ValueError, "finite"),
        (lambda: special_unitary("u", haar(3, 2), torch.Size([2, 2])), ValueError, "2, 2"),
        (lambda: haar(1, 3), ValueError, "two or more"),
        (lambda: haar(2, 3, dtype=torch.float16), ValueError, "float32 or float64"),
        (lambda: su_n.angles(haar(4, 3)), ValueError, r"SU\(2\) and SU\(3\)"),
    ],
)
def test_bad_input_is_refused(make, error, words):
    """Catches matrices off the group, of U(n), of another size: each would weigh wrongly."""
    with pytest.raises(error, match=words):
        make()


def test_a_draw_is_ruled_by_its_generator():
    """Catches a draw from the global state, and a type that is not kept."""
    for n in (2, 3):
        one, two = (haar(n, 3, generator=torch.Generator().manual_seed(2)) for _ in range(2))
        assert torch.equal(one, two)
        assert haar(n, 3, dtype=torch.float32).dtype == torch.complex64
