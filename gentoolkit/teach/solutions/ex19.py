"""Lesson 19: guidance by two answers of one net, tilted densities, and a classifier of noise."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Normal

from gentoolkit.teach.exercise import Exercise, Verdict, as_tensor, close, not_yet, passed

VARIANCE, SCALE, WEIGHT = 0.5, 4, 3
FLOW = 1.962  # what the guided probability flow gives at this scale, by a fine solver


def guided(
    net: Callable[..., Tensor], x: Tensor, t: Tensor, label: Tensor, null: int, scale: float
) -> Tensor:
    """Go from the unconditional answer towards the conditional one, and on: (B, D)."""
    wanted, plain = net(x, t, label), net(x, t, torch.full_like(label, null))
    return plain + scale * (wanted - plain)


def _mixed(rule: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[..., Tensor]:
    def variant(
        net: Callable[..., Tensor], x: Tensor, t: Tensor, label: Tensor, null: int, scale: float
    ) -> Tensor:
        return rule(net(x, t, label), net(x, t, torch.full_like(label, null)), scale)

    return variant


CENTRES = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.0, -2.0]], dtype=torch.float64)


def _log_laws(x: Tensor, t: Tensor) -> Tensor:
    """Give log-densities of three noised classes and, last, of their even mixture, (B, 4)."""
    std = (0.5 + t)[:, None, None]
    each = Normal(CENTRES, std).log_prob(x[:, None]).sum(2)
    return torch.cat([each, each.logsumexp(1, keepdim=True) - math.log(3.0)], dim=1)


def _gradient(log_of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    at = x.clone().requires_grad_()
    return torch.autograd.grad(log_of(at).sum(), at)[0]


def _judge_guided(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    t = torch.rand(6, generator=generator, dtype=torch.float64)
    label, null = torch.tensor([0, 1, 2, 2, 1, 0]), 3

    def net(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        if not isinstance(labels, Tensor) or tuple(labels.shape) != (len(x),):
            raise ValueError("the net takes one label a state: a tensor of shape (B,)")
        rows = labels[:, None]
        return _gradient(lambda at: _log_laws(at, t).gather(1, rows), x)

    def tilted(power: float) -> Tensor:
        def log_of(at: Tensor) -> Tensor:
            laws = _log_laws(at, t)
            ratio = laws.gather(1, label[:, None])[:, 0] - laws[:, 3]  # log p(y|x) + log 3
            return laws[:, 3] + power * ratio

        return _gradient(log_of, x)

    given = {
        scale: as_tensor(answer(net, x, t, label, null, scale), (6, 2)) for scale in (0.0, 1.0, 2.5)
    }

    def gives(power_of: Callable[[float], float]) -> bool:
        return all(torch.allclose(g, tilted(power_of(s)), atol=1e-8) for s, g in given.items())

    if gives(lambda s: s):
        return passed("at scales 0, 1 and 2.5 it is the gradient of log p(x) p(y|x)**scale.")
    if gives(lambda s: s + 1):
        return not_yet("scale 1 should give the conditional net; yours counts from there on: w.")
    if gives(lambda s: 1 - s):
        return not_yet("the wrong way round: scale 1 gives the unconditional net.")
    if gives(lambda s: 2 - s):
        return not_yet("scale 1 is right, but stronger scales lead away from the class.")
    if gives(lambda s: 1.0):
        return not_yet("your answer does not depend on the scale.")
    if given[0.0].abs().max() < 1e-8:
        return not_yet("at scale 0 your score is zero; the unconditional net should be left.")
    return not_yet("the factors of the two answers should sum to 1; ask for label and for null.")


def tilted_mean() -> float:
    """Average x under N(1, v) p(+|x)**(scale - 1), to which the tilted density is proportional."""
    x = torch.linspace(-5.0, 7.0, 4001, dtype=torch.float64)
    log_p = -((x - 1.0) ** 2) / (2 * VARIANCE)
    weight = (log_p + (SCALE - 1) * torch.nn.functional.logsigmoid(2 * x / VARIANCE)).softmax(0)
    return float((weight * x).sum())


def _tilted_by_sums(power: float) -> float:
    """Sum p(x) p(+|x)**power in plain Python, by Bayes' rule from the two bumps."""
    top = bottom = 0.0
    for i in range(-3000, 3001):
        x = 0.002 * i
        plus, minus = (math.exp(-((x - c) ** 2) / (2 * VARIANCE)) for c in (1.0, -1.0))
        weight = (plus + minus) * (plus / (plus + minus)) ** power
        top, bottom = top + weight * x, bottom + weight
    return top / bottom


def _judge_tilted(answer: object) -> Verdict:
    truth = _tilted_by_sums(SCALE)
    return close(
        answer,
        truth=truth,
        atol=3e-3,
        right=f"{truth:.3f}: the tilt only cuts the side where the class is in doubt.",
        wrong={
            FLOW: "That is what the guided flow gives; it does not draw from the tilted density.",
            1.0: "That is the mean of the class, scale 1; higher powers leave less of the doubt.",
            _tilted_by_sums(SCALE + 1): "The class is counted once too often: p(x), not p(x|+), "
            "is multiplied by the power.",
            _tilted_by_sums(SCALE - 1): "The class is counted once too rarely.",
            float(SCALE): "The scale multiplies the class's pull, not its mean.",
        },
        otherwise="p(+|x) is a sigmoid here. Normalise p(x) p(+|x)**4 on a grid, then average x.",
    )


def class_gradient(x: Tensor, a: float, s: float) -> Tensor:
    """Differentiate the log of the sigmoid of 2 a x / v: x (N,) -> (N,)."""
    v = a**2 * VARIANCE + s**2
    return 2 * a / v * (1 - torch.sigmoid(2 * a * x / v))


def _gradient_with(
    variance: Callable[[float, float], float] = lambda a, s: a * a * VARIANCE + s * s,
    doubt: bool = True,
    factor: float = 2.0,
    shrink: bool = True,
) -> Callable[..., Tensor]:
    def variant(x: Tensor, a: float, s: float) -> Tensor:
        m, v = (a if shrink else 1.0), variance(a, s)
        return (
            factor * m / v * ((1 - torch.sigmoid(2 * m * x / v)) if doubt else x.new_ones(x.shape))
        )

    return variant


def _log_class(at: Tensor, a: float, s: float) -> Tensor:
    """Give log p_t(+|x) from classes that are noised by summing over many clean x0."""
    u = torch.linspace(-8.0, 8.0, 1601, dtype=torch.float64)
    weight = (-0.5 * u**2).log_softmax(0)
    plus, minus = (
        (Normal(a * (c + math.sqrt(VARIANCE) * u), s).log_prob(at[:, None]) + weight).logsumexp(1)
        for c in (1.0, -1.0)
    )
    return plus - torch.logaddexp(plus, minus)


def _judge_gradient(answer: Callable[..., object]) -> Verdict:
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    worst = None
    for a, s in ((0.9, 0.43589), (0.5, 0.86603), (0.9998, 0.02)):
        given = as_tensor(answer(x, a, s), (9,))
        truth = _gradient(partial(_log_class, a=a, s=s), x)
        if worst is None and not torch.allclose(given, truth, atol=1e-5):
            worst = a, s, given, truth
    if worst is None:
        return passed("integration over the clean x0 and automatic differentiation agree.")
    a, s, given, truth = worst
    start = f"at a = {a}, s = {s:.3f}, x = -2 it is {float(truth[0]):.3f}, and yours "
    start += f"{float(given[0]):.3f}: "
    if torch.allclose(given, 2 * truth, atol=1e-5) or torch.allclose(2 * given, truth, atol=1e-5):
        return not_yet(start + "off by a factor 2; the two classes lie 2 a apart.")
    if torch.allclose(given, -truth, atol=1e-5):
        return not_yet(start + "the sign: it should point to the class +.")
    if bool((given[0] - given).abs().max() < 1e-8):
        return not_yet(start + "it never fades; far inside the class its log is flat.")
    for known, said in (
        (
            _gradient_with(lambda a, s: VARIANCE),
            "the classes' variance is the clean one; noise widens them.",
        ),
        (_gradient_with(shrink=False), "the noised means are a and -a, not 1 and -1."),
        (_gradient_with(lambda a, s: a * VARIANCE + s), "add variances, with the squares of a, s."),
    ):
        if torch.allclose(given, known(x, a, s), atol=1e-5):
            return not_yet(start + said)
    return not_yet(start + "write log p_t(+|x) as a log sigmoid, then differentiate it.")


def scale_of_weight() -> int:
    """Compare the factors of the conditional answer."""
    return WEIGHT + 1


def _judge_scale(answer: object) -> Verdict:
    # Let the answers be 1 (with the class) and 0 (without): the result is the factor itself.
    truth = (1 + WEIGHT) * 1.0 - WEIGHT * 0.0
    return close(
        answer,
        truth=truth,
        atol=1e-6,
        right=f"{truth:g}: both write one line; w counts from the conditional answer, scale from "
        "the unconditional one.",
        wrong={
            float(WEIGHT): "At w = 0 the paper has the conditional net; which scale is that here?",
            float(WEIGHT - 1): "The other direction: the paper's weight is the smaller number.",
            float(-WEIGHT): "That is the factor of the unconditional answer.",
        },
        otherwise="Write both as (factor) cond + (factor) uncond; both pairs of factors sum to 1.",
    )


EXERCISES = (
    Exercise(
        name="ex19_1",
        ask="Write guided(net, x, t, label, null, scale): classifier-free guidance. net(x, t, "
        "labels) takes states (B, D), times (B,) and labels (B,) and gives (B, D); label is (B,), "
        "null is the number of the class that stands for no label. Scale 1 is the conditional "
        "net, scale 0 the unconditional one. It returns (B, D).",
        judge=_judge_guided,
        hints=(
            "Ask the net twice at the same x and t: with the labels, and with the null class.",
            "torch.full_like(label, null) makes the second row of labels.",
            "Start at the unconditional answer and go `scale` times the way to the other one.",
        ),
        solution=guided,
        why="The difference of both answers is the classifier's gradient that the net holds; the "
        "scale multiplies it.",
        wrong=(
            (_mixed(lambda c, u, s: (1 + s) * c - s * u), "counts from there on"),
            (_mixed(lambda c, u, s: s * u + (1 - s) * c), "gives the unconditional"),
            (_mixed(lambda c, u, s: s * u + (2 - s) * c - u), "lead away"),
            (_mixed(lambda c, u, s: s * c), "score is zero"),
            (_mixed(lambda c, u, s: c), "does not depend"),
        ),
        code=True,
    ),
    Exercise(
        name="ex19_2",
        ask=f"Two classes N(1, {VARIANCE}) and N(-1, {VARIANCE}) of equal weight ({VARIANCE} is "
        f"the variance). What is the mean of the tilted density p(x) p(+|x)**{SCALE}, normalised? "
        "Three digits.",
        judge=_judge_tilted,
        hints=(
            "By Bayes' rule p(+|x) is a sigmoid of a multiple of x.",
            "p(x) p(+|x) is the class itself, so one power of the sigmoid goes into N(1, v).",
            "No closed form is needed: weights on a fine grid, normalised, times x.",
        ),
        solution=tilted_mean,
        why="Where the class is certain the tilt is flat and changes nothing, so the mean moves "
        "little. A guided sampler goes much further: it is not this density.",
        wrong=(
            (1.962, "the guided flow gives"),
            (1.0, "the mean of the class"),
            (1.2594, "once too often"),
            (4.0, "not its mean"),
        ),
    ),
    Exercise(
        name="ex19_3",
        ask=f"The classes N(1, {VARIANCE}) and N(-1, {VARIANCE}), of equal weight, are noised to "
        "x = a x0 + s e. Write class_gradient(x, a, s): the gradient in x of log p_t(+|x), at x "
        "of shape (N,), for numbers a and s (a deviation). It returns (N,).",
        judge=_judge_gradient,
        hints=(
            "Each noised class is normal again: what are its mean and its variance?",
            "The log-ratio of both classes is linear in x, and p(+|x) is its sigmoid.",
            "The derivative of log sigmoid(k x) is k (1 - sigmoid(k x)).",
        ),
        solution=class_gradient,
        why="The noised classes have means a and -a and one variance v = a**2 0.5 + s**2; their "
        "log-ratio is 2 a x / v. A classifier must be trained on noised x to know this.",
        wrong=(
            (_gradient_with(lambda a, s: VARIANCE), "variance is the clean one"),
            (_gradient_with(doubt=False), "never fades"),
            (_gradient_with(factor=1.0), "factor 2"),
            (_gradient_with(shrink=False), "not 1 and -1"),
            (_gradient_with(factor=-2.0), "the sign"),
        ),
        code=True,
    ),
    Exercise(
        name="ex19_4",
        ask=f"A paper writes guided = (1 + w) cond - w uncond and uses w = {WEIGHT}. Which scale "
        "is that here, where scale 1 is the conditional model?",
        judge=_judge_scale,
        hints=(
            "What does the paper's formula give at w = 0?",
            "Here guided = scale cond + (1 - scale) uncond.",
            "Compare what multiplies cond in both.",
        ),
        solution=scale_of_weight,
        why="1 + w multiplies the conditional answer there, scale does here.",
        wrong=((3, "At w = 0"), (2, "other direction"), (-3, "factor of the unconditional")),
    ),
)
