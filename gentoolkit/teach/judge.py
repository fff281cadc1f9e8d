"""A judge of drawn digits: what a classifier sees, and how far its features lie from real ones."""

from pathlib import Path

import torch
from torch import Tensor

from gentoolkit.data import mnist
from gentoolkit.metrics import frechet_distance
from gentoolkit.nets import DigitNet
from gentoolkit.teach.weights import FOLDER, read_weights


class DigitJudge:
    """A small convolutional classifier of real digits, for samples of 28 x 28 pixels.

    Arguments:
        path: of its weights; the shipped ones if left out.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.net = DigitNet().float().eval()
        read_weights(self.net, path or FOLDER / "mnist_classifier.safetensors")
        self._real: Tensor | None = None

    @torch.no_grad()
    def logits(self, ink: Tensor) -> Tensor:
        """Return logits of the ten classes for ink in [0, 1], any shape of 784 pixels, (B, 10)."""
        return torch.cat([self.net(part) for part in self._images(ink)])

    @torch.no_grad()
    def features(self, ink: Tensor) -> Tensor:
        """Return the 64 numbers that the classifier's last layer reads, (B, 64)."""
        return torch.cat([self.net.features(part) for part in self._images(ink)])

    def share(self, ink: Tensor, label: Tensor) -> float:
        """Return the share of the images that are seen as their `label`, (B,)."""
        return float((self.logits(ink).argmax(1) == label).double().mean())

    def variety(self, ink: Tensor, label: Tensor) -> float:
        """Return the spread of the features inside a class beside that of the 1,000 test images.

        The spread is the trace of the covariance, averaged over the classes that occur. 1 is that
        of real digits: above it samples vary more, below it less.
        """
        data, wanted = mnist(), label.unique()
        kept = torch.isin(data.test_labels, wanted)
        real = _spread(self.features(data.test[kept]), data.test_labels[kept])
        return _spread(self.features(ink), label) / real

    def distance(self, ink: Tensor) -> float:
        """Return the Fréchet distance of the features from those of the 4,000 training images.

        It is the FID of the literature, with this classifier in place of a large one. It falls
        with the number of images, so compare equally many; real test images are the yardstick.
        """
        if self._real is None:
            self._real = self.features(mnist().train)
        return float(frechet_distance(self.features(ink), self._real))

    def _images(self, ink: Tensor) -> tuple[Tensor, ...]:
        return ink.detach().float().reshape(-1, 1, 28, 28).split(500)


def _spread(features: Tensor, label: Tensor) -> float:
    each = [features[label == k].var(0).sum() for k in label.unique()]
    return float(torch.stack(each).mean())
