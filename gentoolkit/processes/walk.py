"""The walk back: states from noise to data along falling times, one after another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.core import validate

Advance = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""One step: (x, i) -> what the model tells at `x`, the state at entry i + 1 of the times."""


@dataclass(frozen=True)
class State:
    """What a walk yields at each time.

    Arguments:
        time: of the state; data at 0.
        x: (B, *event).
        estimate: what the model told at `x`: of points the data, (B, *event), of tokens the law of
            each at the next time, (B, D, C). At the last time, where it is not asked again, what
            led there.
        calls: how often the model was asked to reach `x`, whatever the size of the batch.
    """

    time: float
    x: Tensor
    estimate: Tensor
    calls: int = 0


class Counted:
    """A function, usually a net, that counts how often it is asked."""

    def __init__(self, f: Callable[..., Tensor]) -> None:
        self.f = f
        self.calls = 0

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Return the function's value."""
        self.calls += 1
        return self.f(*arguments)


def walk(
    advance: Advance, x: Tensor, times: Sequence[float], counted: Counted | None = None
) -> Iterator[State]:
    """Yield the state at each of `times`, the first of which holds `x`. No gradient is kept.

    A state comes with what its step reads, so it is yielded once that step is made.

    Arguments:
        advance: one step.
        x: states at the first time, (B, *event).
        times: falling, (T+1,), as plain numbers.
        counted: what the steps ask; without it every step counts as one call.

    Raises:
        ValueError: the last state is not finite.
    """
    estimate, calls = x, 0
    for i, time in enumerate(times[:-1]):
        with torch.no_grad():
            estimate, following = advance(x, i)
        yield State(time, x, estimate, calls)
        x, calls = following, i + 1 if counted is None else counted.calls
    yield State(times[-1], validate.batch("the last state", x), estimate, calls)
