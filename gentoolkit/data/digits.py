"""The small digits: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels.

scikit-learn is loaded with the first digits: it takes longer to load than many a lesson's picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from gentoolkit.core import validate


@dataclass(frozen=True)
class Digits:
    """Images and their classes, split into a part to learn from and a part to test on.

    Arguments:
        train: (N, pixels) images: (1500, 64), or (4000, 784) of `mnist`.
        test: (M, pixels) images: (297, 64), or (1000, 784) of `mnist`.
        train_labels: (N,) classes 0..9.
        test_labels: (M,) classes 0..9.
    """

    train: Tensor
    test: Tensor
    train_labels: Tensor
    test_labels: Tensor


def digits(*, binary: bool = True, seed: int = 0) -> Digits:
    """Load the digits from scikit-learn's own copy; nothing is downloaded.

    Arguments:
        binary: black and white, pixel = 1 where the ink is at least half (8 of 16); otherwise the
            ink in [0, 1].
        seed: of the shuffle that splits 1,500 training images from 297 test images.

    Returns:
        Images as rows of 64 pixels in torch's default dtype, with their classes.

    Reference: Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    ink = torch.as_tensor(images) / 16.0
    x = ((ink >= 0.5) if binary else ink).to(torch.get_default_dtype())
    y = torch.as_tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, test = order[:1500], order[1500:]
    return Digits(x[train], x[test], y[train], y[test])


def batches(
    x: Tensor,
    size: int,
    steps: int,
    *,
    context: Tensor | None = None,
    generator: Generator | None = None,
) -> Iterator[Any]:
    """Yield `steps` batches of `size` rows of `x`, reshuffled each time the data runs out.

    Arguments:
        x: data, (N, *event).
        size: rows of a batch, at most N.
        steps: how many batches.
        context: what each row is conditioned on, (N, ...): batches are then pairs.
        generator: source of randomness.

    Raises:
        ValueError: the data is empty or not finite, `size` exceeds N, or `context` has another
            number of rows.

    >>> [tuple(batch.shape) for batch in batches(torch.zeros(10, 3), 4, 2)]
    [(4, 3), (4, 3)]
    """
    n = validate.batch("x", x).shape[0]
    if validate.positive_count("size", size) > n:
        raise ValueError(f"a batch cannot exceed the data; got size {size} of {n} rows; lower it")
    if context is not None and len(context) != n:
        raise ValueError(
            f"context needs one row for each of the {n} data; got {len(context)}; pass both whole"
        )
    return _batches(x, size, validate.positive_count("steps", steps), context, generator)


def _batches(
    x: Tensor, size: int, steps: int, context: Tensor | None, generator: Generator | None
) -> Iterator[Any]:
    order, used = torch.empty(0, dtype=torch.long), 0
    for _ in range(steps):
        if used + size > len(order):
            order, used = torch.randperm(len(x), generator=generator), 0
        rows = order[used : used + size]
        yield x[rows] if context is None else (x[rows], context[rows])
        used += size
