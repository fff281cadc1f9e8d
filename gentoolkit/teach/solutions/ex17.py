"""Lesson 17: an order read from errors, two ways back in time, beta integrated, calls of Heun."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_number,
    as_tensor,
    close,
    not_yet,
    passed,
)

RATE_MIN, RATE_GROWTH, TIME = 0.1, 19.9, 0.5
HEUN_STEPS = 20
DRIFT, SPREAD = -0.4, 1.3


def order(steps: Tensor, errors: Tensor) -> Tensor:
    """Fit errors = c steps**-order by least squares of the logs: (N,) and (N,) -> ()."""
    x, y = steps.log(), errors.log()
    x = x - x.mean()
    return -(x * y).sum() / x.square().sum()


def _ends_only(steps: Tensor, errors: Tensor) -> Tensor:
    return -(errors[-1] / errors[0]).log() / (steps[-1] / steps[0]).log()


def _steps_on_errors(steps: Tensor, errors: Tensor) -> Tensor:
    return 1.0 / order(errors, steps)


def _judge_order(answer: Callable[..., object]) -> Verdict:
    # Midpoint steps for x' = x from 0 to 1, with a disturbance that a fit averages out.
    counts = [4, 7, 12, 25, 60, 110]
    errors = []
    for i, n in enumerate(counts):
        x = 1.0
        for _ in range(n):
            x += (x + 0.5 * x / n) / n
        errors.append(abs(x - math.e) * math.exp(0.3 * (-1) ** i * (i % 3)))
    steps, off = torch.tensor(counts).double(), torch.tensor(errors).double()
    design = torch.stack([torch.ones_like(steps), steps.log()], dim=1)
    truth = -float(torch.linalg.lstsq(design, off.log()[:, None]).solution[1, 0])
    plain = torch.linalg.lstsq(torch.stack([torch.ones_like(steps), steps], 1), off.log()[:, None])
    return close(
        answer(steps, off),
        truth=truth,
        atol=1e-4,
        right=f"torch's solver of least squares gives {truth:.4f} too; the steps were midpoint's, "
        "whose order is 2.",
        wrong={
            -truth: "The sign: an order is positive if errors fall.",
            float(_ends_only(steps, off)): "You use the two ends only; a fit reads all the points.",
            truth / math.log(10.0): "One of the logs has base 10, the other base e.",
            truth * math.log(10.0): "One of the logs has base 10, the other base e.",
            float(_steps_on_errors(steps, off)): "You fit the steps to the errors; the errors "
            "scatter, so fit them to the steps.",
            -float(plain.solution[1, 0]): "The steps need a log too: a power law is a line only "
            "between two logs.",
            truth + 1: "That is the order of one step; the steps add up, so one is lost.",
        },
        otherwise=f"The slope of log error against log steps is -{truth:.4f} here.",
    )


def slopes(x: Tensor, score: Tensor, drift: float, g: float) -> tuple[Tensor, Tensor]:
    """Give the drifts of the reverse SDE and of the probability flow, (B, D) each."""
    return drift * x - g**2 * score, drift * x - 0.5 * g**2 * score


def _noised(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give distribution function, log-density and density of two noised bumps at time t."""
    shrink = (2 * DRIFT * t).exp()
    variance = shrink * 0.2 + SPREAD**2 * (shrink - 1) / (2 * DRIFT)
    places = (DRIFT * t).exp() * torch.tensor([-1.0, 2.0], dtype=x.dtype)[:, None, None]
    z = (x - places) / variance.sqrt()
    share = torch.tensor([0.3, 0.7], dtype=x.dtype)[:, None, None]
    below = (share * 0.5 * torch.special.erfc(-z / math.sqrt(2.0))).sum(0)
    density = (share * (-0.5 * z**2).exp()).sum(0) / (2 * math.pi * variance).sqrt()
    return below, density.log(), density


def _judge_slopes(answer: Callable[..., object]) -> Verdict:
    x = torch.linspace(-2.0, 3.0, 10, dtype=torch.float64).reshape(5, 2).requires_grad_()
    now = torch.full_like(x, 0.6)
    now.requires_grad_()
    below, log_density, density = _noised(x, now)
    (score,) = torch.autograd.grad(log_density.sum(), x, retain_graph=True)
    (slope,) = torch.autograd.grad(density.sum(), x, retain_graph=True)
    (gained,) = torch.autograd.grad(below.sum(), now)
    # Mass that leaves below x per unit of time: carried by a flow, or by drift and noise together.
    flow = -gained / density.detach()
    back = flow - 0.5 * SPREAD**2 * slope / density.detach()
    pair = answer(x.detach(), score, DRIFT, SPREAD)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return not_yet("two drifts are asked for: return reverse, flow.")
    reverse, ode = as_tensor(pair[0], (5, 2)), as_tensor(pair[1], (5, 2))

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a, b, atol=1e-8)

    if same(reverse, back) and same(ode, flow):
        return passed("both carry the law of two noised bumps back just as it came, at 10 places.")
    if same(reverse, flow) and same(ode, back):
        return not_yet("exchanged: the SDE adds noise on its way back, so its drift pulls harder.")
    start = f"at one place the drifts are {float(back[0, 0]):.3f} and {float(flow[0, 0]):.3f}, and "
    start += f"yours {float(reverse[0, 0]):.3f} and {float(ode[0, 0]):.3f}: "
    carried = DRIFT * x.detach()
    if same(reverse, 2 * carried - back) and same(ode, 2 * carried - flow):
        return not_yet(start + "the sign of the score; time still runs towards the noise here.")
    if same(SPREAD * (reverse - carried), back - carried):
        return not_yet(start + "the score counts g**2, a variance per time, and not g.")
    if same(reverse - back, ode - flow):
        return not_yet(start + "both miss the same; the first part is drift times x.")
    if same(reverse, ode):
        return not_yet(start + "the two cannot be equal: one of them also adds noise.")
    right = "the first is right; " * same(reverse, back) + "the second is right; " * same(ode, flow)
    return not_yet(start + right + "how much of g**2 score does each need?")


def levels() -> tuple[float, float]:
    """Give signal and noise variance from the integral of beta."""
    spent = RATE_MIN * TIME + 0.5 * RATE_GROWTH * TIME**2
    return math.exp(-0.5 * spent), 1.0 - math.exp(-spent)


def _judge_levels(answer: object) -> Verdict:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return not_yet("two numbers are asked for: (signal, noise variance).")
    signal, variance = as_number(answer[0]), as_number(answer[1])
    # Solve d signal = -beta signal / 2 and d variance = beta (1 - variance) in midpoint steps.
    a, v, steps = 1.0, 0.0, 20_000
    h = TIME / steps
    for i in range(steps):
        beta = RATE_MIN + RATE_GROWTH * (i + 0.5) * h
        a -= h * 0.5 * beta * a * (1 - 0.25 * h * beta)
        v += h * beta * (1 - v) * (1 - 0.5 * h * beta)

    def near(p: float, q: float) -> bool:
        return abs(p - q) < 5e-4

    if near(signal, a) and near(variance, v):
        return passed(f"({a:.4f}, {v:.4f}): 20000 small steps of pulling agree.")
    if near(variance, math.sqrt(v)):
        return not_yet("you give the noise's deviation; its variance is asked for.")
    if near(signal, a * a):
        return not_yet("you give the signal squared, exp(-I); a datum shrinks by its root.")
    beta = RATE_MIN + RATE_GROWTH * TIME
    if near(signal, math.exp(-0.5 * beta * TIME)):
        return not_yet("you take beta(t) t; beta grows on the way, so integrate it from 0 to t.")
    if near(signal, math.exp(-0.5 * beta)) or near(variance, beta):
        return not_yet("you take beta(t) itself; that is a rate, to be integrated from 0 to t.")
    if near(signal, v) and near(variance, a):
        return not_yet("the wrong way round: (signal, noise variance).")
    return not_yet(
        f"signal**2 + variance should be 1, yours is {signal**2 + variance:.4f}; and "
        "the log of the signal is minus half an integral."
    )


def heun_calls() -> int:
    """Count two calls a step, and one for the step that ends without noise."""
    return 2 * HEUN_STEPS - 1


def _judge_calls(answer: object) -> Verdict:
    # Run Heun's steps from deviation 10 to 0 for the score of a point, and count the calls.
    asked = 0

    def slope(x: float, noise: float) -> float:
        nonlocal asked
        asked += 1
        return (x - 0.3) / noise

    grid = [10.0 * (1 - i / HEUN_STEPS) for i in range(HEUN_STEPS)] + [0.0]
    x = 5.0
    for here, there in pairwise(grid):
        first = slope(x, here)
        guess = x + (there - here) * first
        x = guess if there == 0.0 else x + (there - here) * 0.5 * (first + slope(guess, there))
    return close(
        answer,
        truth=asked,
        atol=0.4,
        right=f"{asked}: the last step has no second slope, since dividing by no noise is 0 / 0.",
        wrong={
            asked + 1: "The last step ends where there is no noise: no slope can be asked there.",
            HEUN_STEPS: "A step of Heun asks twice: at its start and at its guessed end.",
            HEUN_STEPS + 1: "You reuse the second slope for the next step; that is another method.",
            asked - 1: "The last step still asks once, at its start.",
        },
        otherwise="Count the slopes that one step asks for, then look at the last step.",
    )


EXERCISES = (
    Exercise(
        name="ex17_1",
        ask="Write order(steps, errors): the order of a solver, from its errors at several numbers "
        "of steps, both of shape (N,). If errors = c steps**-p, it returns p: fit by least "
        "squares between the logs, and give a positive number for errors that fall.",
        judge=_judge_order,
        hints=(
            "The log turns a power law into a line.",
            "The slope of a least-squares line is a covariance over a variance; of which variable?",
            "Subtract the mean of log steps, multiply with log errors, sum, divide by the sum of "
            "squares; then mind the sign.",
        ),
        solution=order,
        why="A solver of order p has an error of about c / steps**p: in the logs a line of slope "
        "-p. Many points average out what two ends would take for slope.",
        wrong=(
            (lambda n, e: -order(n, e), "The sign: an order"),
            (_ends_only, "two ends only"),
            (_steps_on_errors, "fit the steps to the errors"),
            (lambda n, e: order(n.exp(), e), "The steps need a log"),
            (lambda n, e: order(n, e) + 1, "order of one step"),
        ),
        code=True,
    ),
    Exercise(
        name="ex17_2",
        ask="The pull is dx = drift x dt + g dw, with numbers drift and g. Write slopes(x, score, "
        "drift, g): at places x (B, D) where the score of the noised law is `score` (B, D), "
        "return the drift of the reverse SDE and that of the probability-flow ODE, both (B, D), "
        "written in the same time t (which the push runs down).",
        judge=_judge_slopes,
        hints=(
            "Both begin with drift x, and both take off a multiple of the score.",
            "The multiple is a number times g**2; both numbers must keep the same law.",
            "The SDE spreads the cloud while it pushes, so it must pull together twice as hard as "
            "the flow.",
        ),
        solution=slopes,
        why="The law's change in time is the same if half of g**2 score moves from the noise to "
        "the drift: none is noise in the flow, and the reverse noise needs one half more.",
        wrong=(
            (lambda x, r, f, g: slopes(x, -r, f, g), "the sign of the score"),
            (lambda x, r, f, g: slopes(x, r, f, g)[::-1], "exchanged"),
            (lambda x, r, f, g: slopes(x, r, f, math.sqrt(g)), "and not g"),
            (lambda x, r, f, g: (slopes(x, r, f, g)[0],) * 2, "cannot be equal"),
            (lambda x, r, f, g: slopes(torch.ones_like(x), r, f, g), "drift times x"),
        ),
        code=True,
    ),
    Exercise(
        name="ex17_3",
        ask=f"A variance-preserving diffusion has the rate beta(t) = {RATE_MIN} + {RATE_GROWTH} t. "
        f"What are its signal and its noise variance at t = {TIME}? Answer (signal, variance), to "
        "three digits.",
        judge=_judge_levels,
        hints=(
            "The signal follows d signal / dt = -beta(t) signal / 2.",
            "So the log of the signal is minus half an integral of beta. From where to where?",
            "At any t the squared signal and the noise's variance add up to 1.",
        ),
        solution=levels,
        why="With I the integral of beta from 0 to t, the signal is exp(-I / 2) and the variance "
        "1 - exp(-I).",
        wrong=(
            ((0.2812, 0.9596), "noise's deviation"),
            ((0.0791, 0.9209), "signal squared"),
            ((0.0811, 0.9934), "beta(t) t"),
            ((0.2812, 10.05), "beta(t) itself"),
        ),
    ),
    Exercise(
        name="ex17_4",
        ask=f"Heun's sampler of EDM takes {HEUN_STEPS} steps, the last of them to no noise. How "
        "often is the net called for one sample?",
        judge=_judge_calls,
        hints=(
            "Heun guesses the end of a step with one slope, then averages two.",
            "The slope is (x - guess of the datum) / noise. Where does that fail?",
            "All steps ask twice, but for one.",
        ),
        solution=heun_calls,
        why="Two calls a step and one for the last, an Euler step. Compare samplers by calls of "
        "the net, not by steps.",
        wrong=((40, "no slope can be asked"), (20, "asks twice"), (21, "another method")),
    ),
)
