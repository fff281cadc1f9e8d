"""The gradient of a log-density, by automatic differentiation."""

from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.core.chain import Target, log_density
from gentoolkit.numerics import value_and_gradient


def value_and_score(log_g: Target, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `log g(x)`, (B,), and its gradient in `x`, (B, *event).

    Where gradients are recorded, both stay differentiable in `x` and in the parameters of g, so a
    loss may reach through a whole path; under `torch.no_grad()` nothing is kept.

    Arguments:
        log_g: an unnormalised log-density, (B, *event) -> (B,), or an object with `log_prob`.
        x: states, (B, *event).
    """
    return value_and_gradient(lambda at: log_density(log_g, at), x)


def checked_size(name: str, value: Tensor | float, advice: str) -> None:
    """Raise unless a step size is one finite number above zero.

    Raises:
        ValueError: it is zero, negative, NaN, infinite, or not one number.
    """
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(
            f"{name} must be one number; got shape {tuple(value.shape)}; build a step for each"
        )
    if isinstance(value, Tensor) and not validate.readable(value):
        return
    number = float(value.detach() if isinstance(value, Tensor) else value)
    if not 0.0 < number < float("inf"):
        raise ValueError(f"{name} must be positive and finite; got {number}; {advice}")
