"""One training step of a VAE on the digits, against Pyro and against bare torch.

Equal networks (64-256-2-256-64), batch, optimiser and bound; each contestant has its own copy.
"""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam  # pyright: ignore[reportAttributeAccessIssue] - made at import
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gentoolkit import elbo
from gentoolkit.data import digits
from gentoolkit.vi import VAE
from tests.benchmarks.timing import Race

LR = 1e-3


def _model() -> VAE:
    torch.manual_seed(0)
    return VAE(64, 2, hidden=(256,))


def _torch_step(loss: Callable[[], Tensor], model: torch.nn.Module) -> Callable[[], object]:
    optimizer = torch.optim.Adam(model.parameters(), LR)

    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return step


def _floor(x: Tensor) -> Callable[[], object]:
    """The same loss written out, without a law, a check or a chain."""
    model = _model()

    def loss():
        mean, log_std = model.encoder.net(x).chunk(2, -1)
        std = log_std.exp()
        z = mean + std * torch.randn_like(mean)
        fit = binary_cross_entropy_with_logits(model.decoder(z), x, reduction="sum")
        kl = (0.5 * (std.square() + mean.square() - 1.0) - log_std).sum()
        return (fit + kl) / len(x)

    return _torch_step(loss, model)


def _pyro(x: Tensor, bound: Trace_ELBO | TraceMeanField_ELBO) -> Callable[[], object]:
    nets = _model()

    def model(x):
        pyro.module("decoder", nets.decoder)
        with pyro.plate("rows", len(x)):
            zero = x.new_zeros(len(x), 2)
            z = pyro.sample("z", dist.Normal(zero, torch.ones_like(zero)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=nets.decoder(z)).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", nets.encoder)
        with pyro.plate("rows", len(x)):
            mean, log_std = nets.encoder.net(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(mean, log_std.exp()).to_event(1))

    svi = SVI(model, guide, Adam({"lr": LR}), loss=bound)
    return lambda: svi.step(x)


def races() -> list[Race]:
    """One step on a batch of 128; Pyro with its checks, as it comes, and without."""
    pyro.clear_param_store()
    x = digits().train[:128]
    ours, path = _model(), _model()
    checked = _pyro(x, Trace_ELBO())
    unchecked = _pyro(x, TraceMeanField_ELBO())

    def validation(on: bool, step: Callable[[], object]) -> Callable[[], object]:
        def call():
            with pyro.validation_enabled(on):
                return step()

        return call

    return [
        Race(
            "VAE step",
            [
                ("gentoolkit", _torch_step(lambda: ours.loss(x), ours)),
                (
                    "gentoolkit, chain.pull",
                    _torch_step(lambda: -elbo(path.chain().pull(x).log_evidence()), path),
                ),
                ("plain torch", _floor(x)),
                ("pyro Trace_ELBO", validation(True, checked)),
                ("pyro TraceMeanField_ELBO, unchecked", validation(False, unchecked)),
            ],
            rounds=40,
            seconds_a_turn=0.05,
        )
    ]
