"""Mixtures of flows: one of several flows is chosen, then pushed."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, validate
from gentoolkit.flows.layer import Flow


class FlowMixture(nn.Module):
    """A mixture of flows, an exact density; trained jointly by its `loss`, or grown by boosting.

        log G(x) = log sum_k w_k p_k(x)

    >>> from gentoolkit.flows import FlowMixture, real_nvp
    >>> mixture = FlowMixture([real_nvp(2, 2) for _ in range(3)])
    >>> mixture.weights
    tensor([0.3333, 0.3333, 0.3333])
    >>> mixture.log_prob(mixture.sample(5)).shape
    torch.Size([5])

    Arguments:
        components: flows of one event shape, with exact densities.
        weights: probabilities of the components, (K,); equal if left out. A weight of zero is
            kept as the smallest number there is, so that it can be learned.

    Raises:
        TypeError: a component is not a Flow.
        ValueError: there is no component, their event shapes differ, or the weights are not
            probabilities.
    """

    def __init__(self, components: Sequence[Flow], weights: Tensor | None = None) -> None:
        super().__init__()
        if not components:
            raise ValueError(
                "a mixture needs a component or more; got none; train a first flow and pass [flow]"
            )
        for k, flow in enumerate(components):
            if not isinstance(flow, Flow):
                raise TypeError(
                    f"components[{k}] must be a Flow; got {type(flow).__name__}; "
                    "build one, for example real_nvp(2)"
                )
        shapes = {tuple(flow.event_shape) for flow in components}
        if len(shapes) > 1:
            raise ValueError(
                f"all components must have one event shape; got {sorted(shapes)}; "
                "build them with the same number of features"
            )
        count = len(components)
        w = torch.full((count,), 1.0 / count) if weights is None else weights.detach().clone()
        total = float(w.double().sum())
        fits = w.shape == (count,) and bool((w >= 0).all())
        if not (fits and abs(total - 1.0) < 1e-5):
            raise ValueError(
                f"weights must have shape ({count},), be >= 0 and sum to 1; got shape "
                f"{tuple(w.shape)} and sum {total:.6g}; divide by the sum"
            )
        self.components = nn.ModuleList(components)
        self.event_shape = components[0].event_shape
        self.logits = nn.Parameter(w.clamp_min(torch.finfo(w.dtype).tiny).log())

    @property
    def weights(self) -> Tensor:
        """The probabilities of the components, (K,), without a gradient."""
        return self.logits.detach().softmax(0)

    def _flows(self) -> list[Flow]:
        return [flow for flow in self.components if isinstance(flow, Flow)]

    def log_joint(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return `log w_k + log p_k(x)` of each row and component, (B, K)."""
        each = [flow.log_prob(x, context=context) for flow in self._flows()]
        return torch.stack(each, 1) + self.logits.log_softmax(0)

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return the exact log-density of rows (B, *event_shape), shape (B,)."""
        return self.log_joint(x, context=context).logsumexp(1)

    def responsibilities(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return the probability of each component given each row, (B, K): the exact pull."""
        return self.log_joint(x, context=context).softmax(1)

    def chain(self, context: Tensor | None = None) -> Chain:
        """Return the mixture as a source without steps: which component drew a row is summed out.

        The chain of one component is `mixture.components[k].chain(context)`.
        """
        if context is not None:
            validate.no_context(context, "the chain of a mixture")
        return Chain(self)

    def elbo(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return `log_prob` of each row of a batch, (B,)."""
        return self.log_prob(batch, context=context)

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the mean log-likelihood of a batch, shape (): all components at once."""
        return -self.elbo(batch, context=context).mean()

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` rows: a component by the weights, then a push of it; (n, *event_shape)."""
        validate.positive_count("n", n)
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        like = self.logits
        x = like.new_empty(n, *self.event_shape)
        for k, flow in enumerate(self._flows()):
            rows = (chosen == k).nonzero().flatten()
            if len(rows):
                given = None if context is None else context[rows]
                x[rows] = flow.sample(len(rows), context=given, generator=generator)
        return x

    def extended(self, component: Flow, r: float) -> "FlowMixture":
        """Return `(1 - r) G + r p_new`: a mixture of the same components and one more.

        Arguments:
            component: the new flow.
            r: its weight; every earlier one is multiplied by 1 - r.

        Raises:
            ValueError: r lies outside [0, 1].
        """
        validate.probability("r", r)
        w = self.weights
        # In float64: a product of many factors 1 - r should still sum to one.
        grown = torch.cat([(1.0 - r) * w.double(), w.new_tensor([r]).double()])
        return FlowMixture([*self._flows(), component], (grown / grown.sum()).to(w))
