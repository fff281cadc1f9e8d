"""What a model holds: it follows the model, and is not trained."""

import torch
from torch import nn

from gentoolkit import Gaussian, standard_normal
from gentoolkit.checkpoints import load_checkpoint, save_checkpoint
from gentoolkit.flows import Permute, real_nvp
from gentoolkit.stochastic import MALA, GeometricPath, StochasticFlow
from gentoolkit.stochastic.held import Held
from tests.laws.examples import lopsided


class Own:
    """A density of one's own, with a tensor in a field and a law in another."""

    def __init__(self):
        self.shift, self.law, self.name = torch.ones(2), Gaussian(torch.zeros(1, 2), 2.0), "own"

    def log_prob(self, x):
        return self.law.log_prob(x - self.shift)


def test_tensors_follow_wherever_they_hide():
    """Catches a law in a path in a move, a method, a torch distribution left behind."""
    normal = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    things = {
        "own": (Own(), lambda t: t.log_prob),
        "method": (Own().log_prob, lambda t: t),
        "distribution": (torch.distributions.Independent(normal, 1), lambda t: t.log_prob),
        "move": (
            MALA(GeometricPath(standard_normal(2), Own()).at(0.3), 0.1),
            lambda t: t.log_g,
        ),
        "tuple": ((Own(), 3.0), lambda t: t[0].log_prob),
    }
    x = torch.randn(4, 2)
    for thing, log_prob in things.values():
        held = Held(thing)
        expected = log_prob(held.thing)(x)
        assert log_prob(held.float().thing)(x.float()).dtype == torch.float32
        again = log_prob(held.double().thing)(x)
        torch.testing.assert_close(again, expected, rtol=0, atol=1e-12)
        assert log_prob(thing)(x).dtype == torch.float64, "the caller's own is left alone"


def test_what_is_held_is_not_trained():
    """Catches a target that joins the model's parameters; its own module is moved with it."""

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = nn.Parameter(torch.zeros(2))

        def log_prob(self, x):
            return -(x - self.mean).square().sum(1)

    target = Learned()
    held = Held(target).float()
    assert list(held.parameters()) == [] and target.mean.dtype == torch.float32


def test_a_repeated_layer_is_saved_and_loaded(tmp_path):
    """Catches a checkpoint that refuses the memory that two layers share."""
    layer, other = real_nvp(2, 1).layers[0], real_nvp(2, 1).layers[0]
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p))
    turn = Permute.reverse(2)
    flow, again = (
        StochasticFlow(standard_normal(2), [x, turn, MALA(lopsided(), 0.1), x])
        for x in (layer, other)
    )
    save_checkpoint(flow, tmp_path / "flow.safetensors")
    load_checkpoint(again, tmp_path / "flow.safetensors")
    one, two = (m.sample(5, generator=torch.Generator().manual_seed(0)) for m in (flow, again))
    assert torch.equal(one, two)
