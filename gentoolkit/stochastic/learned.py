"""Monte Carlo diffusion: annealing whose way back is learned, starting at plain annealing.

The way that pushes is fixed, so training is regression: how far the plain reversal misses the
state that a path came from, on stored pairs, without a gradient through the path.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, Unsupported, validate
from gentoolkit.core.chain import Target, draw
from gentoolkit.nets import MLP
from gentoolkit.stochastic.gradient import checked_size
from gentoolkit.stochastic.held import Held
from gentoolkit.stochastic.langevin import Langevin
from gentoolkit.stochastic.paths import Path, checked_schedule

Correction = Callable[[Tensor, Tensor], Tensor]
"""From states (B, D) and betas (B,) to what the reversal's score adds, (B, D)."""


class CorrectionMLP(nn.Module):
    """A net of the state and of beta that starts at zero: at plain annealing.

        c(x, beta) = MLP(x, beta, sin 3 beta, cos 3 beta, sin 9 beta)

    Arguments:
        features: numbers in a state, D.
        outputs: numbers in a correction, D.
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
        state: what the reversal sees, (N, D).
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


class MonteCarloDiffusion(nn.Module):
    """Langevin annealing along a path with a learned way back.

        f_k(y|x) = N(x + e grad log g_k(x), 2 e I)
        b_k(x|y) = N(y + e grad log g_k(y) + 2 e c(y, beta_k), 2 e I)

    At its best, `c = grad log q_k - grad log g_k`, with q_k the law of the particles.

    Arguments:
        path: from the source to the target.
        betas: (K+1,), from 0 to 1.
        step_size: e, of every move.
        correction: c(state, beta); a module's parameters join the model's.

    Raises:
        ValueError: `betas` does not run from 0 to 1, or `step_size` is not positive and finite.

    Reference: Doucet, Grathwohl, Matthews, Strathmann 2022 (arXiv 2208.07698).
    """

    def __init__(self, path: Path, betas: Tensor, step_size: float, correction: Correction) -> None:
        super().__init__()
        checked_size("step_size", step_size, "start near 1 / L, L the curvature of -log target")
        self._path, self.step_size, self.correction = Held(path), step_size, correction
        self.betas = tuple(checked_schedule(betas).tolist())

    @property
    def path(self) -> Path:
        """From the source to the target."""
        return self._path.thing

    @property
    def target(self) -> Target:
        """What a path's last state is scored by: `log_weight(model.target)`."""
        return self.path.target

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one state."""
        with torch.random.fork_rng():
            return draw(self.path.source, 1).shape[1:]

    def at(self, beta: float) -> Callable[[Tensor], Tensor]:
        """Return the correction of one density, a function of the state alone."""
        return lambda state: self.correction(state, state.new_full((state.shape[0],), beta))

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the chain: a fixed way there, and the learned way back.

        Raises:
            ValueError: there is a context.
        """
        validate.no_context(context, "a MonteCarloDiffusion")
        path, size = self.path, self.step_size
        steps = [Langevin(path.at(beta), size, self.at(beta)) for beta in self.betas[1:]]
        return Chain(path.source, steps)

    def pool(self, n: int, *, generator: Generator | None = None) -> Pairs:
        """Return the pairs of `n` fresh paths, n K of them; no gradient is kept."""
        path, betas = self.path, self.betas[1:]
        with torch.no_grad():
            first, *ends = self.chain().push(n, generator).states
            plain = [Langevin(path.at(b), self.step_size).pull_law for b in betas]
            triples = zip([first, *ends[:-1]], ends, plain, strict=True)
            misses = torch.cat([x - law(y).mean for x, y, law in triples])
        return Pairs(torch.cat(ends), misses.new_tensor(betas).repeat_interleave(n), misses)

    def loss(
        self, batch: Pairs, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the gain in ELBO over plain annealing, estimated on pairs, shape ().

            K mean( |miss - 2 e c|^2 - |miss|^2 ) / (4 e)

        It starts at zero, and its gradient is that of -ELBO. Nothing is drawn: the generator is
        for `pool`, which makes the pairs.
        """
        validate.no_context(context, "a MonteCarloDiffusion")
        off = batch.miss - 2.0 * self.step_size * self.correction(batch.state, batch.beta)
        change = (off.square() - batch.miss.square()).flatten(1).sum(1)
        return (len(self.betas) - 1) * change.mean() / (4.0 * self.step_size)

    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw the last states of `n` paths, (n, D), unweighted; no gradient is kept."""
        with torch.no_grad():
            return self.chain(context).push(n, generator).states[-1]

    def elbo(
        self,
        batch: Tensor | Pairs,
        *,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return the log-evidence of one path pulled from each state (B, D), (B,).

        Raises:
            Unsupported: the batch holds pairs, which have no density of their own.
        """
        if isinstance(batch, Pairs):
            raise Unsupported(
                "pairs are what the loss is trained on, and have no density; got a batch of them; "
                "pass states of the last density, such as `sample` draws"
            )
        return self.chain(context).pull(batch, generator).log_evidence()
