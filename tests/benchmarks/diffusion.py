"""Diffusion against diffusers and smalldiffusion: cost of a sampler's loop, of a training step.

A net that costs nothing leaves the loop alone; training has equal nets, data and optimiser in all
contestants. Then how far our samplers end from those of diffusers on the same noise.

smalldiffusion asks for torchvision, whose ordinary wheel fits torch's ordinary one alone: it is no
part of the extra, and runs along where it is installed (`pip install --no-deps smalldiffusion` and
einops). Only its module of image data uses torchvision, so a stand-in is enough to load it.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import repeat
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from accelerate import Accelerator
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gentoolkit.data import digits, two_moons
from gentoolkit.diffusion import (
    DDIM,
    DDPM,
    Betas,
    Denoiser,
    DPMSolverPlusPlus2M,
    PredictsNoise,
    Sampler,
    UNet,
    ancestral,
    sub_grid,
)
from gentoolkit.nets import TimeMLP
from gentoolkit.train import fit
from tests.benchmarks.timing import Race

T, STEPS, BATCH, RATE = 1000, 100, 64, 1e-3
SHAPES = {"64 x 2": (BATCH, 2), "64 x 1 x 8 x 8": (BATCH, 1, 8, 8)}
SCHEDULE = Betas.linear(T)
Scheduler = Any  # the schedulers' own annotations refuse the tensors that their pages pass
Net = Callable[[Tensor, Tensor], Tensor]
Call = Callable[[], object]

COMMON = {
    "num_train_timesteps": T,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}
PLAIN = {**COMMON, "clip_sample": False}


@cache
def smalldiffusion() -> ModuleType | None:
    """The library, or None where it is not installed."""
    stand_in = MagicMock()
    absent = {"torchvision": stand_in, "torchvision.transforms": stand_in.transforms}
    absent = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        return import_module("smalldiffusion")
    except ImportError:
        return None
    finally:
        for name in absent:  # others ask whether it is there
            del sys.modules[name]


def _ddpm(wide: bool = False) -> Scheduler:
    return DDPMScheduler(**PLAIN, variance_type="fixed_large" if wide else "fixed_small")


def _ddim() -> Scheduler:
    return DDIMScheduler(**PLAIN, set_alpha_to_one=True, timestep_spacing="trailing")


def _dpm() -> Scheduler:
    return DPMSolverMultistepScheduler(
        **COMMON,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        final_sigmas_type="zero",
    )


def theirs(
    scheduler: Scheduler, net: Net, x: Tensor, generator: torch.Generator | None, eta: float | None
) -> Tensor:
    """The loop that diffusers' pages show; the times must have been set."""
    extra = {} if eta is None else {"eta": eta}
    with torch.no_grad():
        for t in scheduler.timesteps:
            time = x.new_full((len(x),), (float(t) + 1.0) / T)
            x = scheduler.step(net(x, time), t, x, generator=generator, **extra).prev_sample
    return x


Job = tuple[str, Sampler, Callable[[], Scheduler], float | None, float | None]
# Our sampler, theirs with its eta, and smalldiffusion's mu.
JOBS: tuple[Job, ...] = (
    ("DDPM", ancestral(), _ddpm, None, 0.5),
    ("DDIM", DDIM(), _ddim, 0.0, 0.0),
    ("DDIM, eta = 1", DDIM(1.0), _ddim, 1.0, None),
    ("DPM-Solver++(2M)", DPMSolverPlusPlus2M(), _dpm, None, None),
)


def _loop(job: Job, shape: tuple[int, ...]) -> Race:
    name, sampler, scheduler, eta, mu = job
    x, z = torch.randn(shape), torch.zeros(shape)

    def free(x: Tensor, t: Tensor) -> Tensor:
        return z

    denoiser = Denoiser(free, SCHEDULE, PredictsNoise())

    def ours():
        return sampler.sample(denoiser, x, sub_grid(STEPS, T))

    peer = scheduler()

    def loop():
        peer.set_timesteps(STEPS)
        return theirs(peer, free, x, None, eta)

    contestants: list[tuple[str, Call]] = [("gentoolkit", ours), ("diffusers", loop)]
    library = smalldiffusion()
    if library is not None and mu is not None:
        contestants.append(("smalldiffusion", _small_loop(library, x, mu)))
    size = " x ".join(map(str, shape))
    return Race(f"{name}, {STEPS} steps, {size}", contestants, 25, 0.05)


def _small_loop(library: ModuleType, x: Tensor, mu: float) -> Call:
    zeros = torch.zeros_like(x)

    class Free(nn.Module, library.ModelMixin):
        input_dims = tuple(x.shape[1:])

        def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
            return zeros

    model, accelerator = Free(), Accelerator(cpu=True)
    sigmas = library.ScheduleDDPM(T).sample_sigmas(STEPS)

    def call():
        *_, end = library.samples(model, sigmas, mu=mu, xt=x, accelerator=accelerator)
        return end

    return call


def _mlp() -> nn.Module:
    torch.manual_seed(0)
    return TimeMLP(2, 2, (64, 64))


def _unet() -> nn.Module:
    torch.manual_seed(0)
    return UNet(1, 32)


def _adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), RATE)


def _step(net: nn.Module, loss: Callable[[], Tensor]) -> Call:
    optimizer = _adam(net)

    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return step


def _next(steps: Iterator[object]) -> Call:
    return lambda: next(steps)


def _training(title: str, build: Callable[[], nn.Module], x: Tensor) -> Race:
    event = tuple(x.shape[1:])
    ours = DDPM(build(), event, SCHEDULE, T)
    whole = DDPM(build(), event, SCHEDULE, T)
    peer, alone = build(), build()
    scheduler = _ddpm()

    def added() -> Tensor:
        noise = torch.randn_like(x)
        t = torch.randint(T, (len(x),))
        return mse_loss(peer(scheduler.add_noise(x, noise, t), (t + 1) / T), noise)

    time = torch.rand(len(x))
    loop = fit(whole, repeat(x), optimizer=_adam(whole), progress=False)
    contestants: list[tuple[str, Call]] = [
        ("gentoolkit", _step(ours, lambda: ours.loss(x))),
        ("gentoolkit, fit", _next(loop)),
        ("diffusers add_noise + mse", _step(peer, added)),
    ]
    library = smalldiffusion()
    if library is not None:
        contestants.append(("smalldiffusion", _small_training(library, build(), x)))
    contestants.append(("net and optimiser alone", _step(alone, lambda: alone(x, time).mean())))
    return Race(title, contestants, 25, 0.1)


def _small_training(library: ModuleType, net: nn.Module, x: Tensor) -> Call:
    class Wrapped(nn.Module, library.ModelMixin):
        input_dims = tuple(x.shape[1:])

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
            # Its levels are noise over signal; the net is given a state of unit scale and a time.
            scale = (1.0 + sigma.square()).rsqrt()
            return self.net(x * scale, scale.flatten())

    # One long epoch: its bar would be redrawn at each.
    loop = library.training_loop(
        [x] * 100_000, Wrapped(), library.ScheduleDDPM(T), Accelerator(cpu=True), 1, RATE
    )
    return _next(loop)


def races() -> list[Race]:
    """Loops of every sampler at two shapes; training steps of two nets."""
    torch.manual_seed(0)
    images = (2.0 * digits(binary=False).train[:128] - 1.0).reshape(-1, 1, 8, 8)
    return [
        *(_loop(job, shape) for shape in SHAPES.values() for job in JOBS),
        _training("training step, MLP 2 x 64, 128 x 2", _mlp, two_moons(128)),
        _training("training step, U-Net, 128 x 1 x 8 x 8", _unet, images),
    ]


def _net(x: Tensor, t: Tensor) -> Tensor:
    """Something smooth that depends on state and time."""
    return torch.tanh(1.3 * x + 0.7) * (0.5 + 0.5 * t.to(x.dtype)[:, None])


def _lifted(scheduler: Scheduler, dtype: torch.dtype) -> Scheduler:
    """Give their tables, which are float32, our precision."""
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64).to(dtype)
    scheduler.betas, scheduler.alphas = betas, 1.0 - betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    one = torch.ones((), dtype=dtype)
    if isinstance(scheduler, DPMSolverMultistepScheduler):
        signal, noise = scheduler.alphas_cumprod.sqrt(), (1.0 - scheduler.alphas_cumprod).sqrt()
        sigmas = (noise / signal)[scheduler.timesteps]
        scheduler.sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])
    elif isinstance(scheduler, DDIMScheduler):
        scheduler.final_alpha_cumprod = one
    else:
        scheduler.one = one
    return scheduler


def distance(
    sampler: Sampler,
    scheduler: Scheduler,
    steps: int,
    eta: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> float:
    """Largest difference of the ends on the same noise, relative to the largest end."""
    x = torch.randn(BATCH, 2, dtype=dtype, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(steps)
    peer = _lifted(scheduler, dtype)
    there = theirs(peer, _net, x, torch.Generator().manual_seed(1), eta)
    times = torch.cat([(peer.timesteps.double() + 1.0) / T, torch.zeros(1, dtype=torch.float64)])
    generator = torch.Generator().manual_seed(1)
    denoiser = Denoiser(_net, SCHEDULE, PredictsNoise())
    here = sampler.sample(denoiser, x, times, generator)
    return float((here - there).abs().max() / there.abs().max())


def agreement() -> list[list[str]]:
    """A row a sampler: steps, and the distance in float64 and in float32.

    diffusers' DPM-Solver++ rounds its states to float32 at every step, whatever it is given.
    """
    pairs: list[tuple[str, Sampler, Callable[[], Scheduler], int, float | None]] = [
        ("DDPM, posterior's variance", ancestral(), _ddpm, T, None),
        ("DDPM, noising variance", ancestral(wide=True), lambda: _ddpm(wide=True), T, None),
        *((f"DDIM, eta = {eta:g}", DDIM(eta), _ddim, 50, eta) for eta in (0.0, 0.5, 1.0)),
        *(("DPM-Solver++(2M)", DPMSolverPlusPlus2M(), _dpm, steps, None) for steps in (10, 20, 50)),
    ]
    return [
        [name, str(steps)]
        + [f"{distance(s, make(), steps, eta, d):.1e}" for d in (torch.float64, torch.float32)]
        for name, s, make, steps, eta in pairs
    ]
