"""A chain from a source to a target, and the trajectories it draws.

    log_evidence(tau) = log source(x_0) - sum_t log_ratio_t
    log_weight(tau)   = log target(x_T) - log_evidence(tau)

The first needs the two chains alone; the second asks the target as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.distributions import Distribution

from gentoolkit.core import validate
from gentoolkit.core.laws import seeded
from gentoolkit.core.step import Bijection, Step


class Density(Protocol):
    """What a source must offer: `n` samples, and the log-density of given points.

    A density that is not one against Lebesgue measure says so by an attribute
    `base_measure: str`, such as "Haar measure of SU(2)": see `base_measure`.
    """

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Draw `n` samples, shape (n, *event)."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density, shape (B,)."""
        ...


class Scored(Protocol):
    """What a target must offer, if it is not a plain function: the log-density of given points."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Return the log-density, shape (B,)."""
        ...


Source = Density | Distribution
Target = Callable[[Tensor], Tensor] | Scored | Distribution


LEBESGUE = "Lebesgue measure"


def base_measure(density: Target | Source) -> str | None:
    """Return the name of the measure against which a density is one.

    A density on a group, or on a subspace, names its own in an attribute `base_measure`; without
    one it is Lebesgue measure. A bound method speaks for its object. A plain function says nothing
    (None): it is read against the measure of whatever it meets.

    >>> base_measure(lambda x: -x.square().sum(1)), base_measure(torch.distributions.Normal(0, 1))
    (None, 'Lebesgue measure')
    """
    named = getattr(density, "base_measure", None)
    if named is not None:
        return named
    owner = getattr(density, "__self__", None)
    if owner is not None:
        return base_measure(owner)
    return LEBESGUE if hasattr(density, "log_prob") else None


def draw(source: Source, n: int, generator: Generator | None = None) -> Tensor:
    """Draw `n` samples from a density or a `torch.distributions.Distribution`, (n, *event)."""
    if isinstance(source, Distribution):
        return seeded(source, (n,), generator)
    return source.sample(n, generator=generator)


def log_density(density: Target, x: Tensor) -> Tensor:
    """Return the log-density of each row of `x` under a density or a plain function, (B,).

    A `torch.distributions.Distribution` has a support, outside of which this is minus infinity.

    Raises:
        TypeError: `density` is neither a function nor an object with `log_prob`.
        ValueError: it does not return one number per sample.
    """
    log_prob: Callable[[Tensor], Tensor] = getattr(density, "log_prob", density)  # type: ignore
    if not callable(log_prob):
        raise TypeError(
            f"a density must be a function or offer log_prob; got {type(density).__name__}; "
            "pass lambda x: ... of shape (B,), or an object with log_prob"
        )
    if isinstance(density, Distribution) and density.batch_shape == ():
        value = _supported(density, x)
    else:
        value = log_prob(x)
    if value.shape == x.shape[:1]:
        return value
    name = getattr(log_prob, "__qualname__", type(density).__name__)
    return validate.per_sample(name, value, x.shape[0])


def _supported(density: Distribution, x: Tensor) -> Tensor:
    """Return the log-density of rows, minus infinity where torch refuses to evaluate it."""
    try:
        return density.log_prob(x)
    except ValueError:
        inside = density.support.check(x)  # pyright: ignore[reportOptionalMemberAccess]
        if inside.shape != x.shape[:1] or bool(inside.all()):
            raise
        # Only rows inside are evaluated, so that the others have no part in a gradient.
        value = density.log_prob(x[inside])
        return value.new_full(inside.shape, -torch.inf).index_put((inside,), value)


@dataclass(frozen=True)
class Trajectory:
    """A batch of paths `x_0, ..., x_T` with their log-ratios; `x_0` is on the source side.

    Arguments:
        states: T+1 tensors (B, *event); event shapes may differ from state to state.
        log_ratio: (T, B), `log b(x_{t-1}|x_t) - log f(x_t|x_{t-1})` of each step.
        log_source: (B,), log-density of `x_0` under the source.
        base_measure: the name of the measure against which the source is a density; None if it is
            not known.
    """

    states: tuple[Tensor, ...]
    log_ratio: Tensor
    log_source: Tensor
    base_measure: str | None = None

    def log_evidence(self) -> Tensor:
        """Return `log source(x_0) - sum_t log_ratio_t`, shape (B,).

        Averaged over paths pulled from data x: `E[exp] = p(x)` and `E = ELBO(x)`.
        """
        return self.log_source - self.log_ratio.sum(0)

    def log_weight(self, target: Target) -> Tensor:
        """Return `log target(x_T) - log_evidence`, shape (B,).

        Averaged over paths pushed from the source: `E[exp] = Z` and `E <= log Z`.

        Arguments:
            target: an unnormalised log-density of the last state: a function (B, *event) -> (B,)
                or an object with `log_prob`.

        Raises:
            ValueError: source and target are densities against different measures, so that their
                quotient is no weight.
        """
        ours, theirs = self.base_measure, base_measure(target)
        if ours is not None and theirs is not None and ours != theirs:
            raise ValueError(
                f"source and target must be densities against one measure; got {ours} and "
                f"{theirs}; use a source on the target's own space, or add the logarithm of the "
                "quotient of the measures in a plain function"
            )
        return log_density(target, self.states[-1]) - self.log_evidence()

    def ledger(self) -> Tensor:
        """Return the running log-evidence after each step, (T+1, B): row 0 is `log_source`."""
        return torch.cat([self.log_source[None], self.log_source - self.log_ratio.cumsum(0)])


@dataclass(frozen=True)
class Chain:
    """A source and the steps that lead from it to the target.

    Light: it is built for one call, and the parameters live in the model that builds it.

    >>> from gentoolkit import Chain, FunctionKernel, Gaussian, log_z, standard_normal
    >>> step = FunctionKernel(lambda x: Gaussian(2 * x, 0.5), lambda y: Gaussian(0.4 * y, 0.3))
    >>> chain = Chain(standard_normal(2), [step])
    >>> paths = chain.push(1000, torch.Generator().manual_seed(0))
    >>> log_w = paths.log_weight(lambda x: -x.square().sum(1) / 8)  # Z = 8 pi
    >>> abs(float(log_z(log_w)) - 3.224) < 0.1
    True

    Shapes are checked at every step. Values are read twice, at the entry and at the end: if the
    end is not finite, the chain looks for the step that failed and names it.

    Arguments:
        source: a density, or a `torch.distributions.Distribution`.
        steps: from the source side to the target side; may be empty.

    Raises:
        TypeError: something among `steps` is not a Step.
    """

    source: Source
    steps: Sequence[Step] = ()

    def __post_init__(self) -> None:
        for t, step in enumerate(self.steps):
            if not isinstance(step, Step):
                raise TypeError(
                    f"steps[{t}] must be a Step; got {type(step).__name__}; "
                    "wrap two laws in FunctionKernel(f, b), or a map in a Bijection"
                )

    def push(self, n: int, generator: Generator | None = None) -> Trajectory:
        """Draw `n` paths from the source to the target.

        Raises:
            ValueError: `n` is below one, a state is not finite, or a ratio has a wrong shape.
        """
        x = draw(self.source, validate.positive_count("n", n), generator)
        return self._walk("push", x, generator)

    def pull(self, x: Tensor, generator: Generator | None = None) -> Trajectory:
        """Draw one path from each row of `x`, on the target side, back to the source.

        Arguments:
            x: data, (B, *event).

        Raises:
            ValueError: `x` is empty or not finite, a state is not finite, or a ratio has a wrong
                shape.
        """
        return self._walk("pull", validate.batch("x", x), generator)

    def replay(self, states: Sequence[Tensor]) -> Trajectory:
        """Score given states `x_0, ..., x_T` under this chain: buffers, off-policy data.

        Raises:
            ValueError: there are not T+1 states, one is empty or not finite, or their batch
                sizes differ.
        """
        if len(states) != len(self.steps) + 1:
            raise ValueError(
                f"a chain of {len(self.steps)} steps has {len(self.steps) + 1} states; got "
                f"{len(states)}; pass every state from x_0 to x_T"
            )
        sizes = [validate.batch(f"states[{t}]", x).shape[0] for t, x in enumerate(states)]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"all states must have one batch size; got {sizes}; pass rows of the same paths"
            )
        ratios = [
            validate.per_sample(f"log_ratio of steps[{t}]", step.log_ratio(x, y), sizes[0])
            for t, (step, x, y) in enumerate(zip(self.steps, states[:-1], states[1:], strict=True))
        ]
        return self._account("replay", list(states), ratios)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the exact log-density of `x`, (B,): only for a chain of Bijections.

        Raises:
            ValueError: some step is random, so the density is a sum over paths, or a step only
                estimates its log-determinant; the error names the step. `objectives.log_z` over
                several pulled paths gives an estimate.
        """
        for t, step in enumerate(self.steps):
            reason = step.why_no_density()
            if reason is not None:
                raise ValueError(
                    f"log_prob needs every step to be a Bijection, with exact log-determinants; "
                    f"got steps[{t}], {reason}"
                )
        return self.pull(x).log_evidence()

    def _walk(self, verb: str, x: Tensor, generator: Generator | None) -> Trajectory:
        """Run all steps from `x`, in the order of the verb, and keep their log-ratios."""
        push, n, count = verb == "push", x.shape[0], len(self.steps)
        order = list(range(count)) if push else list(range(count))[::-1]
        states, ratios = [x], []
        if not push and order:
            # Data from outside: the law that meets them first looks at their values.
            x, ratio = self.steps[-1].pull(x, generator)
            states.append(x)
            ratios.append(validate.per_sample(f"log_ratio of steps[{count - 1}].pull", ratio, n))
            del order[0]
        t = -1
        try:
            with validate.unread():
                for t in order:
                    step = self.steps[t]
                    x, ratio = step.push(x, generator) if push else step.pull(x, generator)
                    if ratio.shape != (n,):
                        validate.per_sample(f"log_ratio of steps[{t}].{verb}", ratio, n)
                    states.append(x)
                    ratios.append(ratio)
        except (RuntimeError, ValueError, IndexError):
            # A law that met values which nobody had looked at: let its own check say why.
            self._explain(t, verb, states[-1])
            raise
        return self._account(verb, *((states, ratios) if push else (states[::-1], ratios[::-1])))

    def _account(self, verb: str, states: list[Tensor], ratios: list[Tensor]) -> Trajectory:
        with validate.unread():
            log_source = log_density(self.source, states[0])
        # An empty chain has a (0, B) log_ratio that still follows the dtype of the source.
        log_ratio = torch.stack(ratios) if ratios else log_source.new_zeros(0, *log_source.shape)
        if validate.readable(log_ratio) and verb != "replay":
            end = states[-1] if verb == "push" else states[0]
            if not (validate.finite(end) and validate.finite(log_ratio)):
                self._find(verb, states, log_ratio)
        return Trajectory(tuple(states), log_ratio, log_source, base_measure(self.source))

    def _find(self, verb: str, states: list[Tensor], log_ratio: Tensor) -> None:
        """Name the first step, in the order of the verb, whose state or ratio is not a number.

        A ratio may be infinite, on pairs that one of the laws excludes; a map, and a step with
        `advice`, promise that their own never is.
        """
        order = range(len(self.steps)) if verb == "push" else range(len(self.steps))[::-1]
        for t in order:
            x, y = (states[t], states[t + 1]) if verb == "push" else (states[t + 1], states[t])
            step, ratio = self.steps[t], log_ratio[t]
            exact = isinstance(step, Bijection) or step.why_no_density() is None
            promised = exact or step.advice is not None
            broken = bool(ratio.isnan().any()) or (promised and bool(ratio.isinf().any()))
            if broken or not validate.finite(y):
                self._explain(t, verb, x)
                raise ValueError(
                    f"a path must stay finite; got NaN or infinity from steps[{t}].{verb}, a "
                    f"{type(step).__name__}; {step.advice or 'check the laws of this step'}"
                )

    def _explain(self, t: int, verb: str, x: Tensor) -> None:
        """Run a failed step again with every check on, so that the check that fails says why."""
        if torch.compiler.is_compiling() or not validate.readable(x):
            return
        step, generator = self.steps[t], torch.Generator(x.device).manual_seed(0)
        try:
            step.push(x, generator) if verb == "push" else step.pull(x, generator)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"steps[{t}].{verb}, a {type(step).__name__}, failed: {error}"
            ) from error
