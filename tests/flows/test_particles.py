"""Equivariant flows of particles: symmetry, the subspace, and closed forms."""

from itertools import product
from math import log, pi, sqrt

import pytest
import torch
from numpy.polynomial.legendre import leggauss
from torch import nn

from gentoolkit.core import Chain, checks
from gentoolkit.flows import (
    ExactTrace,
    Hutchinson,
    ParticleFlow,
    ParticleLayer,
    ParticleVelocity,
    ZeroMeanGaussian,
    particle_flow,
)
from gentoolkit.nets import VectorGNN
from gentoolkit.numerics import FixedStep, hutchinson, rk4, without_mean
from gentoolkit.targets import DoubleWellParticles
from tests.laws.kinds import perturbed


def flow_of(particles=4, dimensions=2, features=0, steps=20, scale=0.3, seed=0):
    torch.manual_seed(seed)
    flow = particle_flow(particles, dimensions, features, 8, solver=FixedStep(rk4, steps))
    return perturbed(flow, scale)


def states(particles=4, dimensions=2, features=0, n=6):
    torch.manual_seed(1)
    return without_mean(torch.randn(n, particles, dimensions + features), dimensions)


def orthogonal(n, sign):
    q = torch.linalg.qr(torch.randn(n, n)).Q
    q[:, 0] *= sign * torch.linalg.det(q).sign()
    return q


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_density_has_all_symmetries(dimensions, sign):
    """Catches any leak of an axis, a number or a handedness into log p: 1e-10 at random weights."""
    flow, x = flow_of(4, dimensions, 2, steps=5), states(4, dimensions, 2, n=3)
    turned = torch.cat(
        [x[..., :dimensions] @ orthogonal(dimensions, sign), x[..., dimensions:]], -1
    )
    turned = turned[:, torch.tensor([2, 0, 3, 1])]
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(turned), flow.log_prob(x), rtol=0, atol=1e-10)
    # The control: with difference vectors in the place of distances the density is not symmetric.
    plain = ParticleVelocity(perturbed(VectorGNN(dimensions, 3, 2, 8), 0.3), dimensions)
    other = ParticleFlow([ParticleLayer(plain, solver=FixedStep(steps=5))], 4, dimensions, 2)
    with torch.no_grad():
        assert (other.log_prob(turned) - other.log_prob(x)).abs().max() > 1e-2


def test_the_velocity_has_no_mean_and_feels_no_shift():
    """Catches a centre of mass that drifts off the subspace."""
    velocity, x = flow_of().layers[0].velocity, states()
    v = velocity(x, torch.tensor(0.3))
    assert v.mean(1).abs().max() < 1e-14
    torch.testing.assert_close(velocity(x + 5.0, torch.tensor(0.3)), v, rtol=0, atol=1e-12)


def test_two_particles_integrate_to_one():
    """Catches a base of M n dimensions, a lost or turned trace: on y in R^2, Gauss nodes."""
    flow = flow_of(2, 2, steps=40, seed=3)
    nodes, weights = (torch.as_tensor(a) for a in leggauss(200))
    r, w = 6 * (nodes + 1), 6 * weights
    y = torch.stack([r, torch.zeros_like(r)], 1)
    x = torch.stack([y, -y], 1) / sqrt(2)
    with torch.no_grad():
        p = flow.log_prob(x).exp()
        wrong = ZeroMeanGaussian(2, 2).log_prob(flow.layers[0].inverse(x)[0]).exp()
    assert abs(float((w * 2 * pi * r * p).sum()) - 1) < 1e-6
    # The control: without its trace the density is none.
    assert abs(float((w * 2 * pi * r * wrong).sum()) - 1) > 1e-2


class Linear(nn.Module):
    """dx_i/dt = c / (M - 1) sum_j (x_i - x_j)."""

    dimensions = 2

    def __init__(self, c):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c))

    def forward(self, x, t):
        m = x.shape[1]
        return self.c / (m - 1) * (m * x - x.sum(1, keepdim=True))


def test_the_linear_flow_in_closed_form():
    """Catches M n in the place of (M - 1) n: the two differ by n c' = 0.8 nats here."""
    c, m, n = 0.3, 4, 2
    rate = c * m / (m - 1)
    flow, x = ParticleFlow([ParticleLayer(Linear(c))], m, n), states(m, n)
    z = x * torch.tensor(-rate).exp()
    base = -0.5 * z.square().sum((1, 2)) - 0.5 * (m - 1) * n * log(2 * pi)
    with torch.no_grad():
        got = flow.log_prob(x)
    torch.testing.assert_close(got, base - (m - 1) * n * rate, rtol=0, atol=1e-6)
    assert (got - (base - m * n * rate)).abs().min() > 0.79


def test_the_trace_over_all_coordinates_is_that_of_the_subspace():
    """Catches a velocity whose Jacobian has a part along the mean: slogdet in a basis of both."""
    flow, x = flow_of(3, 2), states(3, 2, n=2)
    layer = flow.layers[0]
    centring = torch.eye(3) - torch.full((3, 3), 1 / 3)
    basis = torch.linalg.eigh(centring).eigenvectors[:, 1:]  # (M, M - 1), orthonormal, no mean
    y = torch.einsum("ms,bmn->bsn", basis, x)

    def inside(y):
        end = layer.transform(torch.einsum("ms,bsn->bmn", basis, y))[0]
        return torch.einsum("ms,bmn->bsn", basis, end).flatten(1)

    for k in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: inside(v[None])[0], y[k])
        want = torch.linalg.slogdet(jacobian.reshape(4, 4)).logabsdet
        assert abs(float((layer.transform(x[k : k + 1])[1] - want).detach())) < 1e-6


def test_the_exact_trace_is_the_mean_over_all_signs():
    """Catches a Hutchinson estimate that is biased: 2^6 sign vectors, averaged."""
    velocity, x = flow_of(3, 2).layers[0].velocity, states(3, 2, n=2)

    def rows(v):
        return velocity(v.reshape(-1, 3, 2), torch.tensor(0.4)).flatten(1)

    signs = [torch.tensor(s).expand(2, -1) for s in product([-1.0, 1.0], repeat=6)]
    mean = torch.stack([hutchinson(rows, x.flatten(1), s)[1] for s in signs]).mean(0)
    exact = ExactTrace().draw(x.flatten(1))(rows, x.flatten(1))[1]
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-10)


def test_no_model_beats_the_entropy_of_dw2():
    """Catches a density that is not normalised on the same subspace as the target's."""
    target = DoubleWellParticles(2)
    x = target.sample(4000, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    flow = particle_flow(2, 2, width=16, solver=FixedStep(rk4, 4))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        flow.loss(x[torch.randint(4000, (64,))]).backward()
        optimizer.step()
    with torch.no_grad():
        loss = -flow.log_prob(x[:1000])
    assert 3.389666 - 4 * float(loss.std()) / sqrt(1000) < float(loss.mean()) < 8.0


def test_the_base_on_the_subspace():
    """Catches M n in its constant, and draws whose mean stays: -6/2 log 2 pi at zero."""
    base = ZeroMeanGaussian(4, 2)
    assert abs(float(base.log_prob(torch.zeros(1, 4, 2))) + 3 * log(2 * pi)) < 1e-12
    x = base.sample(20_000, torch.Generator().manual_seed(0))
    assert x.mean(1).abs().max() < 1e-12
    assert checks.mean_is(x.square().sum((1, 2)), 6.0)
    both = ZeroMeanGaussian(4, 2, 3)
    assert abs(float(both.log_prob(torch.zeros(1, 4, 5))) + 9 * log(2 * pi)) < 1e-12
    assert checks.mean_is(both.sample(20_000).square().sum((1, 2)), 18.0)


def test_sizes_share_their_parameters():
    """Catches a copy, whose training would not reach the other size."""
    flow = flow_of(4, 2)
    other = flow.sized(3)
    assert other.event_shape == (3, 2)
    assert [id(p) for p in other.parameters()] == [id(p) for p in flow.parameters()]
    assert other.sample(5).shape == (5, 3, 2)


def test_the_exact_flow_shares_the_estimated_ones_parameters():
    """Catches another solver or another velocity in the exact twin."""
    torch.manual_seed(0)
    rough = perturbed(particle_flow(3, 2, 0, 8, trace=Hutchinson(), solver=FixedStep(steps=4)), 0.3)
    x, exact = states(3, 2, n=3), rough.exact()
    with pytest.raises(ValueError, match="exact"):
        rough.log_prob(x)
    draws = rough.elbo(x.repeat(400, 1, 1)).detach().reshape(400, 3)
    error = draws.std(0) / sqrt(400)
    assert ((draws.mean(0) - exact.log_prob(x)).abs() < 4 * error + 1e-9).all()
    assert type(exact.layers[0]) is ParticleLayer


def test_bad_input_is_refused():
    """Catches particles off the subspace, which would have a density of another measure."""
    flow, x = flow_of(), states()
    for call in (
        flow.log_prob,
        flow.elbo,
        flow.loss,
        flow.layers[0].transform,
        flow.layers[0].inverse,
        flow.source.log_prob,
        Chain(flow.source, flow.layers).pull,
    ):
        with pytest.raises(ValueError, match="centre of mass at zero.*got.*without_mean"):
            call(x + 0.01)
    for bad in (x[:, :3], x[..., :1], x[0], x.flatten(1), x * torch.nan, x[:0]):
        with pytest.raises(ValueError, match="got"):
            flow.log_prob(bad)
    with pytest.raises(ValueError, match="got.*one row"):
        flow.layers[0].transform(x.flatten(1))
    for sizes in ((1, 2), (0, 2), (4, 0), (4, 2, -1)):
        with pytest.raises(ValueError, match="got"):
            particle_flow(*sizes)
        with pytest.raises(ValueError, match="got"):
            ZeroMeanGaussian(*sizes)
