"""What the shared laws run on: leaps and models of tokens."""

from collections.abc import Callable

import torch

from gentoolkit import Step
from gentoolkit.jumps import (
    D3PM,
    Denoising,
    Euler,
    HollowMLP,
    HollowTransformer,
    MaskedDiffusion,
    RatioMatching,
    Table,
    TauLeaping,
    TokenMixer,
    TokenMLP,
    grid_chain,
)
from gentoolkit.jumps.leaping import StepLaw
from gentoolkit.processes import (
    AbsorbingRates,
    DenseRates,
    JumpProcess,
    LinearRate,
    LogLinearRate,
    OrdinalRates,
    UniformRates,
)
from tests.laws.kinds import Conditionals, Models, Steps, perturbed

Q = torch.tensor([[-1.1, 0.8, 0.3], [0.2, -0.7, 0.5], [1.2, 0.6, -1.8]], dtype=torch.float64)


def leap(law: Callable[[Table], StepLaw], dtype: torch.dtype) -> Step:
    """One leap of two tokens of three kinds, under asymmetric noise and random data."""
    torch.manual_seed(9)
    probs = torch.randn(9, dtype=dtype).softmax(0).reshape(3, 3)
    table = Table(JumpProcess(DenseRates(Q), LinearRate(0.2, 3.0)), probs)
    times = torch.tensor([0.7, 0.6], dtype=torch.float64)
    return grid_chain(table.process, law(table), times, 2, dtype=dtype).steps[0]


STEPS: Steps = {
    "euler leap": lambda d: (leap(lambda e: Euler(e.rates), d), torch.randint(3, (16, 2))),
    "tau leap": lambda d: (leap(lambda e: TauLeaping(e.rates), d), torch.randint(3, (16, 2))),
    "analytic leap": lambda d: (leap(lambda e: e.transition, d), torch.randint(3, (16, 2))),
}


def masked() -> MaskedDiffusion:
    """Two tokens and a mask."""
    process = JumpProcess(AbsorbingRates(3), LogLinearRate())
    return MaskedDiffusion(TokenMixer(3, 2, 8, 9, 1), process, 2)


def data() -> torch.Tensor:
    """Two tokens of three in seven rows."""
    return torch.randint(3, (7, 2))


MODELS: Models = {
    "d3pm": lambda: (
        perturbed(
            D3PM(Denoising(TokenMLP(3, 2, (8,)), JumpProcess(UniformRates(3), end=3.0), 2), 4)
        ),
        data(),
    ),
    "d3pm of masks": lambda: (perturbed(D3PM(masked(), 4)), torch.randint(2, (7, 2))),
    "denoising": lambda: (
        perturbed(
            Denoising(TokenMixer(3, 2, 8, 9, 1), JumpProcess(DenseRates(Q), LinearRate(), 1.0), 2)
        ),
        data(),
    ),
    "ratio matching": lambda: (
        perturbed(RatioMatching(HollowMLP(3, 2, (8,)), JumpProcess(OrdinalRates(3), end=5.0), 2)),
        data(),
    ),
    "ratio matching by attention": lambda: (
        perturbed(
            RatioMatching(HollowTransformer(3, 2, 8, 2, 1), JumpProcess(DenseRates(Q), end=5.0), 2)
        ),
        data(),
    ),
}
CONDITIONALS: Conditionals = {
    # One or the other of two tokens is known; 2 is the mask.
    "masked diffusion": lambda: (
        perturbed(masked()),
        torch.tensor([[0, 1]]).expand(6, 2),
        torch.tensor([[0, 2], [0, 2], [0, 2], [2, 1], [2, 1], [2, 1]]),
    ),
}
