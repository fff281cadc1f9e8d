"""Monte Carlo diffusion: annealing whose way back is learned, starting at plain annealing.

The way that pushes is fixed, so training is regression: how far the plain reversal misses the
state that a path came from, on stored pairs, without a gradient through the path.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import log

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, Step, Unsupported, elbo, validate
from gentoolkit.core.chain import Source, Target, draw
from gentoolkit.nets import MLP
from gentoolkit.stochastic.gradient import checked_size
from gentoolkit.stochastic.hamiltonian import Leapfrog, Refresh, WithMomentum
from gentoolkit.stochastic.held import Held
from gentoolkit.stochastic.langevin import Langevin
from gentoolkit.stochastic.paths import Path, checked_schedule

Correction = Callable[[Tensor, Tensor], Tensor]
"""From states (B, *state) and betas (B,) to what the reversal's score adds, (B, D)."""


class CorrectionMLP(nn.Module):
    """A net of the state and of beta that starts at zero: at plain annealing.

        c(x, beta) = MLP(x, beta, sin 3 beta, cos 3 beta, sin 9 beta)

    Arguments:
        features: numbers in a state: D for Langevin steps, 2 D with a momentum.
        outputs: D.
        hidden: widths of the hidden layers.
        activation: makes the nonlinearity between layers.

    Reference: Doucet et al. 2022 (arXiv 2208.07698).
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.net = MLP(features + 4, outputs, hidden, activation)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, beta: Tensor) -> Tensor:
        """Return the correction (B, D) for states (B, *state) at betas (B,) or ()."""
        b = beta.to(x.dtype).expand(x.shape[0])[:, None]
        waves = [b, (3.0 * b).sin(), (3.0 * b).cos(), (9.0 * b).sin()]
        return self.net(torch.cat([x.flatten(1), *waves], 1))


@dataclass(frozen=True)
class Pairs:
    """Stored pairs of a step: where it ended, and how far the plain reversal misses its start.

    Arguments:
        state: what the reversal sees, (N, *state).
        beta: of the density, (N,).
        miss: the start less the mean of the plain reversal, (N, D).
    """

    state: Tensor
    beta: Tensor
    miss: Tensor

    def __len__(self) -> int:
        return self.state.shape[0]

    def batches(
        self, size: int, steps: int, generator: Generator | None = None
    ) -> Iterator["Pairs"]:
        """Yield `steps` batches of `size` pairs, drawn with replacement."""
        validate.positive_count("size", size)
        for _ in range(validate.positive_count("steps", steps)):
            rows = torch.randint(len(self), (size,), generator=generator, device=self.state.device)
            yield Pairs(self.state[rows], self.beta[rows], self.miss[rows])


class LearnedAnnealing(nn.Module, ABC):
    """Annealing along a path with a learned way back.

    Obligations: `steps(beta)` makes the steps of one density, reversed with the correction;
    `gain` and `variance` are those of the reversal, whose mean is `plain + gain c`; `pair` reads
    the stored pair of the k-th density off a trajectory's states.

    Arguments:
        path: from the source to the target, in positions.
        betas: (K+1,), from 0 to 1.
        step_size: of every move.
        correction: c(state, beta); a module's parameters join the model's.
        train_step: make the step size a parameter, which `path_loss` alone can train.

    Raises:
        ValueError: `betas` does not run from 0 to 1, or `step_size` is not positive and finite.
    """

    def __init__(
        self,
        path: Path,
        betas: Tensor,
        step_size: float,
        correction: Correction,
        train_step: bool = False,
    ) -> None:
        super().__init__()
        checked_size("step_size", step_size, "start near 1 / L, L the curvature of -log target")
        self._path, self.correction = Held(path), correction
        self.betas = tuple(checked_schedule(betas).tolist())
        start = torch.tensor(log(step_size))
        self.log_step = nn.Parameter(start) if train_step else None
        self._size = step_size

    @property
    def path(self) -> Path:
        """From the source to the target, in positions."""
        return self._path.thing

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one state."""
        with torch.random.fork_rng():
            return draw(self.source, 1).shape[1:]

    @property
    def step_size(self) -> Tensor | float:
        """The present size of a move: a number, or a trained tensor."""
        return self._size if self.log_step is None else self.log_step.exp()

    @property
    @abstractmethod
    def source(self) -> Source:
        """Where paths start."""

    @property
    @abstractmethod
    def target(self) -> Target:
        """What a path's last state is scored by: `log_weight(model.target)`."""

    @abstractmethod
    def steps(self, beta: float) -> list[Step]:
        """Return the steps for one density."""

    @abstractmethod
    def pair(self, states: Sequence[Tensor], k: int) -> tuple[Tensor, Tensor]:
        """Return what the k-th reversal saw and what it missed, k from 1."""

    @abstractmethod
    def scales(self) -> tuple[float, float]:
        """Return the gain of the correction in the reversal's mean, and the variance."""

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain: a fixed way there, and the learned way back.

        Raises:
            ValueError: there is a context.
        """
        validate.no_context(context, f"a {type(self).__name__}")
        return Chain(self.source, [s for beta in self.betas[1:] for s in self.steps(beta)])

    def at(self, beta: float) -> Callable[[Tensor], Tensor]:
        """Return the correction of one density, a function of the state alone."""
        return partial(self._corrected, beta)

    def _corrected(self, beta: float, state: Tensor) -> Tensor:
        return self.correction(state, state.new_full((state.shape[0],), beta))

    def pool(self, n: int, *, generator: Generator | None = None) -> Pairs:
        """Return the pairs of `n` fresh paths, n K of them; no gradient is kept."""
        with torch.no_grad():
            states = self.chain().push(n, generator).states
            seen = [self.pair(states, k) for k in range(1, len(self.betas))]
            betas = [
                miss.new_full((n,), b) for (_, miss), b in zip(seen, self.betas[1:], strict=True)
            ]
        return Pairs(
            torch.cat([state for state, _ in seen]),
            torch.cat(betas),
            torch.cat([miss for _, miss in seen]),
        )

    def loss(
        self, batch: Pairs, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the gain in ELBO over plain annealing, estimated on pairs, shape ().

            K mean( |miss - gain c|^2 - |miss|^2 ) / (2 variance)

        It starts at zero, and its gradient is that of -ELBO. Nothing is drawn: the generator is
        for `pool`, which makes the pairs.
        """
        validate.no_context(context, f"a {type(self).__name__}")
        gain, variance = self.scales()
        off = batch.miss - gain * self.correction(batch.state, batch.beta)
        change = (off.square() - batch.miss.square()).flatten(1).sum(1)
        return (len(self.betas) - 1) * change.mean() / (2.0 * variance)

    def path_loss(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Return -ELBO of `n` fresh paths, shape (), differentiable through the whole path."""
        return -elbo(self.chain().push(n, generator).log_weight(self.target))

    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw the last states of `n` paths, (n, *state), unweighted."""
        with torch.no_grad():
            return self.chain(context).push(n, generator).states[-1]

    def elbo(
        self,
        batch: Tensor | Pairs,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return the log-evidence of one path pulled from each state (B, *state), (B,).

        Raises:
            Unsupported: the batch holds pairs, which have no density of their own.
        """
        if isinstance(batch, Pairs):
            raise Unsupported(
                "pairs are what the loss is trained on, and have no density; got a batch of them; "
                "pass states of the last density, such as `sample` draws"
            )
        return self.chain(context).pull(batch, generator).log_evidence()


class MonteCarloDiffusion(LearnedAnnealing):
    """Langevin annealing with a learned way back.

        f_k(y|x) = N(x + e grad log g_k(x), 2 e I)
        b_k(x|y) = N(y + e grad log g_k(y) + 2 e c(y, beta_k), 2 e I)

    At its best, `c = grad log q_k - grad log g_k`, with q_k the law of the particles.

    Reference: Doucet, Grathwohl, Matthews, Strathmann 2022 (arXiv 2208.07698).
    """

    @property
    def source(self) -> Source:
        """Where paths start: the path's source."""
        return self.path.source

    @property
    def target(self) -> Target:
        """What a path's last state is scored by: the path's target."""
        return self.path.target

    def steps(self, beta: float) -> list[Step]:
        """Return one Langevin step."""
        return [Langevin(self.path.at(beta), self.step_size, self.at(beta))]

    def pair(self, states: Sequence[Tensor], k: int) -> tuple[Tensor, Tensor]:
        """Return the k-th state, and what the plain reversal misses of the one before."""
        plain = Langevin(self.path.at(self.betas[k]), self.step_size)
        return states[k], states[k - 1] - plain.pull_law(states[k]).mean

    def scales(self) -> tuple[float, float]:
        """Return `2 e` and `2 e`."""
        size = self.step_size
        twice = 2.0 * float(size.detach() if isinstance(size, Tensor) else size)
        return twice, twice


class HamiltonianDiffusion(LearnedAnnealing):
    """Unadjusted Hamiltonian annealing with a learned way back; states are (B, 2, D).

        refresh   b(p|x, p') = N(h p' + 2 (1 - h) c(x, p', beta_k), (1 - h^2) I)
        leapfrog  a bijection, which is undone

    Arguments:
        path: from the source to the target, in positions.
        betas: (K+1,), from 0 to 1.
        step_size: of a leapfrog.
        correction: c(state, beta), from (B, 2, D) and (B,) to (B, D).
        keep: h, the share of the momentum that stays in a refreshment.
        leapfrogs: how many after each refreshment.
        train_step: make the step size a parameter, which `path_loss` alone can train.

    Raises:
        ValueError: `betas` does not run from 0 to 1, a size is not positive, or `keep` is outside
            [0, 1).

    Reference: Geffner and Domke 2021 (arXiv 2107.04150); Doucet et al. 2022 (arXiv 2208.07698).
    """

    def __init__(
        self,
        path: Path,
        betas: Tensor,
        step_size: float,
        correction: Correction,
        keep: float = 0.8,
        leapfrogs: int = 1,
        train_step: bool = False,
    ) -> None:
        super().__init__(path, betas, step_size, correction, train_step)
        self.keep = Refresh(keep).keep
        self.leapfrogs = validate.positive_count("leapfrogs", leapfrogs)

    @property
    def source(self) -> Source:
        """Where paths start: the path's source beside a standard normal momentum."""
        return WithMomentum(self.path.source)

    @property
    def target(self) -> Target:
        """What a path's last state is scored by: the target beside a normal momentum."""
        return WithMomentum(self.path.target)

    def steps(self, beta: float) -> list[Step]:
        """Return a refreshment and a leapfrog."""
        moved = Leapfrog(self.path.at(beta), self.step_size, self.leapfrogs)
        return [Refresh(self.keep, self.at(beta)), moved]

    def pair(self, states: Sequence[Tensor], k: int) -> tuple[Tensor, Tensor]:
        """Return the state after the k-th refreshment, and what its plain reversal misses."""
        before, after = states[2 * k - 2], states[2 * k - 1]
        return after, before[:, 1] - Refresh(self.keep).pull_law(after).momentum.mean

    def scales(self) -> tuple[float, float]:
        """Return `2 (1 - h)` and `1 - h^2`."""
        return 2.0 * (1.0 - self.keep), 1.0 - self.keep**2
