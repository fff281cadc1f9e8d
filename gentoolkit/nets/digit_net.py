"""A small classifier of images of digits, whose features measure samples."""

from torch import Tensor, nn


class DigitNet(nn.Module):
    """Four convolutions and two layers: from ink (B, 1, 28, 28) in [0, 1] to ten logits.

    Reference: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document
    recognition, Proceedings of the IEEE.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * 4 * 4, 64),
        )
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))

    def features(self, ink: Tensor) -> Tensor:
        """Return the 64 numbers before the last layer, (B, 64)."""
        return self.body(ink)

    def forward(self, ink: Tensor) -> Tensor:
        """Return logits, (B, 10)."""
        return self.last(self.body(ink))
