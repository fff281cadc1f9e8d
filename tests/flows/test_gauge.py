"""Spectral flows and gauge couplings: tangent Jacobians, symmetry, and the bugs that break them."""

import pytest
import torch

from gentoolkit import Chain, Composite, FunctionKernel, Gaussian, standard_normal
from gentoolkit.core import checks
from gentoolkit.flows import (
    EigenangleSpline,
    Flow,
    GaugeCoupling,
    Haar,
    PlainCoupling,
    SpectralFlow,
    gauge_flow,
)
from gentoolkit.numerics import gauge_transform, haar, loops, plaquettes, special_unitary, su_n
from gentoolkit.targets import ClassFunction
from tests.laws.kinds import perturbed

BOTH = pytest.mark.parametrize("n", [2, 3])
LAYERS = [(d, o) for d in (0, 1) for o in range(4)]


def tangent_log_det(move, u, n):
    """Return log |det| of a map of one matrix, or one matrix a place, in tangent coordinates.

    Near u stands exp(i x.T) u, and near its image exp(i y.T) image; the Jacobian is dy/dx at 0,
    with y read off the image by the inner product of the T.
    """
    t = su_n.basis(n)
    image = move(u)[0].detach()
    places = u.shape[:-2]

    def moved(x):
        near = torch.linalg.matrix_exp(1j * torch.einsum("...a,aij->...ij", x.to(t), t)) @ u
        change = -1j * (move(near)[0] - image) @ image.mH
        return 2.0 * torch.einsum("aij,...ji->...a", t, change).real

    jacobian = torch.autograd.functional.jacobian(moved, torch.zeros(*places, n * n - 1))
    size = places.numel() * (n * n - 1)
    return torch.linalg.slogdet(jacobian.reshape(size, size)).logabsdet


@BOTH
def test_log_j_of_a_spectral_flow_is_the_determinant_in_the_tangent_space(n):
    """Catches a missing Haar factor, sin for sin^2, and a stick-breaking without its lengths."""
    layer = perturbed(SpectralFlow(n), 0.5)
    u = haar(n, 4)
    _, log_j = layer.transform(u)
    for k in range(4):
        exact = tangent_log_det(lambda v: layer.transform(v), u[k : k + 1], n)
        assert float(log_j[k]) == pytest.approx(float(exact), abs=1e-8)
    # The control: the slope of the angles alone, without how much of the group lies there.
    volume = su_n.log_vandermonde(su_n.angles(layer.transform(u)[0])) - su_n.log_vandermonde(
        su_n.angles(u)
    )
    assert float(volume.abs().max()) > 0.05


@BOTH
def test_a_spectral_flow_commutes_with_changes_of_frame(n):
    """Catches eigenvalues moved by their order, and a frame that is not put back."""
    layer = perturbed(SpectralFlow(n), 0.5)
    u, x = haar(n, 200), haar(n, 200)
    y, log_j = layer.transform(u)
    turned, same = layer.transform(x @ u @ x.mH)
    torch.testing.assert_close(turned, x @ y @ x.mH, rtol=0, atol=1e-10)
    torch.testing.assert_close(same, log_j, rtol=0, atol=1e-9)
    special_unitary("y", y)
    back, again = layer.inverse(y)
    torch.testing.assert_close(back, u, rtol=0, atol=1e-9)
    torch.testing.assert_close(again, log_j, rtol=0, atol=1e-8)


@BOTH
def test_a_fresh_flow_is_the_identity(n):
    """Catches a start that bends: end slopes of softplus(0) in place of 1."""
    u = haar(n, 50)
    y, log_j = SpectralFlow(n).transform(u)
    torch.testing.assert_close(y, u, rtol=0, atol=1e-10)
    assert float(log_j.abs().max()) < 1e-9


@BOTH
def test_the_density_of_a_spectral_flow_integrates_to_one(n):
    """Catches a density against the wrong measure: E over Haar of q is 1, and samples fit it."""
    flow = Flow([perturbed(SpectralFlow(n), 0.5)], (n, n), Haar(n))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        assert checks.mean_is(flow.log_prob(haar(n, 20_000, generator=generator)).exp(), 1.0)
        x = flow.sample(20_000, generator=generator)
        assert checks.mean_is((-flow.log_prob(x)).exp(), 1.0)
        # Weights of its draws towards a known density.
        target = ClassFunction(n, (0.5, -0.3), 2.0)
        log_w = target.log_prob(x) - flow.log_prob(x)
    assert checks.mean_weight(log_w, target.log_z)
    assert not checks.mean_weight(log_w, target.log_z + 0.1), "the control"


@BOTH
@pytest.mark.parametrize("direction", [0, 1])
def test_a_coupling_moves_what_it_says_by_the_log_j_it_says(n, direction):
    """Catches a dagger in U', a plaquette of mu = 1 that is not turned, a feature that moves."""
    layer = perturbed(GaugeCoupling(4, n, direction, 1, channels=(4,)), 0.4)
    u = haar(n, 1, 2, 4, 4)
    y, log_j = layer.transform(u)
    special_unitary("y", y)
    moved = (y - u).abs().amax((0, 4, 5)) > 1e-12
    expected = torch.zeros(2, 4, 4, dtype=torch.bool)
    if direction:
        expected[1, 1, :] = True
    else:
        expected[0, :, 1] = True
    assert torch.equal(moved, expected)
    # Only the moved links have a part in the determinant; the map is triangular in the others.
    own = expected.nonzero().unbind(1)

    def of(v):
        field = u.clone()
        field[0, own[0], own[1], own[2]] = v
        out, log = layer.transform(field)
        return out[0, own[0], own[1], own[2]], log

    exact = tangent_log_det(of, u[0, own[0], own[1], own[2]], n)
    assert float(log_j) == pytest.approx(float(exact), abs=1e-8)


@BOTH
def test_couplings_commute_with_gauge_transformations(n):
    """Catches wrong order in the plaquette, features that are entries; the control is the rival."""
    u, g = haar(n, 3, 2, 8, 8), haar(n, 3, 8, 8)
    flow = perturbed(gauge_flow(8, n, channels=(4,)), 0.1)
    plain = perturbed(gauge_flow(8, n, channels=(4,), coupling=PlainCoupling), 0.1)
    for model, keeps in ((flow, True), (plain, False)):
        step = Composite(list(model.layers))
        y, log_j = step.push(u)
        turned, same = step.push(gauge_transform(u, g))
        off = float((turned - gauge_transform(y, g)).abs().max())
        change = float((same - log_j).abs().max())
        assert (off < 1e-10 and change < 1e-9) if keeps else (off > 1e-2 and change > 1e-2)


def test_couplings_commute_with_shifts_of_the_lattice():
    """Catches zero padding: a shift by four rows, or by one site along the links that move."""
    u = haar(2, 2, 2, 8, 8)
    for direction in (0, 1):
        layer = perturbed(GaugeCoupling(8, 2, direction, 2), 0.3)
        y, log_j = layer.transform(u)
        shift = (1, 4) if direction == 0 else (4, 1)
        moved, same = layer.transform(u.roll(shift, (2, 3)))
        torch.testing.assert_close(moved, y.roll(shift, (2, 3)), rtol=0, atol=1e-11)
        torch.testing.assert_close(same, log_j, rtol=0, atol=1e-11)
        other = layer.transform(u.roll((1, 1), (2, 3)))[0]
        assert float((other - y.roll((1, 1), (2, 3))).abs().max()) > 1e-3, "the control"


@pytest.mark.parametrize("coupling", [GaugeCoupling, PlainCoupling])
@BOTH
def test_links_come_back_after_a_sweep_and_every_link_moves(n, coupling):
    """Catches an inverse with the wrong staple, and links that no layer reaches."""
    flow = perturbed(gauge_flow(4, n, channels=(4,), coupling=coupling), 0.1)
    paths = flow.chain().push(5, torch.Generator().manual_seed(0))
    start, end = paths.states[0], paths.states[-1]
    assert bool(((end - start).abs().amax((0, 4, 5)) > 1e-6).all())
    back = flow.chain().pull(end.detach())
    torch.testing.assert_close(back.states[0], start, rtol=0, atol=1e-8)
    torch.testing.assert_close(back.log_ratio, paths.log_ratio, rtol=0, atol=1e-7)


def test_a_deep_flow_stays_on_the_group_in_single_precision():
    """Catches rounding that grows threefold a layer, as products of three links do."""
    for n in (2, 3):
        flow = perturbed(gauge_flow(4, n, sweeps=3), 0.05).float()
        with torch.no_grad():
            special_unitary("u", flow.sample(20))


def test_plaquettes_and_loops_are_products_around():
    """Catches a dagger on the wrong side: against a walk around, link by link."""
    u = haar(2, 1, 2, 4, 4)[0]

    def walk(x, steps):
        (i, j), product = x, torch.eye(2, dtype=u.dtype)
        for mu, sign in steps:
            if sign > 0:
                product = product @ u[mu, i % 4, j % 4]
            i, j = (i + sign, j) if mu == 0 else (i, j + sign)
            if sign < 0:
                product = product @ u[mu, i % 4, j % 4].mH
        return product

    square = [(0, 1), (1, 1), (0, -1), (1, -1)]
    long = [(0, 1)] * 3 + [(1, 1)] * 2 + [(0, -1)] * 3 + [(1, -1)] * 2
    for x in ((0, 0), (3, 1), (2, 3)):
        torch.testing.assert_close(plaquettes(u[None])[0][x], walk(x, square))
        torch.testing.assert_close(loops(u[None], 3, 2)[0][x], walk(x, long))
    torch.testing.assert_close(loops(u[None], 1, 1), plaquettes(u[None]))


def test_haar_is_a_source_of_its_own_measure():
    """Catches a group's density weighed against one of the plane."""
    source = Haar(2)
    paths = Chain(source).push(3)
    assert paths.log_weight(ClassFunction(2)).shape == (3,)
    with pytest.raises(ValueError, match=r"against one measure; got Haar measure of SU\(2\)"):
        paths.log_weight(standard_normal(2, 2))
    with pytest.raises(ValueError, match="Lebesgue measure and Haar measure"):
        Chain(standard_normal(2, 2)).push(3).log_weight(ClassFunction(2))
    assert Haar(3, 2, 4, 4).event_shape == (2, 4, 4, 3, 3)
    assert torch.equal(source.log_prob(source.sample(4)), torch.zeros(4))


def test_a_flow_of_a_batch_refuses_matrices_off_the_group():
    """Catches data that is almost unitary, or of another lattice, at the door of the chain."""
    flow = gauge_flow(4)
    x = flow.sample(3)
    for bad, words in (
        (1.01 * x, "numerics.nearest"),
        (torch.nan * x, "finite"),
        (x[:, :, :2], "shape"),
        (x[:, :1], "shape"),
    ):
        with pytest.raises(ValueError, match=words):
            flow.log_prob(bad)
    with pytest.raises(TypeError, match="complex"):
        flow.layers[0].inverse(x.real)
    with pytest.raises(ValueError, match="no context"):
        flow.log_prob(x, context=torch.zeros(3, 1))
    off = FunctionKernel(lambda y: Gaussian(y.real, 1.0), lambda y: Gaussian(y.real, 1.0))
    with pytest.raises((TypeError, ValueError), match="complex"):
        Chain(Haar(2), [off, SpectralFlow(2)]).push(3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gauge_flow(6), "multiple of 4.*got 6; try 8"),
        (lambda: gauge_flow(5), "multiple of 4"),
        (lambda: gauge_flow(4, 4), r"SU\(2\) and SU\(3\)"),
        (lambda: gauge_flow(4, sweeps=0), "at least 1"),
        (lambda: gauge_flow(4, bins=1), "two bins"),
        (lambda: GaugeCoupling(4, 2, 2, 0), "direction must be 0 or 1"),
        (lambda: GaugeCoupling(4, 2, 0, 4), "offset 0 to 3"),
        (lambda: GaugeCoupling(4, channels=()), "one convolution or more"),
        (lambda: SpectralFlow(1), r"SU\(2\) and SU\(3\)"),
        (lambda: EigenangleSpline(2, bins=1), "two bins"),
        (lambda: Haar(1), "two or more"),
        (lambda: Haar(2, 0), "at least 1"),
        (lambda: plaquettes(haar(2, 3)), "links must have shape"),
        (lambda: loops(haar(2, 1, 2, 4, 4), 0, 1), "width must be at least 1"),
        (lambda: gauge_transform(haar(2, 1, 2, 4, 4), haar(2, 4, 5)), "one matrix for each site"),
    ],
)
def test_bad_arguments_are_refused(make, words):
    """Catches odd lattices, groups that are too large, empty nets."""
    with pytest.raises(ValueError, match=words):
        make()
