"""Sampling and scoring a batch of laws, against torch.distributions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import distributions as D

from gentoolkit import Bernoulli, Categorical, Gaussian
from tests.benchmarks.timing import Race


def _draw_and_score(make: Callable[[], Any], sample: str) -> Callable[[], object]:
    def call():
        law = make()
        return law.log_prob(getattr(law, sample)())

    return call


def _race(title: str, ours: Callable[[], Any], theirs: Callable[[bool], Any], draw: str) -> Race:
    return Race(
        title,
        [
            ("gentoolkit", _draw_and_score(ours, "sample")),
            ("torch.distributions", _draw_and_score(lambda: theirs(True), draw)),
            ("torch.distributions, unchecked", _draw_and_score(lambda: theirs(False), draw)),
        ],
    )


def races() -> list[Race]:
    """Build, sample and score 128 rows, as one step of a small model does."""
    torch.manual_seed(0)
    mean, std = torch.randn(128, 2), torch.rand(128, 2) + 0.5
    pixels, classes = torch.randn(128, 64), torch.randn(128, 8, 10)
    return [
        _race(
            "Gaussian 128 x 2",
            lambda: Gaussian(mean, std),
            lambda check: D.Independent(
                D.Normal(mean, std, validate_args=check), 1, validate_args=check
            ),
            "rsample",
        ),
        _race(
            "Bernoulli 128 x 64",
            lambda: Bernoulli(pixels),
            lambda check: D.Independent(
                D.Bernoulli(logits=pixels, validate_args=check), 1, validate_args=check
            ),
            "sample",
        ),
        _race(
            "Categorical 128 x 8 of 10",
            lambda: Categorical(classes),
            lambda check: D.Independent(
                D.Categorical(logits=classes, validate_args=check), 1, validate_args=check
            ),
            "sample",
        ),
    ]
