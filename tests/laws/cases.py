"""What the shared suite runs on: one entry a step, density or chain.

A new step joins by one entry in STEPS: a name, and a function of dtype that makes the step *from
perturbed parameters* and a batch of states on its source side. A new density joins DENSITIES, a
new model joins MODELS.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from gentoolkit import (
    Bernoulli,
    Bijection,
    Categorical,
    Chain,
    Density,
    FunctionKernel,
    Gaussian,
    Step,
    standard_normal,
)
from gentoolkit.core.chain import Target
from gentoolkit.diffusion import (
    DDPM,
    Denoiser,
    LearnedVariance,
    LinearBeta,
    LogSnrLinear,
    PredictsVelocity,
    ProbabilityFlowMap,
)
from gentoolkit.flows import (
    ActNorm,
    AffineAutoregressive,
    AffineCoupling,
    ContinuousFlow,
    GaussianTwist,
    InverseAutoregressive,
    Inverted,
    InvertibleConv1x1,
    Layer,
    LeakySoftplus,
    LipschitzMLP,
    LULinear,
    Part,
    Permute,
    Planar,
    Radial,
    Residual,
    SelfNormal,
    SplineAutoregressive,
    SplineCoupling,
    Squeeze,
    Velocity,
    iaf,
    maf,
    real_nvp,
    residual_flow,
    self_normalizing_flow,
    spline_flow,
)
from gentoolkit.gflownet import Build, GFlowNet, Hypergrid, Policy, Space
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
from gentoolkit.nets import TimeMLP
from gentoolkit.numerics import FixedStep
from gentoolkit.stochastic import (
    HMC,
    MALA,
    DiffusionLayer,
    Geometric,
    Langevin,
    Leapfrog,
    Refresh,
    StochasticFlow,
    TrainedLangevin,
    VAELayer,
    annealed,
    even_schedule,
)
from gentoolkit.stochastic import Metropolis as RandomWalk
from gentoolkit.targets import DoubleWell, Funnel, GaussianMixture, eight_gaussians
from gentoolkit.vi import VAE, HierarchicalVAE
from tests.flows.truth import perturbed
from tests.laws.examples import Affine, Flattened, Metropolis, Sinh, linear_gaussian, lopsided


def discrete(dtype: torch.dtype) -> FunctionKernel:
    """A table each way: 4 states -> 5 states."""
    torch.manual_seed(2)
    f, b = torch.randn(4, 5, dtype=dtype), torch.randn(5, 4, dtype=dtype)
    return FunctionKernel(lambda x: Categorical(f[x]), lambda y: Categorical(b[y]))


def pixels(dtype: torch.dtype) -> FunctionKernel:
    """A latent point decoded to six black or white pixels."""
    torch.manual_seed(3)
    f, b = torch.randn(6, 2, dtype=dtype), torch.randn(2, 6, dtype=dtype)
    return FunctionKernel(lambda x: Bernoulli(x @ f.T), lambda y: Gaussian(y @ b.T, 0.5))


def affine(dtype: torch.dtype) -> Affine:
    torch.manual_seed(4)
    return Affine(torch.randn(3, 3, dtype=dtype), torch.randn(3, dtype=dtype))


def self_normal(dtype: torch.dtype) -> SelfNormal:
    """A dense layer whose R is far from the inverse: the exact account must not feel it."""
    torch.manual_seed(5)
    weight = torch.eye(3, dtype=dtype) + 0.3 * torch.randn(3, 3, dtype=dtype)
    return SelfNormal(weight, torch.eye(3, dtype=dtype))


def denoising(dtype: torch.dtype) -> Step:
    """The middle one of five denoising steps, with a trained variance."""
    torch.manual_seed(7)
    variance = LearnedVariance(TimeMLP(2, 2, (8,)))
    model = DDPM(TimeMLP(2, 2, (8,)), (2,), LinearBeta(), 5, variance=variance).to(dtype)
    return model.chain().steps[2]


def probability_flow(dtype: torch.dtype) -> ProbabilityFlowMap:
    """A piece of the ODE of an untrained net, in steps so small that the round trip closes."""
    torch.manual_seed(8)
    net, schedule = perturbed(TimeMLP(2, 2, (8,))).to(dtype), LogSnrLinear(2.0, -2.0)
    times = torch.linspace(0.5, 0.48, 41, dtype=torch.float64)
    return ProbabilityFlowMap(Denoiser(net, schedule, PredictsVelocity()), times)


def leap(law: Callable[[Table], StepLaw], dtype: torch.dtype) -> Step:
    """One leap of two tokens of three kinds, under asymmetric noise and random data."""
    torch.manual_seed(9)
    q = torch.tensor([[-1.1, 0.8, 0.3], [0.2, -0.7, 0.5], [1.2, 0.6, -1.8]], dtype=torch.float64)
    probs = torch.randn(9, dtype=dtype).softmax(0).reshape(3, 3)
    table = Table(Process(Custom(q), Linear(0.2, 3.0)), probs)
    times = torch.tensor([0.7, 0.6], dtype=torch.float64)
    return grid_chain(table.process, law(table), times, 2, dtype=dtype).steps[0]


def autoencoder(dtype: torch.dtype) -> VAELayer:
    """A linear decoder 2 -> 3 and an encoder that is not its reversal."""
    torch.manual_seed(10)
    decoder, encoder = (nn.Linear(a, b, dtype=dtype) for a, b in ((2, 3), (3, 2)))
    return VAELayer(lambda x: Gaussian(decoder(x), 0.5), lambda y: Gaussian(encoder(y), 0.7))


def diffusing(dtype: torch.dtype) -> DiffusionLayer:
    """A drift and a score that know nothing of each other."""
    torch.manual_seed(11)
    drift, score = (nn.Linear(2, 2, dtype=dtype) for _ in range(2))
    return DiffusionLayer(drift, score, 0.2, 0.9)


def correction(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A correction of states or of extended states."""
    torch.manual_seed(12)
    net = nn.Linear(4, 2, dtype=dtype)
    return lambda s: net(s.flatten(1) if s.ndim > 2 else torch.cat([s, s.square()], 1))


def build(dtype: torch.dtype) -> Build:
    """The third move on a small grid: moves, stops, and rests of paths that have stopped."""
    torch.manual_seed(10)
    space = Space(Hypergrid(3, 2))
    policy = perturbed(Policy(space, (8,), learn_pull=True)).to(dtype)
    return Build(GFlowNet(space, lambda x: x.sum(1).to(dtype), policy).to(dtype), 2)


STEPS: dict[str, Callable[[torch.dtype], tuple[Step, Tensor]]] = {
    "gaussian kernel": lambda d: (linear_gaussian(d), torch.randn(16, 2, dtype=d)),
    "categorical kernel": lambda d: (discrete(d), torch.randint(4, (16,))),
    "bernoulli kernel": lambda d: (pixels(d), torch.randn(16, 2, dtype=d)),
    "affine bijection": lambda d: (affine(d), torch.randn(16, 3, dtype=d)),
    "sinh bijection": lambda d: (Sinh(), torch.randn(16, 2, dtype=d)),
    "metropolis": lambda d: (Metropolis(eight_gaussians(dtype=d)), torch.randn(16, 2, dtype=d)),
    "random walk": lambda d: (
        RandomWalk(eight_gaussians(dtype=d), 0.5, 3),
        torch.randn(16, 2, dtype=d),
    ),
    "mala": lambda d: (MALA(eight_gaussians(dtype=d), 0.05, 2), torch.randn(16, 2, dtype=d)),
    "hmc": lambda d: (HMC(eight_gaussians(dtype=d), 0.1, 3), torch.randn(16, 2, dtype=d)),
    "langevin": lambda d: (Langevin(eight_gaussians(dtype=d), 0.02), torch.randn(16, 2, dtype=d)),
    "corrected langevin": lambda d: (
        Langevin(eight_gaussians(dtype=d), 0.02, correction(d)),
        torch.randn(16, 2, dtype=d),
    ),
    "trained langevin": lambda d: (
        TrainedLangevin(eight_gaussians(dtype=d), 0.02).to(d),
        torch.randn(16, 2, dtype=d),
    ),
    "leapfrog": lambda d: (
        Leapfrog(eight_gaussians(dtype=d), 0.05, 3),
        torch.randn(16, 2, 2, dtype=d),
    ),
    "refresh": lambda d: (Refresh(0.8), torch.randn(16, 2, 2, dtype=d)),
    "corrected refresh": lambda d: (Refresh(0.8, correction(d)), torch.randn(16, 2, 2, dtype=d)),
    "vae layer": lambda d: (autoencoder(d), torch.randn(16, 2, dtype=d)),
    "diffusion layer": lambda d: (diffusing(d), torch.randn(16, 2, dtype=d)),
    "self-normal layer": lambda d: (self_normal(d), torch.randn(16, 3, dtype=d)),
    "gaussian twist": lambda d: (GaussianTwist(4.0), torch.randn(16, 3, dtype=d)),
    "probability flow": lambda d: (probability_flow(d), torch.randn(16, 2, dtype=d)),
    "denoising kernel": lambda d: (denoising(d), torch.randn(16, 2, dtype=d)),
    "euler leap": lambda d: (leap(lambda e: Euler(e.rates), d), torch.randint(3, (16, 2))),
    "tau leap": lambda d: (leap(lambda e: TauLeaping(e.rates), d), torch.randint(3, (16, 2))),
    # Two moves from the source of nine states, or stopped there, or stopped earlier.
    "gflownet move": lambda d: (build(d), torch.tensor([3, 4, 5, 3 + 9, 9, 10, 4, 5])),
    "analytic leap": lambda d: (
        leap(lambda e: Analytic(e.process, e.data_unseen), d),
        torch.randint(3, (16, 2)),
    ),
}

BIJECTIONS: dict[str, Callable[[], tuple[Bijection, Tensor]]] = {
    "affine": lambda: (affine(torch.float64), torch.randn(6, 3)),
    "leapfrog": lambda: (Leapfrog(eight_gaussians(), 0.05, 3), torch.randn(6, 2, 2)),
    "sinh": lambda: (Sinh(), torch.randn(6, 2)),
    "self-normal layer": lambda: (self_normal(torch.float64), torch.randn(6, 3)),
    "gaussian twist": lambda: (GaussianTwist(4.0), torch.randn(6, 3)),
    "probability flow": lambda: (probability_flow(torch.float64), torch.randn(6, 2)),
}


def _layer(make: Callable[[], Layer], dtype: torch.dtype) -> Layer:
    torch.manual_seed(6)
    return perturbed(make()).to(dtype)


LAYERS: dict[str, tuple[Callable[[], Layer], int]] = {
    "permutation": (lambda: Permute.shuffle(5), 5),
    "lu linear": (lambda: LULinear(3), 3),
    "1x1 convolution": (lambda: InvertibleConv1x1(2, 3), 6),
    "act-norm": (lambda: ActNorm(3), 3),
    "planar": (lambda: Planar(3), 3),
    "radial": (lambda: Radial(3), 3),
    "leaky softplus": (lambda: LeakySoftplus(3), 3),
    "affine coupling": (lambda: AffineCoupling(3, hidden=(8,)), 3),
    "spline coupling": (lambda: SplineCoupling(3, hidden=(8,)), 3),
    "scattered coupling": (lambda: AffineCoupling(4, keep=[0, 2], hidden=(8,)), 4),
    "part": (lambda: Part([AffineCoupling(2, hidden=(8,)), LULinear(2)], 4, 2), 4),
    "squeeze": (lambda: Squeeze(1, 2, 4), 8),
    "affine autoregressive": (lambda: AffineAutoregressive(3, (8,), order=(2, 0, 1)), 3),
    "spline autoregressive": (lambda: SplineAutoregressive(3, hidden=(8,)), 3),
    "inverse autoregressive": (lambda: InverseAutoregressive(AffineAutoregressive(3, (8,))), 3),
    "residual": (lambda: Residual(LipschitzMLP(3, (8,))), 3),
    "residual turned round": (lambda: Inverted(Residual(LipschitzMLP(3, (8,)))), 3),
    "continuous": (lambda: ContinuousFlow(Velocity(2, (8,)), solver=FixedStep(steps=100)), 2),
}
for _name, (_make, _width) in LAYERS.items():
    STEPS[_name] = lambda d, make=_make, n=_width: (_layer(make, d), torch.randn(16, n, dtype=d))
    BIJECTIONS[_name] = lambda make=_make, n=_width: (
        _layer(make, torch.float64),
        torch.randn(6, n),
    )


@dataclass(frozen=True)
class Normalised:
    """A target divided by its own normaliser: what must integrate to one."""

    target: GaussianMixture | Funnel | DoubleWell

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw exact samples."""
        return self.target.sample(n, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log_prob - log_z."""
        return self.target.log_prob(x) - self.target.log_z


DENSITIES: dict[str, Callable[[], Density]] = {
    "standard normal": lambda: standard_normal(3),
    "gaussian": lambda: Gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.3, 2.0]])),
    "eight gaussians": lambda: Normalised(eight_gaussians()),
    "lopsided mixture": lambda: Normalised(lopsided()),
    "funnel": lambda: Normalised(Funnel(3, 1.5)),
    "double well": lambda: Normalised(DoubleWell(2, 3.0)),
}


@dataclass(frozen=True)
class Journey:
    """A chain towards a target of known normaliser, with exact samples of that target."""

    chain: Chain
    target: GaussianMixture


def bump() -> GaussianMixture:
    """One Gaussian bump of deviation 0.8 around (1, -1), with log Z = 1.7."""
    return GaussianMixture(
        torch.tensor([[1.0, -1.0]]), torch.tensor([0.8]), torch.ones(1), log_z=1.7
    )


def _noise_and_back(spread: float) -> Chain:
    """Pull: shrink to 0.6 y and add noise 0.7. Push: its exact reversal, but `spread` too wide.

    The middle is N(0.6 mu, s^2) with s^2 = 0.36 * 0.64 + 0.49, and the exact reversal has gain
    0.6 * 0.64 / s^2 and variance 0.64 * 0.49 / s^2.
    """
    mean, s2 = torch.tensor([[1.0, -1.0]]), 0.36 * 0.64 + 0.49
    gain, std = 0.6 * 0.64 / s2, (0.64 * 0.49 / s2) ** 0.5
    kernel = FunctionKernel(
        lambda x: Gaussian(mean + gain * (x - 0.6 * mean), spread * std),
        lambda y: Gaussian(0.6 * y, 0.7),
    )
    return Chain(Gaussian(0.6 * mean, spread * s2**0.5), [kernel])


def _mixed(target: GaussianMixture) -> Chain:
    """Every kind of step in one chain; the move keeps a density that is not the target."""
    stretch = Affine(torch.tensor([[1.5, 0.2], [-0.1, 1.2]]), torch.tensor([0.1, 0.0]))
    blur = FunctionKernel(lambda x: Gaussian(0.9 * x, 0.8), lambda y: Gaussian(0.8 * y, 0.9))
    return Chain(standard_normal(2), [stretch, blur, Metropolis(Flattened(target), 0.4)])


def _annealing(target: GaussianMixture, move: Callable[[Target], Step]) -> Chain:
    path = Geometric(Gaussian(torch.zeros(1, 2), 2.5), target)
    return annealed(path, even_schedule(6), move)


def stochastic_flow() -> StochasticFlow:
    """Couplings between Langevin steps, towards three bumps."""
    target = lopsided()
    torch.manual_seed(13)
    layers = [
        AffineCoupling(2, (0,), (8,)),
        TrainedLangevin(target, 0.02),
        AffineCoupling(2, (1,), (8,)),
        TrainedLangevin(target, 0.03),
    ]
    return StochasticFlow(standard_normal(2), layers, target)


# A mean of weights has a finite variance only where the law that is drawn has the heavier tails:
# pushes are a little too wide for E[w], and a little too narrow for E_pull[1/w].
JOURNEYS: dict[str, Callable[[], Journey]] = {
    "empty": lambda: Journey(Chain(Gaussian(torch.zeros(1, 2), 2.5)), lopsided()),
    "kernel": lambda: Journey(_noise_and_back(1.15), bump()),
    "mixed": lambda: Journey(_mixed(lopsided()), lopsided()),
    "annealed langevin": lambda: Journey(
        _annealing(lopsided(), lambda g: Langevin(g, 0.02)), lopsided()
    ),
    "annealed mala": lambda: Journey(_annealing(lopsided(), lambda g: MALA(g, 0.1)), lopsided()),
    "annealed hmc": lambda: Journey(_annealing(lopsided(), lambda g: HMC(g, 0.2)), lopsided()),
}
PULLED_JOURNEYS: dict[str, Callable[[], Journey]] = {
    "kernel": lambda: Journey(_noise_and_back(0.85), bump()),
    "move": lambda: Journey(
        Chain(
            _noise_and_back(0.85).source,
            [*_noise_and_back(0.85).steps, Metropolis(Flattened(bump()), 0.4)],
        ),
        bump(),
    ),
}


def _perturbed(model: nn.Module, scale: float = 0.1) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn_like(parameter)
    return model


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "vae": lambda: (_perturbed(VAE(6, 2, hidden=(8,))), torch.randint(2, (7, 6)).double()),
    "hierarchical vae": lambda: (
        _perturbed(HierarchicalVAE(6, (3, 2), hidden=(8,))),
        torch.randint(2, (7, 6)).double(),
    ),
    "maf": lambda: (_perturbed(maf(3, 2, (8,))), torch.randn(7, 3)),
    "iaf": lambda: (_perturbed(iaf(3, 2, (8,))), torch.randn(7, 3)),
    "residual flow": lambda: (_perturbed(residual_flow(3, 2, (8,))), torch.randn(7, 3)),
    "self-normalizing flow": lambda: (_perturbed(self_normalizing_flow(4, 2)), torch.randn(7, 4)),
    "real nvp": (lambda: (perturbed(real_nvp(3, 2, (8,)), 0.3), torch.randn(7, 3))),
    "spline flow": (lambda: (perturbed(spline_flow(3, 2, hidden=(8,)), 0.3), torch.randn(7, 3))),
    "stochastic flow": lambda: (_perturbed(stochastic_flow()), torch.randn(7, 2)),
    "ddpm": lambda: (
        _perturbed(DDPM(TimeMLP(2, 2, (8,)), (2,), LinearBeta(), 5)),
        torch.randn(7, 2),
    ),
    "d3pm": lambda: (
        _perturbed(D3PM(Denoising(TokenMLP(3, 2, (8,)), Process(Uniform(3), end=3.0), 2), 4)),
        torch.randint(3, (7, 2)),
    ),
    "d3pm of masks": lambda: (
        _perturbed(
            D3PM(MaskedDiffusion(TokenMLP(3, 2, (8,)), Process(Absorbing(3), Masking()), 2), 4)
        ),
        torch.randint(2, (7, 2)),
    ),
}
