"""Lesson 19: guidance by two answers of one net, tilted densities, and a classifier of noise."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Like, Open

VARIANCE, SCALE = 0.5, 3
STEPS, FIRST, LAST = 25, 6, 20


def _gradient(log_of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    at = x.clone().requires_grad_()
    return torch.autograd.grad(log_of(at).sum(), at)[0]


def steered(
    net: Callable[..., Tensor],
    x: Tensor,
    t: Tensor,
    c: Tensor,
    d: Tensor,
    null: int,
    more: float,
    less: float,
) -> Tensor:
    """Add to the unconditional answer what c adds to it, and take away what d adds: (B, D)."""
    plain = net(x, t, torch.full_like(c, null))
    toward, away = net(x, t, c) - plain, net(x, t, d) - plain
    return plain + more * toward - less * away


def _log_laws(x: Tensor, t: Tensor) -> Tensor:
    """Give log-densities of three noised classes and, last, of their even mixture, (B, 4)."""
    centres = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.0, -2.0]])
    each = Normal(centres, (0.5 + t)[:, None, None]).log_prob(x[:, None]).sum(2)
    return torch.cat([each, each.logsumexp(1, keepdim=True) - math.log(3.0)], dim=1)


def _net(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    if not isinstance(labels, Tensor) or tuple(labels.shape) != (len(x),):
        raise ValueError("the net takes one label a state: a tensor of shape (B,)")
    return _gradient(lambda at: _log_laws(at, t).gather(1, labels[:, None]), x)


def _tilt(
    _: object, x: Tensor, t: Tensor, c: Tensor, d: Tensor, null: int, more: float, less: float
) -> Tensor:
    """Differentiate log p(x) + more log p(c|x) - less log p(d|x)."""

    def log_of(at: Tensor) -> Tensor:
        laws = _log_laws(at, t)
        log_c, log_d = ((laws.gather(1, k[:, None])[:, 0] - laws[:, null]) for k in (c, d))
        return laws[:, null] + more * log_c - less * log_d

    return _gradient(log_of, x)


ex19_1 = Exercise(
    steered,
    "Write the gradient of the logarithm: one score and two gradients of log-classifiers.",
    "Bayes' rule makes each classifier's gradient a difference of two scores of the net.",
    "The unconditional answer then occurs three times: once by itself, once with each class.",
    why="grad log p(c|x) is the conditional minus the unconditional score. So the unconditional "
    "one counts 1 - more + less times, and the three factors add up to one.",
    cases=lambda: [
        (
            _net,
            torch.arange(12.0).sin().reshape(6, 2),
            torch.arange(6.0) / 6,
            torch.arange(6) % 3,
            (torch.arange(6) + 1) % 3,
            3,
            more,
            less,
        )
        for more, less in ((0.0, 0.0), (1.0, 0.0), (2.5, 0.0), (2.5, 1.5))
    ],
    oracle=_tilt,
    right="it is the gradient of log p(x) p(c|x)**more / p(d|x)**less at four pairs of scales.",
    wrong={
        "- less * away -> + less * away": "class d attracts; it should repel.",
        "net(x, t, d) - plain -> net(x, t, d)": "p(d|x) is a classifier: its gradient is the "
        "difference of two scores, not the score of class d.",
        "net(x, t, c) - plain -> net(x, t, c); net(x, t, d) - plain -> net(x, t, d)": "each "
        "classifier's gradient is a difference of two scores: take the unconditional one away.",
        "- less * away -> - less * (net(x, t, d) - net(x, t, c))": "d is compared with c; Bayes' "
        "rule compares each class with the law of all images.",
        "return plain + more * toward -> return plain + toward + more * toward": "more = 1 and "
        "less = 0 should give the conditional net; yours counts from there on, as the papers' "
        "weight does.",
        Like(
            "- less * away ->", lambda *all_four: torch.equal(all_four[2], all_four[3])
        ): "your answer does not depend on d.",
        Like(
            "return plain + more -> return more",
            lambda zero, *_: zero.abs().max() < 1e-8,
        ): "with both scales 0 the unconditional net should be left; yours is zero there.",
    },
    otherwise="the factors of the three answers should add up to one; ask for c, d and null.",
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
        1.729: "That is what the guided flow gives; it does not draw from the tilted density.",
        1.0: "That is the mean of the class, scale 1; higher powers leave less of the doubt.",
        1.2297: "The class is counted once too often: p(x), not p(x|+), is multiplied "
        "by the power.",
        1.1306: "The class is counted once too rarely.",
        3.0: "The scale multiplies the class's pull, not its mean.",
    },
    otherwise="p(+|x) is a sigmoid here. Normalise p(x) p(+|x)**3 on a grid, then average x.",
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


def _counted() -> float:
    """Walk through the steps and count what the net is handed."""
    images = 0
    for step in range(1, STEPS + 1):
        evaluations = 1 if step == STEPS else 2
        images += evaluations * (2 if FIRST <= step <= LAST else 1)
    return float(images)


ex19_4 = Exercise(
    "2 * 25 - 1 + 2 * (20 - 6 + 1)",
    "How many evaluations would the sampler need without guidance?",
    "A guided evaluation hands the net two images in place of one.",
    "The steps from 6 to 20 are 15 steps.",
    why="There are 2 * 25 - 1 = 49 evaluations; 30 of them, two in each of 15 steps, are doubled.",
    oracle=_counted,
    atol=0.1,
    right="{truth:g}: guiding in this window costs 61 % more than no guidance, not twice as much.",
    wrong={
        98: "That guides in every step; the window has 15 of them.",
        49: "A guided evaluation counts two.",
        64: "Both evaluations of a guided step are guided.",
        77: "From 6 to 20, both included, are 15 steps.",
        80: "The last step needs one evaluation only.",
        60: "Outside of the window the net is called as well, once an evaluation.",
    },
    otherwise="Add up: evaluations of all steps, and once more those of the guided steps.",
)


ex19_5 = Open(
    "The five numbers of section 8 are candidates. Which of them still change between 8 and 20?",
    "A number is useful if it moves by more than its spread over seeds, and in one direction.",
    "Print ink, variety and the share of pixels that are clipped at 0 or 1, for scales 1, 4, 10 "
    "and 20, with three seeds each.",
    answer="The variety goes first. At scale 4 it has fallen from 0.9 to 0.4 of real digits, and "
    "beyond that it hardly changes: 0.31 at 10, 0.34 at 20 (three seeds, 100 images each). So "
    "variety cannot warn of what happens next. The share of pixels that the sampler puts "
    "outside of the range from white to black (by more than 2 %) can: 19 % at scale 1, 48 % "
    "at 4, 69 % at 10 and 78 % at 20, with a spread of at most 5 % over seeds. Ink behaves "
    "alike, 13.2, 17.0, 19.8 and 21.9 %. The classifier warns of nothing: it still sees 98 % "
    "of the images at scale 20 as what was asked for. The strokes become bold blots, but "
    "blots of the right class.",
)
