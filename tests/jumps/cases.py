"""What the shared laws run on: leaps and models of tokens."""

from collections.abc import Callable

import torch

from gentoolkit import Step
from gentoolkit.jumps import (
    D3PM,
    Absorbing,
    Analytic,
    Custom,
    Denoising,
    Euler,
    Linear,
    MaskedDiffusion,
    Masking,
    Process,
    StepLaw,
    Table,
    TauLeaping,
    TokenMLP,
    Uniform,
    grid_chain,
)
from tests.laws.kinds import Models, Steps, perturbed


def leap(law: Callable[[Table], StepLaw], dtype: torch.dtype) -> Step:
    """One leap of two tokens of three kinds, under asymmetric noise and random data."""
    torch.manual_seed(9)
    q = torch.tensor([[-1.1, 0.8, 0.3], [0.2, -0.7, 0.5], [1.2, 0.6, -1.8]], dtype=torch.float64)
    probs = torch.randn(9, dtype=dtype).softmax(0).reshape(3, 3)
    table = Table(Process(Custom(q), Linear(0.2, 3.0)), probs)
    times = torch.tensor([0.7, 0.6], dtype=torch.float64)
    return grid_chain(table.process, law(table), times, 2, dtype=dtype).steps[0]


STEPS: Steps = {
    "euler leap": lambda d: (leap(lambda e: Euler(e.rates), d), torch.randint(3, (16, 2))),
    "tau leap": lambda d: (leap(lambda e: TauLeaping(e.rates), d), torch.randint(3, (16, 2))),
    # Two moves from the source of nine states, or stopped there, or stopped earlier.
    "analytic leap": lambda d: (
        leap(lambda e: Analytic(e.process, e.data_unseen), d),
        torch.randint(3, (16, 2)),
    ),
}

MODELS: Models = {
    "d3pm": lambda: (
        perturbed(D3PM(Denoising(TokenMLP(3, 2, (8,)), Process(Uniform(3), end=3.0), 2), 4)),
        torch.randint(3, (7, 2)),
    ),
    "d3pm of masks": lambda: (
        perturbed(
            D3PM(MaskedDiffusion(TokenMLP(3, 2, (8,)), Process(Absorbing(3), Masking()), 2), 4)
        ),
        torch.randint(2, (7, 2)),
    ),
}
