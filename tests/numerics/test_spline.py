"""Rational-quadratic splines against autograd, a pure-Python reference, and their own corners."""

import pytest
import torch

from gentoolkit.numerics import spline, spline_inverse, spline_knots

BOUND = 4.0


def random_knots(n, bins=8, spread=1.5, dtype=torch.float64):
    return spline_knots(spread * torch.randn(n, 3 * bins - 1, dtype=dtype), BOUND)


def everywhere(knots):
    """Points of every kind for one spline: within bins, on knots, on the edge, outside, far."""
    inside = torch.empty(knots.shape[0], 200).uniform_(-BOUND, BOUND)
    far = torch.tensor([-1e3, -BOUND - 1e-9, -BOUND, BOUND, BOUND + 1e-9, 1e3])
    return torch.cat([inside, knots[:, 0], knots[:, 1], far.expand(knots.shape[0], -1)], 1)


def reference(x, knots):
    """One value at a time, by a loop over bins and the formula as the paper prints it."""
    (xs, ys, ds) = knots.tolist()
    for k in range(len(xs) - 1):
        if xs[k] <= x <= xs[k + 1]:
            w, h = xs[k + 1] - xs[k], ys[k + 1] - ys[k]
            s, t = h / w, (x - xs[k]) / w
            return ys[k] + h * (s * t**2 + ds[k] * t * (1 - t)) / (
                s + (ds[k + 1] + ds[k] - 2 * s) * t * (1 - t)
            )
    return x


def test_values_are_those_of_a_loop_over_bins():
    """Catches a bin off by one, slopes of the wrong end, widths and heights swapped."""
    knots = random_knots(5)
    x = everywhere(knots)
    y, _ = spline(x, knots[:, None].expand(-1, x.shape[1], -1, -1))
    expected = [[reference(v, k) for v in row] for row, k in zip(x.tolist(), knots, strict=True)]
    torch.testing.assert_close(y, torch.tensor(expected), rtol=0, atol=1e-12)


def test_knots_start_and_end_at_the_box():
    """Catches shares that do not sum to the box, and a floor that pushes past it."""
    places = random_knots(50, spread=6.0)
    assert torch.equal(places[:, :2, 0], torch.full((50, 2), -BOUND))
    torch.testing.assert_close(places[:, :2, -1], torch.full((50, 2), BOUND), rtol=0, atol=1e-14)
    assert torch.equal(places[:, 0, -1], places[:, 1, -1]), "or the identity would not meet it"
    assert float(places[:, :2].diff(dim=-1).min()) >= 2 * BOUND * 1e-3 * (1 - 1e-9)
    assert torch.equal(places[:, 2, [0, -1]], torch.ones(50, 2))
    assert float(places[:, 2].min()) >= 1e-3


def test_zeros_are_the_identity():
    """Catches a slope of softplus(0) = 0.69 in place of 1."""
    x = torch.linspace(-6, 6, 101)
    for move in (spline, spline_inverse):
        y, log_slope = move(x, spline_knots(torch.zeros(101, 23), BOUND))
        torch.testing.assert_close(y, x, rtol=0, atol=1e-14)
        assert float(log_slope.abs().max()) < 1e-13


@pytest.mark.parametrize("bins", [2, 3, 8, 40])
def test_slope_is_the_derivative(bins):
    """Catches a lost factor in the derivative; away from knots, where both sides agree."""
    knots = random_knots(30, bins)[:, None].expand(-1, 200, -1, -1)
    x = torch.empty(30, 200).uniform_(-1.2 * BOUND, 1.2 * BOUND).requires_grad_()
    y, log_slope = spline(x, knots)
    (derivative,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, derivative.log(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("bins", [2, 8, 40])
def test_comes_back_everywhere(bins):
    """Catches the other root, knots that fall between bins, and a bend outside of the box."""
    knots = random_knots(40, bins)
    x = everywhere(knots)
    each = knots[:, None].expand(-1, x.shape[1], -1, -1)
    y, log_slope = spline(x, each)
    back, again = spline_inverse(y, each)
    assert float((back - x).abs().max()) < 1e-10
    # On a knot, rounding may find either bin: the slope is continuous, so it does not matter.
    assert float((again - log_slope).abs().max()) < 1e-9
    there, _ = spline_inverse(x, each)
    assert float((spline(there, each)[0] - x).abs().max()) < 1e-10


def test_the_other_root_fails():
    """The control: the quadratic's other root is off by much more than rounding."""
    knots = random_knots(40)[:, None].expand(-1, 100, -1, -1)
    y = torch.empty(40, 100).uniform_(-BOUND, BOUND)
    right, _ = spline_inverse(y, knots)
    k = (y[..., None] >= knots[..., 1, 1:-1]).sum(-1, keepdim=True)
    (x0, y0, d0), (x1, y1, d1) = (
        knots.gather(-1, (k + end)[..., None, :].expand(-1, -1, 3, -1)).squeeze(-1).unbind(-1)
        for end in (0, 1)
    )
    s = (y1 - y0) / (x1 - x0)
    a = (y - y0) * (d0 + d1 - 2 * s) + (y1 - y0) * (s - d0)
    b = (y1 - y0) * d0 - (y - y0) * (d0 + d1 - 2 * s)
    c = -s * (y - y0)
    roots = [2 * c / (-b + sign * (b * b - 4 * a * c).sqrt()) for sign in (-1, 1)]
    good, bad = (float((x0 + t * (x1 - x0) - right).abs().max()) for t in roots)
    assert good < 1e-10 and bad > 0.1


def test_on_the_knots():
    """Catches a knot that does not map to its knot: x_k -> y_k with slope d_k."""
    knots = random_knots(30)
    each = knots[:, None].expand(-1, 9, -1, -1)
    y, log_slope = spline(knots[:, 0], each)
    torch.testing.assert_close(y, knots[:, 1], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope, knots[:, 2].log(), rtol=0, atol=1e-9)
    x, log_slope = spline_inverse(knots[:, 1], each)
    torch.testing.assert_close(x, knots[:, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope, knots[:, 2].log(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("move", [spline, spline_inverse])
def test_identity_outside_with_clean_gradients(move):
    """Catches NaN that leaks from the branch not taken into the gradient of the one that is."""
    raw = (3 * torch.randn(6, 23)).requires_grad_()
    x = torch.tensor([-1e3, -BOUND, -0.3, 0.9, BOUND, 1e3], requires_grad=True)
    y, log_slope = move(x, spline_knots(raw, BOUND))
    outside = torch.tensor([0, 5])
    assert torch.equal(y[outside], x[outside])
    assert torch.equal(log_slope[outside], torch.zeros(2))
    by_x, by_raw = torch.autograd.grad((y.cos() + log_slope).sum(), (x, raw))
    assert bool(by_x.isfinite().all()) and bool(by_raw.isfinite().all())
    assert float(by_raw[outside].abs().max()) == 0.0
    assert bool((by_raw[2:4].abs().sum(1) > 0).all())


def test_gradients_of_the_inverse():
    """Catches a gradient that the clamped discriminant or the gathered bins lose."""
    raw = torch.randn(5, 3 * 4 - 1, requires_grad=True)
    y = torch.tensor([-3.7, -1.1, 0.2, 1.9, 3.3], requires_grad=True)
    assert torch.autograd.gradcheck(lambda y, r: spline_inverse(y, spline_knots(r, 4.0)), (y, raw))
    assert torch.autograd.gradcheck(lambda y, r: spline(y, spline_knots(r, 4.0)), (y, raw))


def test_gradient_of_the_inverse_in_the_middle_of_an_even_bin():
    """Catches a kink where two forms of one root meet: finite differences see both sides."""
    raw, y = torch.zeros(1, 23, requires_grad=True), torch.tensor([0.5], requires_grad=True)
    assert torch.autograd.gradcheck(lambda y, r: spline_inverse(y, spline_knots(r, 4.0)), (y, raw))


def test_float32_survives_hard_splines():
    """Catches a root that cancels: NaN, or 1e-4 off, in float32 where bins are steep."""
    knots = random_knots(2000, 8, spread=6.0, dtype=torch.float32)
    each = knots[:, None].expand(-1, 23, -1, -1)
    y = torch.cat([torch.empty(2000, 14).uniform_(-BOUND, BOUND).float(), knots[:, 1]], 1)
    x, log_slope = spline_inverse(y, each)
    assert x.dtype == log_slope.dtype == torch.float32
    assert bool(x.isfinite().all()) and bool(log_slope.isfinite().all())
    # Rounding x moves y by the slope times as much, and slopes go up to thousands here.
    again, forth = spline(x, each)
    assert float(((again - y).abs() / (1.0 + forth.exp())).max()) < 1e-5


@pytest.mark.parametrize("numbers", [1, 2, 4, 6, 7, 22, 24])
def test_numbers_that_make_no_bins_are_refused(numbers):
    """Catches one bin, and a parameter count that is off by one."""
    with pytest.raises(ValueError, match=f"got {numbers};"):
        spline_knots(torch.zeros(3, numbers), BOUND)


def test_other_bad_input_is_refused():
    """Catches floors that overfill the box, and a box without inside."""
    with pytest.raises(ValueError, match="3K - 1"):
        spline_knots(torch.zeros(1, 3 * 1000 - 1), BOUND)
    for bound in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="bound"):
            spline_knots(torch.zeros(1, 23), bound)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_every_bin(narrow):
    """Catches knots in half precision: bins of no width, and 34 % of the log-slopes NaN."""
    raw = (5.0 * torch.randn(400, 23)).to(narrow)
    x = torch.empty(400).uniform_(-BOUND, BOUND).to(narrow)
    knots = spline_knots(raw, BOUND)
    assert knots.dtype == torch.float32
    wide = spline_knots(raw.double(), BOUND)
    for move in (spline, spline_inverse):
        y, log_slope = move(x, knots)
        truth, slope = move(x.double(), wide)
        assert (y.dtype, log_slope.dtype) == (narrow, torch.float32)
        spacing = float(torch.finfo(narrow).eps) * BOUND
        torch.testing.assert_close(y.double(), truth, rtol=0, atol=spacing)
        torch.testing.assert_close(log_slope.double(), slope, rtol=0, atol=2e-3)


def test_autocast_changes_nothing():
    """Catches a product that autocast casts down: values off by .2, log-slopes by .8."""
    raw, x = 2.0 * torch.randn(400, 23, dtype=torch.float32), torch.randn(400, dtype=torch.float32)
    for move in (spline, spline_inverse):
        expected = move(x, spline_knots(raw, BOUND))
        with torch.autocast("cpu", torch.bfloat16):
            result = move(x, spline_knots(raw, BOUND))
        assert torch.equal(result[0], expected[0]) and torch.equal(result[1], expected[1])


def test_free_ends_take_their_slopes_from_the_numbers():
    """Catches end slopes that stay 1, which no density on a closed interval could raise."""
    raw = torch.randn(7, 3 * 5 + 1)
    knots = spline_knots(raw, 1.0, free_ends=True)
    assert knots.shape == (7, 3, 6)
    assert float((knots[:, 2, [0, -1]] - 1).abs().min()) > 1e-3
    x = torch.linspace(-1, 1, 41).expand(7, -1)
    each = knots[:, None].expand(-1, 41, -1, -1)
    y, log_slope = spline(x, each)
    torch.testing.assert_close(y[:, [0, -1]], x[:, [0, -1]])
    torch.testing.assert_close(log_slope[:, 0].exp(), knots[:, 2, 0])
    torch.testing.assert_close(spline_inverse(y, each)[0], x, rtol=0, atol=1e-10)
    zero = spline_knots(torch.zeros(1, 16), 1.0, free_ends=True)
    torch.testing.assert_close(zero[0, 2], torch.ones(6))
    with pytest.raises(ValueError, match="3K . 1 numbers"):
        spline_knots(torch.zeros(1, 14), 1.0, free_ends=True)
