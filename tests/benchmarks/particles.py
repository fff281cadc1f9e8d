"""A training step of an equivariant flow, against plain loops in PyTorch.

The same weights, equation, solver and loss everywhere. One rival visits the particles one after the
other and hears all others of each at once; one visits the pairs one after the other. Both take
Hutchinson's product by `torch.autograd.grad`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.flows import Hutchinson, particle_flow
from gentoolkit.nets import EGNN
from gentoolkit.numerics import FixedStep, rademacher, without_mean
from tests.benchmarks.timing import Race

SIZES = {"DW4": (4, 2), "LJ13": (13, 3)}
BATCH, STEPS = 32, 2


def looped(net: EGNN, x: Tensor, t: float, pairs: bool) -> Tensor:
    """Return the velocity of `x` (B, M, n), a particle at a time, or a pair at a time."""
    size = x.shape[1]
    s = [net.lift(torch.full((x.shape[0], 1), t)) for _ in range(size)]
    start, place = x, [x[:, i] for i in range(size)]
    for k, (messages, pulls) in enumerate(zip(net.messages, net.pulls, strict=True)):
        moved, heard = [], []
        for i in range(size):
            total, sums = place[i], torch.zeros_like(s[i])
            others = [j for j in range(size) if j != i]
            for group in [[j] for j in others] if pairs else [others]:
                gap = place[i][:, None] - torch.stack([place[j] for j in group], 1)
                square = gap.square().sum(-1, keepdim=True)
                sender = messages.sender(torch.stack([s[j] for j in group], 1))
                pair = messages.receiver(s[i])[:, None] + sender
                m = messages.rest(pair + messages.relation(square.log1p()))
                total = total + (gap / ((square + 1e-8).sqrt() + 1) * pulls(m)).sum(1)
                if k < len(net.updates):
                    sums = sums + (net.updates[k].gate(m) * m).sum(1)
            moved.append(total)
            heard.append(sums)
        if k < len(net.updates):
            update = net.updates[k].net
            s = [a + update(torch.cat([a, b], -1)) for a, b in zip(s, heard, strict=True)]
        place = moved
    v = torch.stack(place, 1) - start
    return v - v.mean(1, keepdim=True)


def looped_loss(net: EGNN, x: Tensor, signs: Tensor, pairs: bool) -> Tensor:
    """Return minus the mean log-likelihood, up to the constant of the base."""

    def slope(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        x = x if x.requires_grad else x.requires_grad_()
        v = looped(net, x, t, pairs)
        (product,) = torch.autograd.grad(v, x, signs, create_graph=True)
        return v, (product * signs).sum((1, 2))

    h, total = -1.0 / STEPS, x.new_zeros(len(x))
    for k in range(STEPS):
        t = 1.0 + k * h
        a, da = slope(x, t)
        b, db = slope(x + h / 2 * a, t + h / 2)
        c, dc = slope(x + h / 2 * b, t + h / 2)
        d, dd = slope(x + h * c, t + h)
        x = x + h / 6 * (a + 2 * (b + c) + d)
        total = total - h / 6 * (da + 2 * (db + dc) + dd)
    return (0.5 * x.square().sum((1, 2)) + total).mean()


def races() -> list[Race]:
    """Return one race for each system: gradient of the loss, and an Adam step."""
    found = []
    for name, (particles, dimensions) in SIZES.items():
        torch.manual_seed(0)
        flow = particle_flow(particles, dimensions, 0, 32, 2, Hutchinson(), FixedStep(steps=STEPS))
        net = flow.layers[0].velocity.net
        assert isinstance(net, EGNN)
        x = without_mean(torch.randn(BATCH, particles, dimensions))
        signs = rademacher(x)
        constant = 0.5 * (particles - 1) * dimensions * torch.log(torch.tensor(2 * torch.pi))
        seeded = torch.Generator().manual_seed(1)
        same = rademacher(x.flatten(1), torch.Generator().manual_seed(1)).reshape(x.shape)
        ours = flow.loss(x, generator=seeded) - constant
        for pairs in (False, True):
            theirs = looped_loss(net, x.clone(), same, pairs)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        optimizer = torch.optim.Adam(flow.parameters(), 1e-9)

        def step(loss: Callable[[], Tensor], optimizer: torch.optim.Adam = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()

        contestants = [("gentoolkit", lambda flow=flow, x=x, step=step: step(lambda: flow.loss(x)))]
        for title, pairs in (("loop over particles", False), ("loop over pairs", True)):

            def rival(
                net: EGNN = net,
                x: Tensor = x,
                signs: Tensor = signs,
                pairs: bool = pairs,
                step: Callable[[Callable[[], Tensor]], None] = step,
            ) -> None:
                step(lambda: looped_loss(net, x.clone(), signs, pairs))

            contestants.append((title, rival))
        found.append(Race(f"E(n) flow, {name}, training step", contestants, rounds=5))
    return found
