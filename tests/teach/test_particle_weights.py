"""The shipped flows of particles: fitting and good, and the script that makes them."""

import pytest
import torch

from gentoolkit.flows import Hutchinson, MoleculeFlow, ParticleFlow, ParticleLayer
from gentoolkit.numerics import FixedStep, distances
from gentoolkit.targets import DoubleWellParticles, LennardJones
from gentoolkit.teach import load_weights
from tools.train_particles import (
    ELEMENTS,
    aligned,
    cluster_flow,
    groups,
    molecule_flow,
    split,
    train_molecules,
    turned,
    wells,
)


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)


def test_the_wells_flows_fit_in_their_order():
    """Catches arms or stages that changed places, and weights of another layout."""
    stored, generator = wells().float(), torch.Generator().manual_seed(0)
    load_weights(stored, "wells_flows")
    x = DoubleWellParticles().walk(60, 2000, generator=generator)

    def loss(name):
        layer = ParticleLayer(stored[name], Hutchinson(), FixedStep(steps=6))
        with torch.no_grad():
            return -float(ParticleFlow([layer], 4, 2).elbo(x, generator=generator).mean())

    late = {arm: loss(f"{arm}_1000") for arm in ("egnn", "vector", "turned")}
    assert late["egnn"] < 9.3 and late["egnn"] + 1 < min(late["vector"], late["turned"])
    assert late["egnn"] + 2 < loss("egnn_100")


def test_the_cluster_flow_draws_clusters():
    """Catches a flow of another energy: a pair's distance peaks near 1, few pairs in the wall."""
    flow, generator = cluster_flow().float(), torch.Generator().manual_seed(0)
    load_weights(flow, "cluster_flow")
    velocity = flow.layers[0].velocity
    quick = ParticleFlow([ParticleLayer(velocity, Hutchinson(), FixedStep(steps=8))], 13, 3)
    x = quick.sample(60, generator=generator)
    assert -45 < float(LennardJones().energy(x).median()) < -15
    assert float((distances(x) < 0.8).float().mean()) < 0.02
    # The control: the source has neither.
    noise = quick.source.sample(60, generator=generator)
    assert float(LennardJones().energy(noise).median()) > 100


def test_the_molecules_flow_knows_its_molecules():
    """Catches weights of another layout, and types in another order."""
    model, generator = molecule_flow().float(), torch.Generator().manual_seed(0)
    load_weights(model, "molecules_flow")
    layer = ParticleLayer(model.flow.layers[0].velocity, Hutchinson(), FixedStep(steps=6))
    quick = MoleculeFlow(ParticleFlow([layer], 10, 3, len(ELEMENTS)))
    quick.types = model.types
    kept, _ = split(groups())
    with torch.no_grad():
        right = quick.elbo(kept[6], generator=generator).mean()
        other = torch.cat([kept[6][..., :3], kept[6][..., 3:].roll(1, -1)], -1)
        assert float(right) > float(quick.elbo(other, generator=generator).mean()) + 3


def test_noise_is_turned_towards_data():
    """Catches an alignment that changes lengths, or makes lines longer."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 5, 3, generator=generator)
    z = turned(x[:, torch.tensor([3, 1, 4, 0, 2])], generator)
    near = aligned(z, x, 3)
    assert (near - x).square().sum() < (z - x).square().sum()
    torch.testing.assert_close(near.square().sum((1, 2)), z.square().sum((1, 2)))


def test_the_script_trains():
    """Catches a script that no longer runs."""
    model = train_molecules(2, 1)
    assert model.event_shape == (10, 7)
    assert bool(model.sample(2, atoms=3).isfinite().all())
