"""Lesson 19: guidance by two answers of one net, tilted densities, and a classifier of noise."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Like

VARIANCE, SCALE, WEIGHT = 0.5, 4, 3


def _gradient(log_of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    at = x.clone().requires_grad_()
    return torch.autograd.grad(log_of(at).sum(), at)[0]


def guided(
    net: Callable[..., Tensor], x: Tensor, t: Tensor, label: Tensor, null: int, scale: float
) -> Tensor:
    """Go from the unconditional answer towards the conditional one, and on: (B, D)."""
    wanted, plain = net(x, t, label), net(x, t, torch.full_like(label, null))
    return plain + scale * (wanted - plain)


def _log_laws(x: Tensor, t: Tensor) -> Tensor:
    """Give log-densities of three noised classes and, last, of their even mixture, (B, 4)."""
    centres = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.0, -2.0]])
    each = Normal(centres, (0.5 + t)[:, None, None]).log_prob(x[:, None]).sum(2)
    return torch.cat([each, each.logsumexp(1, keepdim=True) - math.log(3.0)], dim=1)


def _net(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    if not isinstance(labels, Tensor) or tuple(labels.shape) != (len(x),):
        raise ValueError("the net takes one label a state: a tensor of shape (B,)")
    return _gradient(lambda at: _log_laws(at, t).gather(1, labels[:, None]), x)


def _tilt(_: object, x: Tensor, t: Tensor, label: Tensor, null: int, scale: float) -> Tensor:
    """Differentiate log p(x) p(y|x)**scale."""

    def log_of(at: Tensor) -> Tensor:
        laws = _log_laws(at, t)
        return laws[:, null] + scale * (laws.gather(1, label[:, None])[:, 0] - laws[:, null])

    return _gradient(log_of, x)


ex19_1 = Exercise(
    guided,
    "Ask the net twice at the same x and t: with the labels, and with the null class.",
    "torch.full_like(label, null) makes the second row of labels.",
    "Start at the unconditional answer and go `scale` times the way to the other one.",
    why="The difference of both answers is the classifier's gradient that the net holds; the "
    "scale multiplies it.",
    cases=lambda: [
        (
            _net,
            torch.arange(12.0).sin().reshape(6, 2),
            torch.arange(6.0) / 6,
            torch.arange(6) % 3,
            3,
            scale,
        )
        for scale in (0.0, 1.0, 2.5)
    ],
    oracle=_tilt,
    right="at scales 0, 1 and 2.5 it is the gradient of log p(x) p(y|x)**scale.",
    wrong={
        "return plain -> return wanted": "scale 1 should give the conditional net; yours counts "
        "from there on: w.",
        "scale * -> (1 - scale) *": "the wrong way round: scale 1 gives the unconditional net.",
        "scale * -> (2 - scale) *": "scale 1 is right, but stronger scales lead "
        "away from the class.",
        Like("scale * ->", lambda zero, one, more: torch.equal(zero, more)): "your answer does not "
        "depend on the scale.",
        Like(
            "plain + scale * (wanted - plain) -> scale * wanted",
            lambda zero, one, more: zero.abs().max() < 1e-8,
        ): "at scale 0 your score is zero; the unconditional net should be left.",
    },
    otherwise="the factors of the two answers should sum to 1; ask for label and for null.",
)


def tilted_mean() -> float:
    """Average x under N(1, v) p(+|x)**(scale - 1), to which the tilted density is proportional."""
    x = torch.linspace(-5.0, 7.0, 4001, dtype=torch.float64)
    log_p = -((x - 1.0) ** 2) / (2 * VARIANCE)
    weight = (log_p + (SCALE - 1) * torch.nn.functional.logsigmoid(2 * x / VARIANCE)).softmax(0)
    return float((weight * x).sum())


def _by_sums() -> float:
    """Sum p(x) p(+|x)**SCALE, by Bayes' rule from the two bumps."""
    x = torch.linspace(-6.0, 6.0, 6001)
    plus, minus = (Normal(c, math.sqrt(VARIANCE)).log_prob(x).exp() for c in (1.0, -1.0))
    weight = (plus + minus) * (plus / (plus + minus)) ** SCALE
    return float((weight * x).sum() / weight.sum())


ex19_2 = Exercise(
    tilted_mean,
    "By Bayes' rule p(+|x) is a sigmoid of a multiple of x.",
    "p(x) p(+|x) is the class itself, so one power of the sigmoid goes into N(1, v).",
    "No closed form is needed: weights on a fine grid, normalised, times x.",
    why="Where the class is certain the tilt is flat and changes nothing, so the mean moves "
    "little. A guided sampler goes much further: it is not this density.",
    oracle=_by_sums,
    atol=3e-3,
    right="{truth:.3f}: the tilt only cuts the side where the class is in doubt.",
    wrong={
        1.962: "That is what the guided flow gives; it does not draw from the tilted density.",
        1.0: "That is the mean of the class, scale 1; higher powers leave less of the doubt.",
        1.2594: "The class is counted once too often: p(x), not p(x|+), is multiplied "
        "by the power.",
        1.1904: "The class is counted once too rarely.",
        4.0: "The scale multiplies the class's pull, not its mean.",
    },
    otherwise="p(+|x) is a sigmoid here. Normalise p(x) p(+|x)**4 on a grid, then average x.",
)


def class_gradient(x: Tensor, a: float, s: float) -> Tensor:
    """Differentiate the log of the sigmoid of 2 a x / v: x (N,) -> (N,)."""
    v = a**2 * VARIANCE + s**2
    return 2 * a / v * (1 - torch.sigmoid(2 * a * x / v))


def _noised_by_sums(x: Tensor, a: float, s: float) -> Tensor:
    """Differentiate log p_t(+|x) of classes that are noised by summing over many clean x0."""
    u = torch.linspace(-8.0, 8.0, 1601)
    weight = (-0.5 * u**2).log_softmax(0)

    def log_class(at: Tensor) -> Tensor:
        clean = (c + math.sqrt(VARIANCE) * u for c in (1.0, -1.0))
        laws = [(Normal(a * x0, s).log_prob(at[:, None]) + weight).logsumexp(1) for x0 in clean]
        return laws[0] - torch.logaddexp(*laws)

    return _gradient(log_class, x)


ex19_3 = Exercise(
    class_gradient,
    "Each noised class is normal again: what are its mean and its variance?",
    "The log-ratio of both classes is linear in x, and p(+|x) is its sigmoid.",
    "The derivative of log sigmoid(k x) is k (1 - sigmoid(k x)).",
    why="The noised classes have means a and -a and one variance v = a**2 0.5 + s**2; their "
    "log-ratio is 2 a x / v. A classifier must be trained on noised x to know this.",
    cases=lambda: [
        (torch.linspace(-2.0, 2.0, 9), a, s)
        for a, s in ((0.9, 0.43589), (0.5, 0.86603), (0.9998, 0.02))
    ],
    oracle=_noised_by_sums,
    atol=1e-5,
    right="integration over the clean x0 and automatic differentiation agree.",
    wrong={
        "return 2 * -> return": "off by a factor 2; the two classes lie 2 a apart.",
        "return 2 -> return -2": "the sign: it should point to the class +.",
        Like(
            "(1 - torch.sigmoid(2 * a * x / v)) -> x**0",
            lambda first, *_: (first - first[0]).abs().max() < 1e-8,
        ): "it never fades; far inside the class its log is flat.",
        "a**2 * VARIANCE + s**2 -> VARIANCE": "the classes' variance is the clean one; noise "
        "widens them.",
        "2 * a -> 2": "the noised means are a and -a, not 1 and -1.",
        "a**2 * VARIANCE + s**2 -> a * VARIANCE + s": "add variances, with the squares of a, s.",
    },
    otherwise="write log p_t(+|x) as a log sigmoid, then differentiate it.",
)


ex19_4 = Exercise(
    "3 + 1",
    "What does the paper's formula give at w = 0?",
    "Here guided = scale cond + (1 - scale) uncond.",
    "Compare what multiplies cond in both.",
    why="1 + w multiplies the conditional answer there, scale does here.",
    oracle=lambda: (1 + WEIGHT) * 1.0 - WEIGHT * 0.0,  # cond 1 and uncond 0: the factor itself
    right="{truth:g}: both write one line; w counts from the conditional answer, scale from the "
    "unconditional one.",
    wrong={
        3: "At w = 0 the paper has the conditional net; which scale is that here?",
        2: "The other direction: the paper's weight is the smaller number.",
        -3: "That is the factor of the unconditional answer.",
    },
    otherwise="Write both as (factor) cond + (factor) uncond; both pairs of factors sum to 1.",
)
