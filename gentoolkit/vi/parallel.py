"""Deep chains on small spaces, several runs side by side, and three ways to start their pulls."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from gentoolkit.core import Chain, FunctionKernel, Gaussian, standard_normal, validate
from gentoolkit.nets import ParallelMLP


class ParallelHierarchies(nn.Module):
    """`runs` hierarchies of T latents as wide as the data, trained at once and apart.

        push f(z_{t-1} | z_t) = N(r_t z_t + m, (1 - r_t^2) e^{2 s}),   (m, s) = net(z_t)
        pull b(z_t | z_{t-1}) = N(r_t z_{t-1} + m, (1 - r_t^2) e^{2 s}),   z_0 the data

    With `keep` r_t the nets start at zero: pull and push begin as the noising of standard normal
    data and its exact reversal. Without it r_t = 0 and the nets start at random, as usual.

    Arguments:
        runs: how many seeds.
        features: D, width of the data and of each latent.
        levels: T.
        keep: (T,) share r_t of the signal that the noise of level t leaves, in (0, 1).
        learn: whether the pulls have nets; otherwise they stay the noise of `keep`.
        hidden: widths of the hidden layers.
        std: where the deviation of the lowest push starts, without `keep`.

    Raises:
        ValueError: `keep` has another length or leaves (0, 1), or pulls with neither noise nor net.
    """

    keep: Tensor

    def __init__(
        self,
        runs: int,
        features: int,
        levels: int,
        *,
        keep: Tensor | None = None,
        learn: bool = True,
        hidden: tuple[int, ...] = (32, 32),
        std: float = 0.3,
    ) -> None:
        super().__init__()
        self.runs, self.levels = runs, validate.positive_count("levels", levels)
        if keep is None and not learn:
            raise ValueError("a pull is noise or learned; got neither; pass keep, or learn=True")
        shares = keep is None or (keep.shape == (levels,) and bool(((keep > 0) & (keep < 1)).all()))
        if not shares:
            raise ValueError(
                f"keep must hold {levels} numbers between 0 and 1; got {keep}; one for each level"
            )
        share = torch.zeros(levels) if keep is None else keep
        self.register_buffer("keep", share.float().repeat_interleave(runs)[:, None, None])
        count = runs * levels
        self.push = ParallelMLP(count, features, 2 * features, hidden)
        self.pulls = ParallelMLP(count, features, 2 * features, hidden) if learn else None
        for net in (self.push, self.pulls) if learn else (self.push,):
            if keep is not None and net is not None:
                nn.init.zeros_(net.weights[-1])
                nn.init.zeros_(net.biases[-1])
        if keep is None:
            with torch.no_grad():
                self.push.biases[-1][:runs, :, features:] = torch.tensor(std).log()

    def law(self, net: ParallelMLP | None, z: Tensor, rows: slice = slice(None)) -> Normal:
        """Return the law of `net` given `z` (rows, B, D), around what the noise would leave."""
        keep = self.keep[rows]
        mean, log_std = (0.0 * z, 0.0 * z) if net is None else net(z, rows).chunk(2, -1)
        std = (1 - keep.square()).sqrt() * log_std.exp()
        return Normal(keep * z + mean, std, validate_args=False)

    def pull(self, x: Tensor) -> Tensor:
        """Draw the latents of data (runs, B, D): a path (T + 1, runs, B, D) that starts at `x`."""
        path = [x]
        for t in range(self.levels):
            rows = slice(t * self.runs, (t + 1) * self.runs)
            path.append(self.law(self.pulls, path[-1], rows).rsample())
        return torch.stack(path)

    def log_evidence(self, path: Tensor) -> Tensor:
        """Return the log-evidence of a path (T + 1, runs, B, D) from the data up, (runs, B)."""
        low, high = path[:-1].flatten(0, 1), path[1:].flatten(0, 1)
        pushed = self.law(self.push, high).log_prob(low)
        steps = pushed - self.law(self.pulls, low).log_prob(high)
        top = Normal(0.0, 1.0, validate_args=False).log_prob(path[-1])
        return (steps.unflatten(0, (self.levels, self.runs)).sum(0) + top).sum(-1)

    def elbo(self, x: Tensor) -> Tensor:
        """Return an unbiased estimate of the bound of each data point (runs, B, D), (runs, B)."""
        return self.log_evidence(self.pull(x))

    def loss(self, x: Tensor) -> Tensor:
        """Return minus the mean bound, summed over the runs: each trains as if alone."""
        return -self.elbo(x).mean(1).sum()

    def chain(self, run: int) -> Chain:
        """Return one of the runs as a chain from z_T to the data."""

        def kernel(t: int) -> FunctionKernel:
            rows = slice(t * self.runs + run, t * self.runs + run + 1)

            def of(net: ParallelMLP | None, z: Tensor) -> Gaussian:
                law = self.law(net, z[None], rows)
                return Gaussian(law.mean[0], law.stddev[0])

            return FunctionKernel(lambda z: of(self.push, z), lambda z: of(self.pulls, z))

        steps = [kernel(t) for t in reversed(range(self.levels))]
        width = self.push.weights[0].shape[1]
        return Chain(standard_normal(width), steps)
