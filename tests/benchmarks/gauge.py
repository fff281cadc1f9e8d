"""A gauge coupling against a plain loop over its plaquettes, at equal sizes and equal numbers.

The loop is what one writes first: for each square, four products, the eigenangle, the spline, and
the link put back. It keeps the batch together, so all that it lacks is the lattice as one tensor.
"""

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.flows import GaugeCoupling
from gentoolkit.flows.gauge import STRIDE
from gentoolkit.numerics import haar
from tests.benchmarks.timing import Race

BATCH, SIDES, BINS = 64, (4, 8), 6


class Loop:
    """The layer's own net and spline, one plaquette at a time; direction 0, row 0 in four."""

    def __init__(self, layer: GaugeCoupling) -> None:
        self.layer, self.side = layer, layer.event_shape[1]

    def square(self, u: Tensor, i: int, j: int) -> tuple[Tensor, Tensor]:
        """Return the plaquette at a site and the three links after its first."""
        side = self.side
        staple = u[:, 1, (i + 1) % side, j] @ u[:, 0, i, (j + 1) % side].mH @ u[:, 1, i, j].mH
        return u[:, 0, i, j] @ staple, staple

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the field with its row moved, and log J."""
        side, strips = self.side, range(0, self.side, STRIDE)
        traces = torch.zeros(u.shape[0], 2, side, len(strips))
        for i in range(side):
            for s, j in enumerate(strips):
                for k in (1, 2):
                    square, _ = self.square(u, i, (j + k) % side)
                    trace = square[:, 0, 0] + square[:, 1, 1]
                    traces[:, k - 1, i, s] = trace.real / 2
        features = self.layer.net(traces)
        out, log_j = u.clone(), torch.zeros(u.shape[0])
        for i in range(side):
            for s, j in enumerate(strips):
                square, staple = self.square(u, i, j)
                moved, log = self.layer.angles.push(square, features[:, :, i, s])
                out[:, 0, i, j] = moved @ staple.mH
                log_j = log_j + log
        return out, log_j


def races() -> list[Race]:
    """Training step (forward and gradient) and a draw, on two lattices."""
    found = []
    for side in SIDES:
        torch.manual_seed(0)
        layer = GaugeCoupling(side, 2, 0, 0, BINS)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        loop, u = Loop(layer), haar(2, BATCH, 2, side, side)
        for ours, theirs in zip(layer.transform(u), loop(u), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)

        def train(call, layer=layer, u=u):  # noqa: ANN001, ANN202
            layer.zero_grad(set_to_none=True)
            with validate.unread():  # as inside a chain
                y, log_j = call(u)
            (y.real.square().sum() - log_j.sum()).backward()

        def draw(call, u=u):  # noqa: ANN001, ANN202
            with torch.no_grad(), validate.unread():
                call(u)

        for job, run in (("step", train), ("draw", draw)):
            row = [
                ("gentoolkit", lambda run=run, layer=layer: run(layer.transform)),
                ("loop", lambda run=run, loop=loop: run(loop)),
            ]
            title = f"gauge coupling, {side} x {side}, {job}"
            found.append(Race(title, row, rounds=15, seconds_a_turn=0.05))
    return found
