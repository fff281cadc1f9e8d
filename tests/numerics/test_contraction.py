"""A bound of the spectral norm that never falls short."""

import pytest
import torch

from gentoolkit.numerics import spectral_bound


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (64, 64), (7, 40), (40, 7)])
def test_the_bound_is_above_the_norm_and_close(size):
    """Catches too few squarings, a bound from below, a root of the wrong order."""
    for scale in (1e-8, 1.0, 1e8):
        matrix = scale * torch.randn(size)
        norm = float(torch.linalg.matrix_norm(matrix, 2))
        bound = float(spectral_bound(matrix))
        assert norm * (1 - 1e-12) <= bound <= 1.005 * norm


def test_the_worst_case_is_the_one_that_is_stated():
    """Catches a statement that is too good: all singular values equal is the worst."""
    orthogonal = torch.linalg.qr(torch.randn(64, 64))[0]
    for squarings in (1, 4, 8):
        expected = 64 ** (1 / (4 * 2**squarings))
        assert float(spectral_bound(orthogonal, squarings)) == pytest.approx(expected, rel=1e-9)


def test_the_gradient_of_the_bound_is_right():
    """Catches a detached norm: its slope is u v' of the largest singular value."""
    matrix = torch.randn(4, 3)
    assert torch.autograd.gradcheck(spectral_bound, matrix.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(spectral_bound(matrix.requires_grad_()), matrix)
    u, _, v = torch.linalg.svd(matrix.detach())
    torch.testing.assert_close(gradient, torch.outer(u[:, 0], v[0]), rtol=0, atol=1e-6)


def test_a_zero_matrix_has_no_nan():
    """Catches a division by zero, in the value and in the gradient."""
    matrix = torch.zeros(3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectral_bound(matrix), matrix)
    assert float(spectral_bound(matrix.detach())) < 1e-100 and torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spectral_bound(torch.zeros(3)), "shape"),
        (lambda: spectral_bound(torch.zeros(0, 3)), "not empty"),
        (lambda: spectral_bound(torch.eye(2), 0), "squarings must be at least 1"),
    ],
)
def test_bad_settings_are_refused(call, words):
    """Catches shapes and settings that have no answer."""
    with pytest.raises(ValueError, match=words):
        call()
