"""Lesson 24: where noise leads, a rate of the reversal, all of them, and the density of a path."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gentoolkit.teach.exercise import (
    Exercise,
    Verdict,
    as_tensor,
    close,
    not_yet,
    passed,
)

TOKENS, NOISE = 3, 0.7
TWO = ((-1.0, 1.0), (3.0, -3.0))
SHORT = 1e-6


def elsewhere() -> float:
    """Give the probability of one given other token: drawn anew, and then one of C."""
    return (1 - math.exp(-NOISE)) / TOKENS


def _judge_elsewhere(answer: object) -> Verdict:
    q = torch.full((TOKENS, TOKENS), 1 / TOKENS, dtype=torch.float64)
    q = q - torch.eye(TOKENS, dtype=torch.float64)
    kernel = torch.linalg.matrix_exp(NOISE * q)
    truth, anew = float(kernel[0, 1]), 1 - math.exp(-NOISE)
    return close(
        answer,
        truth=truth,
        atol=3e-4,
        right=f"{truth:.6f}: the matrix exponential of {NOISE} Q has it beside the diagonal.",
        wrong={
            anew / 2: "You share what was drawn anew among the two other tokens; it may also be "
            "drawn as the old one.",
            anew: "That is the probability to have been drawn anew at all; the new token is one "
            "of three.",
            float(kernel[0, 0]): "That is the probability to be at the same token.",
            2 * truth: "That is the probability of any other token; one given token is asked for.",
        },
        otherwise="With probability e^-B nothing has happened; otherwise the token is uniform.",
    )


def reverse_rate() -> float:
    """Give Q(1, 0) q(1) / q(0) for q = (1/2, 1/2)."""
    return TWO[1][0] * 0.5 / 0.5


def _by_bayes(q: Tensor, law: Tensor) -> Tensor:
    """Rates of the reversal from a short step and Bayes' rule, (C, C), diagonal included."""
    joint = law[:, None] * torch.linalg.matrix_exp(SHORT * q)  # before, after
    posterior = (joint / joint.sum(0)).T  # after, before
    return (posterior - torch.eye(len(q), dtype=q.dtype)) / SHORT


def _judge_rate(answer: object) -> Verdict:
    q, law = torch.tensor(TWO, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    truth = float(_by_bayes(q, law)[0, 1])
    return close(
        answer,
        truth=truth,
        atol=1e-3,
        right=f"{truth:.2f}: so says Bayes' rule over a step of length {SHORT:g}.",
        wrong={
            1.0: "That is Q(0, 1): the jump 0 to 1 of the reversal undoes a jump 1 to 0, so Q "
            "stands transposed.",
            -3.0: "That is an entry of the diagonal; a rate of a jump is never negative.",
            1.5: "That is the flow q(1) Q(1, 0), jumps per time of all particles; the rate is per "
            "particle in state 0.",
            1 / 3: "The wrong way up: how often does noise go from 1 to 0?",
        },
        otherwise="Balance the two flows of the edge: q(0) R(0, 1) = q(1) Q(1, 0).",
    )


def reverse(q: Tensor, law: Tensor) -> Tensor:
    """Give the generator of the reversal: q (C, C) and law (C,) -> (C, C), rows sum to 0."""
    rates = q.T * law[None, :] / law[:, None]
    rates = rates - rates.diagonal().diag()
    return rates - rates.sum(1).diag()


def _completed(rates: Tensor, dim: int = 1) -> Tensor:
    rates = rates - rates.diagonal().diag()
    return rates - rates.sum(dim).diag()


def _judge_reverse(answer: Callable[..., object]) -> Verdict:
    generator = torch.Generator().manual_seed(3)
    q = _completed(torch.rand(4, 4, generator=generator, dtype=torch.float64))
    law = torch.rand(4, generator=generator, dtype=torch.float64)
    law = law / law.sum()
    given, truth = as_tensor(answer(q, law), (4, 4)), _by_bayes(q, law)

    def near(other: Tensor) -> bool:
        return torch.allclose(given, other, atol=1e-4)

    if near(truth):
        return passed("Bayes' rule over a very short step gives the same rates.")
    ratio = law[None, :] / law[:, None]
    start = f"one rate is {float(truth[0, 1]):.3f}, and yours {float(given[0, 1]):.3f}: "
    if near(_completed(q * ratio)):
        return not_yet(start + "Q is not transposed; a jump x to y undoes one from y to x.")
    if near(_completed(q.T / ratio)):
        return not_yet(start + "the ratio is upside down; jumps lead to where the law is high.")
    if near(_completed(q.T)):
        return not_yet(start + "the law is missing; the transposed Q alone undoes nothing.")
    off = ~torch.eye(4, dtype=torch.bool)
    if torch.allclose(given[off], truth[off], atol=1e-4):
        total = float(given.sum(1)[0])
        return not_yet(
            f"the jumps are right, but your first row sums to {total:.3f}: the diagonal is minus "
            "the sum of the other entries of its row, computed anew."
        )
    return not_yet(start + "for y other than x it is Q(y, x) law(y) / law(x).")


def log_path(q: Tensor, states: Tensor, times: Tensor, end: float) -> Tensor:
    """Give the log-density of one path: q (C, C), states (J + 1,), times (J,), end -> ()."""
    bounds = torch.cat([times.new_zeros(1), times, times.new_tensor([end])])
    stay = (q.diagonal()[states] * bounds.diff()).sum()  # the diagonal is minus the exit rate
    return q[states[:-1], states[1:]].log().sum() + stay


def _path_like(rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Build a wrong answer from the jumps' rates, the exit rates, and the waits."""

    def answer(q: Tensor, states: Tensor, times: Tensor, end: float) -> Tensor:
        bounds = torch.cat([times.new_zeros(1), times, times.new_tensor([end])])
        return rule(q[states[:-1], states[1:]], -q.diagonal()[states], bounds.diff())

    return answer


def _judge_path(answer: Callable[..., object]) -> Verdict:
    q = torch.tensor([[-1.0, 0.7, 0.3], [0.1, -0.4, 0.3], [1.5, 0.5, -2.0]], dtype=torch.float64)
    states, times, end = torch.tensor([0, 2, 1, 0]), torch.tensor([0.3, 0.5, 1.4]).double(), 2.0
    given = float(as_tensor(answer(q, states, times, end), ()))
    # The path as a chain of very many short steps of I + SHORT Q; each jump's step has a density.
    bounds = [0.0, *times.tolist(), end]
    truth = 0.0
    for j, x in enumerate(states.tolist()):
        truth += (bounds[j + 1] - bounds[j]) / SHORT * math.log1p(SHORT * float(q[x, x]))
        if j:
            truth += math.log(float(q[int(states[j - 1]), x]))
    if abs(given - truth) < 1e-4:
        return passed("two million short steps give the same log-density.")
    rate, exits = q[states[:-1], states[1:]], -q.diagonal()[states]
    waits = torch.tensor(bounds).double().diff()
    jumps, known = rate.log().sum(), float(given)
    meanings = {
        float(jumps - (exits * waits)[:-1].sum()): "after the last jump the path waits until the "
        "end, and that counts too.",
        float(jumps): "the waits are missing: not to jump has a probability as well.",
        float(jumps + (exits * waits).sum()): "the sign of the waits: staying long is unlikely.",
        float((rate / exits[:-1]).log().sum() - (exits * waits).sum()): "you divide the rates by "
        "the exit rates: a jump's density in time is its rate, and not its share.",
        float(jumps - (exits[1:] * waits[:-1]).sum()): "each wait belongs to the state before "
        "the jump.",
    }
    for number, meaning in meanings.items():
        if abs(known - number) < 1e-6:
            return not_yet(f"{known:.3f} instead of {truth:.3f}: {meaning}")
    return not_yet(f"{known:.3f} instead of {truth:.3f}: log-rates of jumps, minus exit x wait.")


EXERCISES = (
    Exercise(
        name="ex24_1",
        ask=f"{TOKENS} tokens under uniform noise, Q = 1 1^T / {TOKENS} - I, and noise B_t = "
        f"{NOISE}. With which probability is a token that starts as 0 a 2 at that time?",
        judge=_judge_elsewhere,
        hints=(
            "Uniform noise draws the token anew at rate 1. When has that not happened yet?",
            "With probability e^-B it has never been drawn anew. What is its law otherwise?",
            "Otherwise it is uniform over all tokens, the old one among them.",
        ),
        solution=elsewhere,
        why="The number of draws is Poisson with mean B, and the last one decides: (1 - e^-B) / C.",
        wrong=(
            (0.2517, "two other tokens"),
            (0.5034, "one of three"),
            (0.6644, "same token"),
            (0.3356, "any other token"),
        ),
    ),
    Exercise(
        name="ex24_2",
        ask="Two states, Q = [[-1, 1], [3, -3]], and at time t the law is (1/2, 1/2). At which "
        "rate does the reversal jump from 0 to 1?",
        judge=_judge_rate,
        hints=(
            "Which jump of the noise does that jump undo?",
            "Both flows of the edge are equal: q(0) R(0, 1) = q(1) Q(1, 0).",
            "Rows are where a jump starts: Q(1, 0) stands in the second row.",
        ),
        solution=reverse_rate,
        why="The ratio of the two halves is one, so what is left is the transposed rate.",
        wrong=((1, "transposed"), (-3, "diagonal"), (1.5, "per time"), (1 / 3, "wrong way up")),
    ),
    Exercise(
        name="ex24_3",
        ask="Write reverse(q, law): the generator of the reversal at one time, from the noising's "
        "generator q of shape (C, C) and the law of shape (C,). It returns (C, C), and its rows "
        "sum to 0.",
        judge=_judge_reverse,
        hints=(
            "Off the diagonal: the transposed rate times the ratio of where it leads to where it "
            "starts.",
            "law[None, :] runs along columns, where a jump ends.",
            "Set the diagonal to 0 first, then subtract the sum of each row from it.",
        ),
        solution=reverse,
        why="Each edge is balanced by itself, and a diagonal follows from its row.",
        wrong=(
            (lambda q, law: _completed(q * law[None, :] / law[:, None]), "not transposed"),
            (lambda q, law: _completed(q.T * law[:, None] / law[None, :]), "upside down"),
            (lambda q, law: _completed(q.T), "law is missing"),
            (lambda q, law: q.T * law[None, :] / law[:, None], "computed anew"),
        ),
        code=True,
    ),
    Exercise(
        name="ex24_4",
        ask="Write log_path(q, states, times, end): the log-density of one path under constant "
        "rates q of shape (C, C). It starts at time 0 in states[0]; at times[j] it jumps from "
        "states[j] to states[j + 1]; it ends at time `end`. states has shape (J + 1,), times (J,), "
        "and the answer is one number.",
        judge=_judge_path,
        hints=(
            "A path is made of waits and jumps: J jumps, and one wait more.",
            "A wait of length w in x has probability exp(-exit rate of x times w).",
            "A jump's density in time is its rate q[x, y]; take logs and add.",
        ),
        solution=log_path,
        why="Sum the log-rates of the jumps that happened, and subtract the exit rate of each "
        "state times the time spent there, up to the end.",
        wrong=(
            (_path_like(lambda r, e, w: r.log().sum() - (e * w)[:-1].sum()), "until the end"),
            (_path_like(lambda r, e, w: r.log().sum()), "waits are missing"),
            (_path_like(lambda r, e, w: r.log().sum() + (e * w).sum()), "sign of the waits"),
            (_path_like(lambda r, e, w: (r / e[:-1]).log().sum() - (e * w).sum()), "its share"),
            (_path_like(lambda r, e, w: r.log().sum() - (e[1:] * w[:-1]).sum()), "state before"),
        ),
        code=True,
    ),
)
