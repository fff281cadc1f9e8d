"""Moves towards a density against blackjax and normflows, and the price of a good log Z.

Times: a tempered population against blackjax's, and single layers against normflows'. Errors: log Z
of many runs at equal density evaluations. blackjax runs on JAX, which compiles once: that time is
given apart. It has no annealed importance sampling, and pyro has resampling for sequences alone,
so ours stands there without a twin.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from time import perf_counter
from types import ModuleType

import torch
from torch import Tensor

from gentoolkit import Chain, log_z, standard_normal
from gentoolkit.core.chain import Target, log_density
from gentoolkit.stochastic import (
    HMC,
    CorrectionMLP,
    GeometricPath,
    Langevin,
    Metropolis,
    MonteCarloDiffusion,
    annealed,
    even_schedule,
    smc,
)
from gentoolkit.train import fit
from tests.benchmarks.timing import Race
from tests.claims.s06_stochastic import LOG_Z, ring, stochastic, train

N, K, MOVES, WIDTH, RUNS, SPREAD = 1000, 16, 5, 0.5, 40, 3.0


def peer(name: str) -> ModuleType | None:
    """A library, or None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def missing() -> list[str]:
    """A sentence for each peer that is not here."""
    names = [n for n in ("blackjax", "normflows") if peer(n) is None]
    return [f"{n} is not installed and is left out: pip install {n}" for n in names]


@dataclass
class Counted:
    """A density that counts the rows it is asked for."""

    density: Target
    rows: int = field(default=0)

    def log_prob(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return log_density(self.density, x)


def path(target: Target | None = None) -> GeometricPath:
    """From N(0, 9 I) to the ring of the claim of S06."""
    source = standard_normal(2, dtype=torch.float32)
    wide = type(source)(source.mean, SPREAD)
    return GeometricPath(wide, ring() if target is None else target)


def ours(resample_below: float, target: Target | None = None, seed: int | None = None) -> float:
    """Run our population and return its log Z."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    run = smc(
        path(target),
        even_schedule(K),
        lambda g: Metropolis(g, WIDTH, MOVES),
        N,
        resample_below,
        generator=generator,
    )
    *_, last = run
    return last.log_z


@dataclass(frozen=True)
class Theirs:
    """blackjax's population, compiled, and the seconds of its first call."""

    run: Callable[[int], float]
    compile_seconds: float


def theirs() -> Theirs | None:
    """Build blackjax's tempered population on the same target, moves and betas."""
    blackjax = peer("blackjax")
    if blackjax is None:
        return None
    jax, jnp = import_module("jax"), import_module("jax.numpy")
    resampling = import_module("blackjax.smc.resampling")
    target, betas = ring(), jnp.asarray(even_schedule(K)[1:].tolist())
    means, weights = jnp.asarray(target.means.tolist()), jnp.asarray(target.weights.tolist())
    std = float(target.stds[0])

    def log_source(x):  # noqa: ANN001, ANN202 - arrays of JAX, which the types do not know
        return -0.5 * (x**2).sum() / SPREAD**2 - jnp.log(2 * jnp.pi * SPREAD**2)

    def log_target(x):  # noqa: ANN001, ANN202
        squares = ((x - means) ** 2).sum(-1) / std**2
        return LOG_Z + jax.nn.logsumexp(-0.5 * squares, b=weights / (2 * jnp.pi * std**2))

    kernel = blackjax.additive_step_random_walk.build_kernel()
    move = blackjax.mcmc.random_walk.normal(jnp.full(2, WIDTH))

    def step(key, state, logdensity):  # noqa: ANN001, ANN202
        return kernel(key, state, logdensity, random_step=move)

    sampler = blackjax.tempered_smc(
        log_source,
        lambda x: log_target(x) - log_source(x),
        step,
        blackjax.additive_step_random_walk.init,
        {},
        resampling.systematic,
        num_mcmc_steps=MOVES,
    )

    @jax.jit
    def run(key):  # noqa: ANN001, ANN202
        start, go = jax.random.split(key)
        state = sampler.init(SPREAD * jax.random.normal(start, (N, 2)))

        def turn(state, at):  # noqa: ANN001, ANN202
            state, info = sampler.step(at[0], state, at[1])
            return state, info.log_likelihood_increment

        _, increments = jax.lax.scan(turn, state, (jax.random.split(go, K), betas))
        return increments.sum()

    begun = perf_counter()
    run(jax.random.PRNGKey(0)).block_until_ready()
    seconds = perf_counter() - begun
    return Theirs(lambda seed: float(run(jax.random.PRNGKey(seed))), seconds)


def races() -> list[Race]:
    """Time populations and layers."""
    torch.manual_seed(0)
    population: list[tuple[str, Callable[[], object]]] = [("gentoolkit", lambda: ours(1.0))]
    peers = theirs()
    if peers is not None:
        population.append(("blackjax (compiled)", lambda: peers.run(1)))
    population.append(("gentoolkit, never resampled (AIS)", lambda: ours(0.0)))
    title = f"{N} particles, {K} densities x {MOVES} random walks"
    return [Race(title, population, rounds=15), *_layers()]


def _layers() -> list[Race]:
    target, x = ring(), 3.0 * torch.randn(N, 2, dtype=torch.float32)
    walk, hmc = Metropolis(target, WIDTH, 10), HMC(target, 0.1, 5)

    def quiet(call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return call()

        return run

    layers = {
        "10 random walks": [("gentoolkit", quiet(lambda: walk.push(x)))],
        "hmc, 5 leapfrogs": [("gentoolkit", quiet(lambda: hmc.push(x)))],
    }
    if peer("normflows") is not None:
        nf = import_module("normflows")
        proposal = nf.distributions.DiagGaussianProposal((2,), [WIDTH, WIDTH])
        theirs_walk = nf.flows.MetropolisHastings(target, proposal, 10)
        size = torch.full((2,), 0.1, dtype=torch.float32).log()
        theirs_hmc = nf.flows.HamiltonianMonteCarlo(target, 5, size, torch.zeros_like(size))
        layers["10 random walks"].append(("normflows", quiet(lambda: theirs_walk(x))))
        # Their gradient asks for recorded gradients, so this one runs with them on.
        layers["hmc, 5 leapfrogs"].append(("normflows", lambda: theirs_hmc(x)))
    return [Race(f"{N} rows, {name}", contestants) for name, contestants in layers.items()]


def errors() -> list[list[str]]:
    """Rows: sampler, density evaluations a particle, bias and RMSE of log Z, compile seconds."""
    rows = []
    for name, share in (("gentoolkit SMC", 1.0), ("gentoolkit SMC, below half", 0.5), ("AIS", 0.0)):
        counted = Counted(ring())
        ours(share, counted, 0)
        values = torch.tensor([ours(share, None, seed) for seed in range(RUNS)]) - LOG_Z
        rows.append([name, f"{counted.rows / N:.0f}", *_two(values), "0"])
    peers = theirs()
    if peers is not None:
        values = torch.tensor([peers.run(seed) for seed in range(RUNS)]) - LOG_Z
        # A density's first value is taken up by each round of moves; the weights ask once more.
        asked = f"about {K * (MOVES + 2)}"
        rows.append(["blackjax SMC", asked, *_two(values), f"{peers.compile_seconds:.1f}"])
    return rows


def _two(values: Tensor) -> list[str]:
    return [f"{float(values.mean()):+.3f}", f"{float(values.square().mean().sqrt()):.3f}"]


def variances(steps: int = 150, n: int = 20_000) -> list[list[str]]:
    """Rows: sampler, evaluations a path, sd of log w, RMSE of log Z, and their price."""
    counted = Counted(ring())
    p = path(counted)
    chains: dict[str, Chain] = {
        f"AIS, {k} Langevin steps": annealed(p, even_schedule(k), lambda g: Langevin(g, 0.04))
        for k in (16, 64)
    }
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = MonteCarloDiffusion(p, even_schedule(16), 0.04, CorrectionMLP(2, 2).float())
    pairs = model.pool(2000, generator=generator)
    for _ in fit(model, pairs.batches(512, 4 * steps), progress=False):
        pass
    chains["learned way back, 16 steps"] = model.chain()
    flow = stochastic(counted)
    train(flow, ring(), steps, 0)
    chains["stochastic flow, 4 couplings and 10 Langevin"] = flow.chain()
    rows = []
    for name, chain in chains.items():
        counted.rows = 0
        with torch.no_grad():
            log_w = chain.push(n, torch.Generator().manual_seed(1)).log_weight(ring())
        asked = counted.rows / n
        estimates = log_z(log_w.reshape(-1, 1000), dim=1) - LOG_Z
        square = float(estimates.square().mean())
        # The price of a squared error of one nat: evaluations a path times 1000 paths.
        cells = [f"{asked:.0f}", f"{float(log_w.std()):.2f}", f"{square**0.5:.3f}"]
        rows.append([name, *cells, f"{1000 * asked * square:.0f}"])
    return rows
