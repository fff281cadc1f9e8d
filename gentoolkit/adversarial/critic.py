"""A critic: a network that gives one number for each row."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from gentoolkit.core import validate
from gentoolkit.nets import MLP


class Critic(nn.Module):
    """A network that looks at rows and says how real each seems, (N, features) -> (N,).

    Arguments:
        features: width of a row.
        hidden: widths of the hidden layers.
        activation: makes the nonlinearity between layers.

    >>> import torch
    >>> Critic(2)(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.net = MLP(validate.positive_count("features", features), 1, hidden, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return one number for each row of `x` (N, features), shape (N,)."""
        return self.net(x).squeeze(-1)
