"""The short form of the claim of S26: trainings side by side are trainings alone."""

import torch
from torch import nn

from gentoolkit.adversarial import domain_critics
from gentoolkit.flows import AlignFlow
from gentoolkit.train import Player, fit
from tests.claims.s26_alignflow import FLOWS, RIVAL, race, score
from tools.train_domains import BETAS, RATE, Race, flows, plane_data, side_by_side


def test_side_by_side_is_alone():
    """Catches weights, data or critics that mix between trainings, and a part left out."""
    torch.set_default_dtype(torch.float64)
    arms = [*FLOWS.values(), FLOWS["hybrid"]]
    run = Race(arms, [0, 0, 0, 1], lambda: domain_critics(2))
    data = side_by_side([plane_data(seed, 200, 4) for seed in (0, 0, 0, 1)])
    for _ in fit(run, data, players=run.players(), progress=False):
        pass
    x = torch.randn(9, 2)
    for arm, pair, seed in zip(arms, run.pairs(), (0, 0, 0, 1), strict=True):
        torch.manual_seed(seed)
        alone, critics = flows(), domain_critics(2)

        def loss(batch, alone=alone, critics=critics, arm=arm):
            return arm.fool * critics.fool(alone, batch) + arm.beside * alone.loss(batch)

        players = [
            Player(
                lambda batch, alone=alone, critics=critics: critics.loss(alone, batch),
                torch.optim.Adam(critics.parameters(), RATE, BETAS),
            ),
            Player(loss, torch.optim.Adam(alone.parameters(), RATE, BETAS)),
        ]
        both = nn.ModuleList([alone, critics])
        for _ in fit(both, plane_data(seed, 200, 4), players=players, progress=False):
            pass
        torch.testing.assert_close(pair.to_b(x), alone.to_b(x), rtol=0, atol=1e-6)


def test_an_untrained_pair_is_scored_as_the_identity():
    """Catches an error against another partner, and a cycle that is scored one way only."""
    start = score(flows(), 0)
    assert start.cycle < 1e-12 and 0.3 < start.error < 3.0 and start.nll is not None
    ((few,),) = race([RIVAL], (3,), seeds=(0,))
    assert few[0].nll is None and not isinstance(RIVAL.make(), AlignFlow)
