"""Lesson 24: where noise leads, a rate of the reversal, all of them, and the density of a path."""

import math

import torch
from torch import Tensor

from gentoolkit.teach.exercise import Exercise, Like, Open

TWO = ((-1.0, 1.0), (3.0, -3.0))
SHORT = 1e-6


ex24_1 = Exercise(
    "(1 - math.exp(-0.7)) / 3",
    "Uniform noise draws the letter anew at rate 1. When has that not happened yet?",
    "With probability e^-0.7 it has never been drawn anew. What is its law otherwise?",
    "Otherwise all values are alike, and the old one is among them: how many are there?",
    why="The number of draws is Poisson with mean 0.7, and the last one decides: (1 - e^-0.7) / 3.",
    oracle=lambda: torch.linalg.matrix_exp(0.7 * (torch.ones(3, 3) / 3 - torch.eye(3)))[0, 1],
    atol=3e-4,
    right="{truth:.6f}: the matrix exponential of 0.7 Q has it beside the diagonal.",
    wrong={
        0.2517: "You share what was drawn anew among the two other tokens; it may also be drawn as "
        "the old one.",
        0.5034: "That is the probability to have been drawn anew at all; the new token is one of "
        "three.",
        0.6644: "That is the probability to be at the same token.",
        0.3356: "That is the probability of any other token; one given token is asked for.",
    },
    otherwise="With probability e^-B nothing has happened; otherwise the token is uniform.",
)


def _by_bayes(q: Tensor, law: Tensor) -> Tensor:
    """Rates of the reversal from a short step and Bayes' rule, (C, C), diagonal included."""
    joint = law[:, None] * torch.linalg.matrix_exp(SHORT * q)  # before, after
    return ((joint / joint.sum(0)).T - torch.eye(len(q))) / SHORT  # after, before


ex24_2 = Exercise(
    "3 * 0.5 / 0.5",
    "Which jump of the noise does that jump undo?",
    "Both flows of the edge are equal: q(0) R(0, 1) = q(1) Q(1, 0).",
    "Rows are where a jump starts: in which row is the jump of the noise that is undone?",
    why="The ratio of the two halves is one, so what is left is the transposed rate.",
    oracle=lambda: _by_bayes(torch.tensor(TWO), torch.full((2,), 0.5))[0, 1],
    right="{truth:.2f}: so says Bayes' rule over a step of length 1e-06.",
    wrong={
        1: "That is Q(0, 1): the jump 0 to 1 of the reversal undoes a jump 1 to 0, so Q stands "
        "transposed.",
        -3: "That is an entry of the diagonal; a rate of a jump is never negative.",
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


def _four_states() -> list[tuple]:
    torch.manual_seed(3)
    q = torch.rand(4, 4)
    return [(q - q.sum(1).diag(), torch.rand(4).softmax(0))]


ex24_3 = Exercise(
    reverse,
    "Off the diagonal: the transposed rate times the ratio of where it leads to where it starts.",
    "law[None, :] runs along columns, where a jump ends.",
    "Set the diagonal to 0 first, then subtract the sum of each row from it.",
    why="Each edge is balanced by itself, and a diagonal follows from its row.",
    cases=_four_states,
    oracle=_by_bayes,
    atol=1e-4,
    right="Bayes' rule over a very short step gives the same rates.",
    wrong={
        "q.T -> q": "Q is not transposed; a jump x to y undoes one from y to x.",
        "* law[None, :] / law[:, None] -> / law[None, :] * law[:, None]": "the ratio is upside "
        "down; jumps lead to where the law is high.",
        "* law[None, :] / law[:, None] ->": "the law is missing; the transposed Q alone undoes "
        "nothing.",
        Like(
            "rates - rates.diagonal().diag() -> rates; rates - rates.sum(1).diag() -> rates",
            lambda rates: torch.allclose(
                (rates - reverse(*_four_states()[0])).fill_diagonal_(0.0), torch.zeros(4, 4)
            ),
        ): "the "
        "jumps are right, but a row does not sum to 0: the diagonal is minus the sum of the other "
        "entries of its row, computed anew.",
    },
    otherwise="for y other than x it is Q(y, x) law(y) / law(x).",
)


def log_path(q: Tensor, states: Tensor, times: Tensor, end: float) -> Tensor:
    """Give the log-density of one path: q (C, C), states (J + 1,), times (J,), end -> ()."""
    bounds = torch.cat([times.new_zeros(1), times, times.new_tensor([end])])
    stay = (q.diagonal()[states] * bounds.diff()).sum()  # the diagonal is minus the exit rate
    return q[states[:-1], states[1:]].log().sum() + stay


RATES = ((-1.0, 0.7, 0.3), (0.1, -0.4, 0.3), (1.5, 0.5, -2.0))


def _short_steps(q: Tensor, states: Tensor, times: Tensor, end: float) -> float:
    """The path as a chain of very many steps of I + SHORT Q; each jump's step has a density."""
    places, bounds, total = states.tolist(), [0.0, *times.tolist(), end], 0.0
    for j, x in enumerate(places):
        total += (bounds[j + 1] - bounds[j]) / SHORT * math.log1p(SHORT * float(q[x, x]))
        total += math.log(float(q[places[j - 1], x])) if j else 0.0
    return total


ex24_4 = Exercise(
    log_path,
    "A path is made of waits and jumps: J jumps, and one wait more.",
    "A wait of length w in x has the probability that no clock of x rings for so long.",
    "The diagonal of q holds minus the total rates; the times of q are jump times, not waits.",
    why="Sum the log-rates of the jumps that happened, and subtract the exit rate of each "
    "state times the time spent there, up to the end.",
    cases=lambda: [
        (*map(torch.tensor, (RATES, (0, 2, 1, 0), (0.3, 0.5, 1.4))), 2.0),
        (torch.tensor(RATES), torch.tensor([2]), torch.zeros(0), 1.5),
    ],
    oracle=_short_steps,
    atol=1e-4,
    right="two million short steps give the same log-density.",
    wrong={
        "bounds.diff()).sum() -> bounds.diff())[:-1].sum()": "after the last jump the path waits "
        "until the end, and that counts too.",
        "+ stay ->": "the waits are missing: not to jump has a probability as well.",
        "+ stay -> - stay": "the sign of the waits: staying long is unlikely.",
        "+ stay -> + stay - (-q.diagonal()[states[:-1]]).log().sum()": "you divide the rates by "
        "the exit rates: a jump's density in time is its rate, and not its share.",
        "[states] * bounds.diff() -> [states[1:]] * bounds.diff()[:-1]": "each wait belongs to the "
        "state before the jump.",
        "bounds.diff() -> bounds[1:]": "a wait counts from the jump before, and not from time 0.",
        "(q.diagonal()[states] * bounds.diff()) -> (q.diagonal()[states[:-1]] * times)": "a wait "
        "counts from the jump before, and not from time 0; and after the last jump the path waits "
        "until the end.",
        "(q.diagonal()[states] -> (torch.cat([-q[states[:-1], states[1:]], -q[:1, 1]])": "a wait "
        "ends by whichever jump comes first: take the total rate, not the arrow's own.",
        "(q.diagonal()[states] -> (torch.cat([-q[states[:-1], states[1:]], "
        "q.diagonal()[states[-1:]]])": "the waits that end in a jump end by whichever clock rings "
        "first: take the total rate of the state, not that of the arrow that it took.",
        "(q.diagonal()[states] * bounds.diff()) -> (-q[states[:-1], states[1:]] * "
        "bounds.diff()[:-1])": "a wait ends by whichever jump comes first: take the total rate, "
        "not the arrow's own; and after the last jump the path waits until the end.",
    },
    otherwise="log-rates of jumps, minus exit x wait.",
)


ex24_5 = Open(
    "Look at the ratio of two words, one of them forbidden, as t falls to 0.",
    "Print the largest rate at t = 0.1, 0.01 and 0.001. Which power of t is it?",
    "For the samplers, the function distance of section 7 needs the new data; sum the law of the "
    "last step over the forbidden words instead of taking the total variation.",
    answer="A forbidden word has p_t of the order of t, and a neighbour may have a fixed one, so "
    "the rate out of it grows like 1/t: with (0, 1), (1, 1) and (2, 0) forbidden the largest rate "
    "is 7.9 at t = 0.1, 81 at 0.01 and 818 at 0.001. At 0 it is infinite, so no bound on the last "
    "piece exists. Stop at a small time, such as 0.01, where the table is still finite, and take "
    "one analytic step to 0, which needs no rate. From the uniform source to t = 0 with 4, 16 and "
    "64 steps the analytic rule leaves 0.098, 0.034 and 0.009 on the three forbidden words, Euler "
    "0.180, 0.046 and 0.010, tau-leaping 0.222, 0.078 and 0.020. All fall about as one over the "
    "number of steps: the letters that leap together in one step put the probability there.",
)
