"""What the shared laws run on: steps and models of diffusion."""

import torch

from gentoolkit import Step
from gentoolkit.diffusion import (
    DDPM,
    Betas,
    Denoiser,
    GivenVariance,
    LearnedVariance,
    LinearBeta,
    LogSnrLinear,
    PredictsVelocity,
    ProbabilityFlowMap,
    UNet,
)
from gentoolkit.nets import TimeMLP
from tests.laws.kinds import Bijections, Conditionals, Models, Steps, perturbed


def denoising(dtype: torch.dtype) -> Step:
    """The middle one of five denoising steps, with a trained variance."""
    torch.manual_seed(7)
    variance = LearnedVariance(TimeMLP(2, 2, (8,)))
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), LinearBeta(), 5, variance=variance).to(dtype)
    return model.chain().steps[2]


def probability_flow(dtype: torch.dtype) -> ProbabilityFlowMap:
    """A piece of the ODE of an untrained net, in steps so small that the round trip closes."""
    torch.manual_seed(8)
    net, schedule = perturbed(TimeMLP(2, 2, (8,)), 0.3).to(dtype), LogSnrLinear(2.0, -2.0)
    times = torch.linspace(0.5, 0.48, 41, dtype=torch.float64)
    return ProbabilityFlowMap(Denoiser(net, schedule, PredictsVelocity()), times)


STEPS: Steps = {
    "probability flow": lambda d: (probability_flow(d), torch.randn(16, 2, dtype=d)),
    "denoising kernel": lambda d: (denoising(d), torch.randn(16, 2, dtype=d)),
}

BIJECTIONS: Bijections = {
    "probability flow": lambda: (probability_flow(torch.float64), torch.randn(6, 2)),
}

MODELS: Models = {
    "ddpm": lambda: (
        perturbed(DDPM(TimeMLP(2, 2, (8,)), (2,), LinearBeta(), 5)),
        torch.randn(7, 2),
    ),
    "ddpm that predicts the velocity": lambda: (
        perturbed(
            DDPM(
                TimeMLP(3, 3, (8,)),
                (3,),
                Betas.linear(20, 1e-3, 0.3),
                4,
                parametrisation=PredictsVelocity(),
                variance=GivenVariance(torch.tensor([0.1, 0.2, 0.3, 0.4])),
            )
        ),
        torch.randn(5, 3),
    ),
}

CONDITIONALS: Conditionals = {
    "ddpm of classes": lambda: (
        perturbed(DDPM(UNet(1, 8, classes=3), (1, 4, 4), LogSnrLinear(), 3)),
        torch.randn(5, 1, 4, 4),
        torch.arange(5) % 4,
    ),
}
