"""A tree whose edges are flows: the variational flow graphical model.

The root is the source and the leaves are the data. Each edge is one invertible map that carries a
value down (the push) and a message up (the pull): there is no encoder beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from gentoolkit.core import Chain, Composite, Gaussian, Kernel, standard_normal, validate
from gentoolkit.flows.coupling import AffineCoupling, alternating_mask
from gentoolkit.flows.layer import Layer
from gentoolkit.flows.linear import LULinear


@dataclass(frozen=True)
class Aggregation(Kernel):
    """One level of a tree: parents send values down, children send messages up.

        push: y_j ~ N(h_j(x_parent(j)), noise^2)
        pull: x_i ~ N(mean over the children j of i of h_j^-1(y_j), spread^2)

    States are (B, parents, width) on the source side and (B, children, width) on the other. The
    Jacobians of the maps do not enter: both laws are Gaussian.

    Arguments:
        edges: h_j for each child, from the parent to the child.
        parents: the row of each child's parent.
        noise: deviations of the children around what they are sent, (children, width).
        spread: deviations of the parents around the average message, (parents, width).
        seen: which children speak, (B, children) or (1, children); all if left out. Each parent
            needs one that does.
    """

    edges: Sequence[Composite]
    parents: Sequence[int]
    noise: Tensor
    spread: Tensor
    seen: Tensor | None = None

    def down(self, x: Tensor) -> Tensor:
        """Return what each child is sent by its parent, `h_j(x_parent(j))`."""
        sent = [h.push(x[:, i])[0] for h, i in zip(self.edges, self.parents, strict=True)]
        return torch.stack(sent, 1)

    def messages(self, y: Tensor) -> Tensor:
        """Return what each child sends up, `h_j^-1(y_j)`, (B, children, width)."""
        return torch.stack([h.pull(y[:, j])[0] for j, h in enumerate(self.edges)], 1)

    def average(self, messages: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean message of the children of each parent, and how many of them speak.

        Shapes are (B, parents, width) and (B, parents, 1); a parent that nobody speaks to gets 0.
        """
        parents = torch.tensor(self.parents, device=messages.device)
        weight = messages.new_ones(1, len(self.edges)) if self.seen is None else self.seen
        weight = weight.to(messages.dtype).expand(len(messages), -1)[..., None]
        empty = messages.new_zeros(len(messages), len(self.spread), messages.shape[-1])
        total = empty.index_add(1, parents, weight * messages)
        count = empty[..., :1].index_add(1, parents, weight)
        return total / count.clamp(min=1.0), count

    def push_law(self, x: Tensor) -> Gaussian:
        """Return the law of the children given their parents."""
        return Gaussian(self.down(x), self.noise)

    def pull_law(self, y: Tensor) -> Gaussian:
        """Return the law of the parents given their children."""
        return Gaussian(self.average(self.messages(y))[0], self.spread)


class Reading(NamedTuple):
    """What one pass up and down a tree gives: `FlowTree.read`.

    Arguments:
        filled: the leaves, those that were hidden filled in, (B, leaves, width).
        values: the value of each inner node, the root's first, (B, inner nodes, width).
        messages: what each node but the root sends up, in the order of `FlowTree.below`; zero
            from one that saw nothing, (B, nodes - 1, width).
        disagreement: root mean square distance of the messages that reach a node from their
            average, (B, inner nodes).
    """

    filled: Tensor
    values: Tensor
    messages: Tensor
    disagreement: Tensor


class FlowTree(nn.Module):
    """A tree of flows from one latent root to groups of data: a variational flow graphical model.

        push: root ~ N(0, I),   child j ~ N(h_j(parent), noise^2)
        pull: node ~ N(mean of h_j^-1(child j) over its children, spread^2)

    All nodes have one width, since an edge is invertible; a datum holds one row for each leaf. The
    maps serve both ways, the deviations are learned. `read` fills in leaves that are hidden.

    >>> _ = torch.manual_seed(0)
    >>> tree = flow_tree([None, 0, 0, 0], width=2, hidden=(8,))  # three leaves under a root
    >>> x = torch.randn(5, 3, 2)
    >>> tree.loss(x).backward()
    >>> filled = tree.impute(x, observed=torch.tensor([True, True, False]))
    >>> filled.shape, bool((filled[:, :2] == x[:, :2]).all())
    (torch.Size([5, 3, 2]), True)

    Arguments:
        parents: the parent of each node, None for the root. All leaves lie at one depth.
        edges: the layers between each node but the root and its parent, from the parent's side to
            the child's, by the child's number.
        width: of a node.
        noise: first deviation of a child around what its parent sends.
        spread: first deviation of a node around the average message of its children.
        hide: chance that training hides a leaf from the pull; the others then learn to do without.
            One child of every last inner node always speaks.

    Raises:
        TypeError: a parent is not a whole number.
        ValueError: the parents are no tree with leaves of one depth, an edge is missing, changes
            the width or takes a context, or a deviation is not positive.

    Reference: Ren, Karimi, Li and Li 2022 (arXiv 2207.02722).
    """

    def __init__(
        self,
        parents: Sequence[int | None],
        edges: Mapping[int, Sequence[Layer]],
        width: int,
        *,
        noise: float = 0.5,
        spread: float = 0.5,
        hide: float = 0.0,
    ) -> None:
        super().__init__()
        self.levels = _levels(parents)
        self.parents = tuple(parents)
        self.width = validate.positive_count("width", width)
        self.event_shape = torch.Size((len(self.levels[-1]), self.width))
        self.hide = validate.probability("hide", hide)
        validate.positive("noise", noise)
        validate.positive("spread", spread)
        if set(edges) != set(self.below):
            raise ValueError(
                f"every node but the root needs one edge, {sorted(self.below)}; got edges into "
                f"{sorted(edges)}; pass {{child: [layers]}}"
            )
        self.edges = nn.ModuleDict({str(j): _edge(j, edges[j], self.width) for j in self.below})
        sizes = [(len(level), self.width) for level in self.levels]
        self.log_noise = nn.ParameterList(torch.full(size, noise).log() for size in sizes[1:])
        self.log_spread = nn.ParameterList(torch.full(size, spread).log() for size in sizes[:-1])

    @property
    def below(self) -> tuple[int, ...]:
        """The nodes below the root, level after level."""
        return tuple(j for level in self.levels[1:] for j in level)

    @property
    def leaves(self) -> tuple[int, ...]:
        """The nodes that hold data, in the order of the rows of a datum."""
        return self.levels[-1]

    def _steps(self, seen: Sequence[Tensor | None]) -> list[Aggregation]:
        return [
            Aggregation(
                [Composite(list(self.edges[str(j)])) for j in below],  # pyright: ignore
                [above.index(self.parents[j]) for j in below],  # pyright: ignore
                log_noise.exp(),
                log_spread.exp(),
                speak,
            )
            for above, below, log_noise, log_spread, speak in zip(
                self.levels[:-1],
                self.levels[1:],
                self.log_noise,
                self.log_spread,
                seen,
                strict=True,
            )
        ]

    def chain(self, context: Tensor | None = None, *, observed: Tensor | None = None) -> Chain:
        """Return the chain root -> leaves, whose pull listens to the observed leaves alone.

        Any pull gives a lower bound, so that of a chain which does not look at all leaves is one
        too, of the log-density of them all.

        Arguments:
            context: none is taken.
            observed: true for leaves that send messages, (leaves,) or (B, leaves).

        Raises:
            ValueError: `observed` has another shape, or leaves a node without any message.
        """
        validate.no_context(context, "FlowTree")
        seen = None if observed is None else self._observed(observed)
        steps = self._steps([None] * (len(self.levels) - 2) + [seen])
        if seen is not None and validate.readable(seen):
            _, count = steps[-1].average(seen[..., None].to(self.log_noise[0].dtype))
            if bool((count == 0).any()):
                raise ValueError(
                    "every last inner node must hear one child or more; got a row in which one "
                    f"hears none of {len(self.leaves)} leaves; show one, or fill in by impute"
                )
        like = self.log_noise[0]
        return Chain(standard_normal(1, self.width, dtype=like.dtype, device=like.device), steps)

    def elbo(
        self,
        batch: Tensor,
        *,
        observed: Tensor | None = None,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return an unbiased estimate of the lower bound of log p(x) for each row, (B,).

            log f(path from the root) - log b(path from the data) - KL(b(root | .) || N(0, I))

        One pulled path, and the divergence at the root in closed form.

        Arguments:
            batch: (B, leaves, width).
            observed: as in `chain`: leaves that the pull listens to. All are scored.
            context: none is taken.
            generator: source of randomness.
        """
        y = validate.batch("batch", batch, self.event_shape)
        chain = self.chain(context, observed=observed)
        root, *others = chain.steps
        assert isinstance(root, Aggregation)
        total = y.new_zeros(len(y))
        for step in others[::-1]:
            y, ratio = step.pull(y, generator)
            total = total - ratio
        b = root.pull_law(y)
        z = b.sample(generator=generator)
        return total + root.push_law(z).log_prob(y) - b.kl_from_standard()

    def loss(
        self, batch: Tensor, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Return minus the mean bound of a batch (B, leaves, width), shape (), leaves hidden."""
        observed = self._hidden(len(batch), generator) if self.hide else None
        bound = self.elbo(batch, observed=observed, context=context, generator=generator)
        return -bound.mean()

    @torch.no_grad()
    def sample(
        self, n: int, *, context: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw `n` data, (n, leaves, width)."""
        return self.chain(context).push(n, generator).states[-1]

    def read(self, x: Tensor, observed: Tensor | None = None) -> Reading:
        """Send what is seen up and fill in the rest on the way down, without noise.

        A node that hears some child keeps the average of what it hears. One that hears none is
        sent its value by its parent, and a hidden leaf is filled in so.

        Arguments:
            x: (B, leaves, width); what stands in hidden leaves is not looked at and may be NaN.
            observed: true for leaves that are seen, (leaves,) or (B, leaves); all if left out.

        Raises:
            ValueError: a row has no observed leaf, or a shape does not fit.
        """
        seen = torch.ones(1, len(self.leaves), dtype=torch.bool, device=x.device)
        seen = seen if observed is None else self._observed(observed)
        if validate.readable(seen) and not bool(seen.any(1).all()):
            raise ValueError(
                "a row needs an observed leaf or more; got one with none; the best guess for such "
                "a row is the mean of the data, or tree.sample"
            )
        if x.shape[1:] == self.event_shape:
            x = torch.where(seen[..., None], x, torch.zeros_like(x))
        x = validate.batch("x", x, self.event_shape)
        seen = seen.expand(len(x), -1)
        values, speaks, up, apart = [x], [seen], [], []
        steps = self._steps([None] * (len(self.levels) - 1))
        for bare in steps[::-1]:
            step = Aggregation(bare.edges, bare.parents, bare.noise, bare.spread, speaks[0])
            messages = step.messages(values[0]) * speaks[0][..., None]
            mean, count = step.average(messages)
            off = (messages - mean[:, list(step.parents)]).square().sum(-1, keepdim=True)
            apart.insert(0, step.average(off)[0].squeeze(-1).sqrt())
            up.insert(0, messages)
            values.insert(0, mean)
            speaks.insert(0, count.squeeze(-1) > 0)
        for level, step in enumerate(steps, 1):
            sent = step.down(values[level - 1])
            values[level] = torch.where(speaks[level][..., None], values[level], sent)
        return Reading(values[-1], torch.cat(values[:-1], 1), torch.cat(up, 1), torch.cat(apart, 1))

    def impute(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return `x` with the leaves that are not observed filled in: `read(...).filled`."""
        return self.read(x, observed).filled

    def _observed(self, observed: Tensor) -> Tensor:
        """Return which leaves are seen as (B, leaves) or (1, leaves)."""
        leaves = len(self.leaves)
        if observed.dtype != torch.bool or observed.shape[-1:] != (leaves,) or observed.ndim > 2:
            raise ValueError(
                f"observed must be boolean, ({leaves},) or (B, {leaves}); got {observed.dtype} of "
                f"shape {tuple(observed.shape)}; pass one True or False for each leaf"
            )
        return observed.reshape(-1, leaves)

    def _hidden(self, n: int, generator: Generator | None) -> Tensor:
        """Draw which leaves are seen, one child of each last inner node or more, (n, leaves)."""
        where = self.log_noise[0].device
        chance = torch.rand(n, len(self.leaves), device=where, generator=generator)
        seen = chance >= self.hide
        for parent in self.levels[-2]:
            mine = [k for k, j in enumerate(self.leaves) if self.parents[j] == parent]
            seen[
                torch.arange(n, device=where),
                torch.tensor(mine, device=where)[chance[:, mine].argmax(1)],
            ] = True
        return seen


def flow_tree(
    parents: Sequence[int | None],
    width: int,
    couplings: int = 4,
    hidden: Sequence[int] = (32,),
    *,
    noise: float = 0.5,
    spread: float = 0.5,
    hide: float = 0.0,
    largest: float = 0.5,
    activation: Callable[[], nn.Module] = nn.SiLU,
) -> FlowTree:
    """Return a tree whose edges are affine couplings and a linear map beside the parent.

    Arguments:
        parents: the parent of each node, None for the root.
        width: of a node, two or more.
        couplings: of each edge.
        hidden: widths of each coupling's hidden layers.
        noise, spread, hide: see `FlowTree`.
        largest: bound of a coupling's log-scale. A message is an inverse: where the map down
            shrinks, the way up blows noise up, and one child drowns out the others.
        activation: makes the nonlinearity of the nets.

    Raises:
        ValueError: as `FlowTree`, or fewer than two numbers a node.
    """
    turns = range(validate.positive_count("couplings", couplings))

    def edge() -> list[Layer]:
        masks = [alternating_mask(width, t) for t in turns]
        return [
            LULinear(width),
            *(AffineCoupling(width, mask, hidden, 0, largest, activation) for mask in masks),
        ]

    edges = {j: edge() for j, parent in enumerate(parents) if parent is not None}
    return FlowTree(parents, edges, width, noise=noise, spread=spread, hide=hide)


def _levels(parents: Sequence[int | None]) -> list[tuple[int, ...]]:
    """Return the nodes by their depth, the root first.

    Raises:
        TypeError: a parent is not a whole number.
        ValueError: there is not one root, a parent is no other node, nodes form a cycle, there is
            no leaf, or leaves lie at several depths.
    """
    n = len(parents)
    roots = [j for j, parent in enumerate(parents) if parent is None]
    if len(roots) != 1:
        raise ValueError(
            f"a tree has one root, whose parent is None; got {len(roots)} among {n} nodes; join "
            "several under a new one"
        )
    if n == 1:
        raise ValueError(
            "a tree needs a leaf that holds data; got a root alone; add nodes with parent 0"
        )
    for j, parent in enumerate(parents):
        if parent is not None and (isinstance(parent, bool) or not isinstance(parent, int)):
            raise TypeError(
                f"a parent must be the number of a node, or None; got {parent!r} for node {j}; "
                "count nodes from 0"
            )
        if parent is not None and not (0 <= parent < n and parent != j):
            raise ValueError(
                f"a parent must be another node, 0 to {n - 1}; got {parent} for node {j}; count "
                "nodes from 0"
            )
    depths = []
    for j in range(n):
        depth, node = 0, parents[j]
        while node is not None and depth < n:
            depth, node = depth + 1, parents[node]
        if node is not None:
            raise ValueError(
                f"a tree has no cycles; got one above node {j}; lead every node's parents to the "
                "root"
            )
        depths.append(depth)
    inner = set(parents)
    leaves = {depths[j] for j in range(n) if j not in inner}
    if len(leaves) > 1:
        raise ValueError(
            f"all leaves must lie at one depth; got depths {sorted(leaves)}; put inner nodes with "
            "one child above the shallow ones"
        )
    return [tuple(j for j in range(n) if depths[j] == depth) for depth in range(max(depths) + 1)]


def _edge(child: int, layers: Sequence[Layer], width: int) -> nn.ModuleList:
    """Return the layers of an edge, which must keep the width.

    Raises:
        ValueError: there are none, one takes a context, or the width changes on the way.
    """
    if not layers:
        raise ValueError(
            f"an edge needs a layer or more; got none into node {child}; LULinear({width}) is the "
            "plainest"
        )
    if any(layer.context for layer in layers):
        raise ValueError(
            f"edges take no context; got a layer that does on the way into node {child}; build it "
            "without"
        )
    weights = [p for layer in layers for p in layer.parameters()]
    probe = torch.zeros(1, width, dtype=weights[0].dtype) if weights else torch.zeros(1, width)
    probe = probe.to(weights[0].device) if weights else probe
    try:
        with torch.no_grad():
            shape = Composite(list(layers)).push(probe)[0].shape
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"an edge joins two nodes of {width} numbers; got layers of another width into node "
            f"{child}: {error}; give every layer of the tree one width"
        ) from error
    if shape != probe.shape:
        raise ValueError(
            f"an edge joins two nodes of {width} numbers; got {tuple(shape[1:])} numbers out of "
            f"the edge into node {child}; give every layer of the tree one width"
        )
    return nn.ModuleList(layers)
