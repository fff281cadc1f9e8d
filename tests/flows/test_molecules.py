"""Atom types from continuous features: the argmax step, and the bound of a molecule flow."""

import pytest
import torch
from numpy.polynomial.legendre import leggauss
from torch.nn.functional import one_hot

from gentoolkit.core import Unsupported, checks, log_z
from gentoolkit.flows import ArgmaxTypes, MoleculeFlow, particle_flow
from gentoolkit.numerics import FixedStep, without_mean
from tests.laws.kinds import perturbed


def molecule(n=5, atoms=3, types=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    place = without_mean(torch.randn(n, atoms, 3, generator=generator))
    kind = one_hot(torch.randint(types, (n, atoms), generator=generator), types).to(place)
    return torch.cat([place, kind], -1)


def step_of(types=3):
    torch.manual_seed(0)
    return perturbed(ArgmaxTypes(3, types), 0.3)


def test_types_are_named_and_features_come_back():
    """Catches a draw whose largest feature is another type, and positions that change."""
    step, y = step_of(), molecule(200)
    h, ratio = step.pull(y)
    assert torch.equal(step.push(h)[0], y)
    torch.testing.assert_close(step.push(h)[1], ratio)
    torch.testing.assert_close(step.log_ratio(h, y), ratio)
    assert torch.equal(h[..., :3], y[..., :3])


def test_the_law_of_features_integrates_to_one():
    """Catches a lost or doubled Jacobian of the softplus, and mass beyond the largest feature."""
    step = step_of(2)
    nodes, weights = (torch.as_tensor(a) for a in leggauss(200))
    a, b = torch.meshgrid(10 * nodes, 10 * nodes, indexing="ij")
    for kind in range(2):
        # h_y = a, h_j = a - gap with gap = e^b, so dh_j = e^b db.
        h_y, gap = a.flatten(), b.flatten().exp()
        h = torch.stack([h_y, h_y - gap] if kind == 0 else [h_y - gap, h_y], -1)
        x = torch.cat([torch.zeros(len(h), 3), h], 1)[:, None]
        log_q = step.push(x)[1] + b.flatten()
        w = (100 * weights[:, None] * weights).flatten()
        assert abs(float((w * log_q.detach().exp()).sum()) - 1) < 1e-6


def test_features_follow_their_law():
    """Catches a sampler of another law than log q: E_q[p/q] = 1 for p = q of other parameters."""
    step, other = step_of(), ArgmaxTypes(3, 3)
    with torch.no_grad():
        other.mean.copy_(step.mean + 0.1)
        other.log_std.copy_(step.log_std - 0.1)
        y = molecule(1).expand(20_000, -1, -1)
        h, log_q = step.pull(y, torch.Generator().manual_seed(1))
        assert checks.mean_is((other.log_ratio(h, y) - log_q).exp(), 1.0)
        # The control: a constant that is lost.
        assert not checks.mean_is((other.log_ratio(h, y) - log_q + 0.1).exp(), 1.0)


def test_the_bound_is_below_the_evidence():
    """Catches log q of the wrong sign: more draws raise log mean w, and the ELBO stays below."""
    torch.manual_seed(0)
    flow = particle_flow(3, 3, 3, 8, solver=FixedStep(steps=4))
    model, y = MoleculeFlow(flow), molecule(1).expand(400, -1, -1)
    with torch.no_grad():
        logs = model.elbo(y, generator=torch.Generator().manual_seed(0))
    assert float(logs.mean()) < float(log_z(logs)) and float(logs.std()) < 5


def test_the_bound_has_all_symmetries():
    """Catches a law of features that knows the number of an atom."""
    torch.manual_seed(0)
    model, y = MoleculeFlow(perturbed(particle_flow(3, 3, 3, 8), 0.2)), molecule(4)
    h, log_q = model.types.pull(y)
    order = torch.tensor([2, 0, 1])
    q = torch.linalg.qr(torch.randn(3, 3)).Q
    turned = torch.cat([h[..., :3] @ q, h[..., 3:]], -1)[:, order]
    with torch.no_grad():
        torch.testing.assert_close(model.types.push(turned)[1], log_q)
        torch.testing.assert_close(model.flow.log_prob(turned), model.flow.log_prob(h))


def test_sizes_share_one_model():
    """Catches a model that takes one size alone."""
    torch.manual_seed(0)
    model = MoleculeFlow(particle_flow(4, 3, 3, 8, solver=FixedStep(steps=3)))
    assert model.sample(2).shape == (2, 4, 6) and model.sample(2, atoms=3).shape == (2, 3, 6)
    assert bool(model.loss(molecule(3, 5)).isfinite())
    types = model.sample(50, atoms=3)[..., 3:]
    assert bool(((types == 0) | (types == 1)).all()) and bool((types.sum(-1) == 1).all())


def test_bad_input_is_refused():
    """Catches types that are no types, a molecule off centre, pairs that no step made."""
    torch.manual_seed(0)
    model, y = MoleculeFlow(particle_flow(3, 3, 3, 8, solver=FixedStep(steps=2))), molecule()
    soft = y.clone()
    soft[0, 0, 3:] = 1 / 3
    twice = y.clone()
    twice[0, 0, 3:] = 1.0
    for bad in (soft, twice):
        with pytest.raises(ValueError, match="one-hot.*got"):
            model.elbo(bad)
    shifted = y.clone()
    shifted[..., :3] += 1.0
    with pytest.raises(ValueError, match="centre of mass"):
        model.elbo(shifted)
    for bad in (y[..., :5], y[0], y[:0], y * torch.nan):
        with pytest.raises(ValueError, match="got"):
            model.elbo(bad)
    with pytest.raises(Unsupported, match="elbo"):
        model.log_prob(y)
    h, _ = model.types.pull(y)
    with pytest.raises(ValueError, match="largest.*got"):
        model.types.log_ratio(h, torch.cat([y[..., :3], y[..., 3:].roll(1, -1)], -1))
    with pytest.raises(ValueError, match="got 1"):
        ArgmaxTypes(3, 1)
