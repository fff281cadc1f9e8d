"""Jumps in pictures: which flow lies where, who has jumped, what leaks, and what is refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gentoolkit.viz import (
    JumpLane,
    Scene,
    StateGraph,
    flux_balance,
    flux_scatter,
    follow,
    jump_landscape,
    jump_lanes,
    numbers_of,
    run_law,
)
from gentoolkit.viz.size import LARGEST
from tests.viz.kinds import unpack
from tests.viz.refused import refused

GRAPH = StateGraph.square(3)
LOPSIDED = np.array([[-1.0, 0.7, 0.3], [0.1, -0.4, 0.3], [2.0, 0.5, -2.5]])
BLUE, ORANGE, RED = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0xB2, 0x18, 0x2B)


def joint(q: np.ndarray) -> np.ndarray:
    """Rates of two tokens that jump one at a time, by Kronecker sums."""
    return np.kron(q, np.eye(3)) + np.kron(np.eye(3), q)


def noised(times: np.ndarray, q: np.ndarray = LOPSIDED) -> np.ndarray:
    """The law of nine states at some times, (F, 9)."""
    data = np.random.default_rng(0).dirichlet(np.ones(9))
    kernels = torch.linalg.matrix_exp(torch.as_tensor(joint(q) * times[:, None, None])).numpy()
    return data @ kernels


def reverse(law: np.ndarray, q: np.ndarray = LOPSIDED) -> np.ndarray:
    """The rates of the reversal at each time, (F, 9, 9)."""
    return joint(q).T[None] * law[:, None, :] / law[:, :, None]


def layers(scene: Scene, kind: str, panel: int = 0) -> list[dict]:
    return [layer for layer in scene.spec["panels"][panel]["layers"] if layer["kind"] == kind]


def read(scene: Scene, name: str) -> np.ndarray:
    return unpack(scene.spec["arrays"], scene.buffer, name)


@dataclass(frozen=True)
class Hops:
    """One particle that goes from (0, 0) to (0, 2) at time 1, and to (1, 2) at time 2."""

    start: float = 0.0
    end: float = 3.0

    def state_at(self, t: float) -> Tensor:
        """Tokens at time t."""
        return torch.tensor([[int(t >= 2), 2 * int(t >= 1)]])


def test_states_of_two_tokens_lie_in_a_square_and_neighbours_differ_in_one():
    """Bug: rows and columns swapped, an edge twice, or one between states two jumps apart."""
    assert GRAPH.at[numbers_of([2, 1], 3)].tolist() == [2.0, 1.0]
    assert GRAPH.names[5] == "(1, 2)" and len(GRAPH.pairs) == 18
    tokens = np.array([[a, b] for a in range(3) for b in range(3)])
    differ = (tokens[GRAPH.pairs[:, 0]] != tokens[GRAPH.pairs[:, 1]]).sum(1)
    assert (differ == 1).all() and len({tuple(p) for p in GRAPH.pairs.tolist()}) == 18
    assert numbers_of([[0, 0], [1, 2], [2, 2]], 3).tolist() == [0, 5, 8]
    assert numbers_of(torch.tensor([[1, 0, 2, 1]]), 3).tolist() == [27 + 6 + 1]


def test_each_half_of_an_edge_runs_from_its_state_to_the_middle():
    """Bug: halves that overlap, run towards their state, or cross a third one."""
    halves = GRAPH.halves
    first, second = halves[:18], halves[18:]
    np.testing.assert_allclose(first[:, -1], second[:, -1], atol=1e-9)  # they meet
    for (a, b), one, two in zip(GRAPH.pairs, first, second, strict=True):
        for state, half in ((a, one), (b, two)):
            rim = np.hypot(*(half - GRAPH.at[state]).T)
            assert rim[0] == pytest.approx(1.12 * GRAPH.room, rel=0.05)
            assert (np.diff(rim) > 0).all()
        others = np.delete(GRAPH.at, [a, b], axis=0)
        gap = np.hypot(*(np.concatenate([one, two])[:, None] - others).transpose(2, 0, 1))
        assert gap.min() > 1.05 * GRAPH.room
    (low, high), (below, above) = GRAPH.ranges
    assert halves[..., 0].min() > low and halves[..., 0].max() < high
    assert halves[..., 1].min() > below and halves[..., 1].max() < above


def test_paths_are_read_in_their_own_direction():
    """Bug: times that always rise, or a jump shown one frame late."""
    states, times = follow(Hops(), 7, 3)
    assert times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert states[:, 0].tolist() == [0, 0, 2, 2, 5, 5, 5]
    back, falling = follow(Hops(3.0, 0.0), 4, 3)
    assert falling.tolist() == [3.0, 2.0, 1.0, 0.0] and back[:, 0].tolist() == [5, 5, 2, 0]


def test_a_law_is_followed_under_rates_that_change():
    """Bug: rates transposed, a diagonal that is kept, or an error of first order."""
    times = np.linspace(0, 0.9, 4)
    law = run_law(noised(times[:1])[0], np.stack([joint(LOPSIDED)] * 3), times)
    np.testing.assert_allclose(law, noised(times), atol=1e-12)
    wrong_diagonal = np.stack([joint(LOPSIDED) + np.eye(9)] * 3)
    np.testing.assert_allclose(run_law(law[0], wrong_diagonal, times), law, atol=1e-12)
    errors = []
    for pieces in (40, 80):
        falling = np.linspace(1.5, 0.1, pieces + 1)
        middles = reverse(noised(0.5 * (falling[1:] + falling[:-1])))
        found = run_law(noised(falling[:1])[0], middles, falling)
        errors.append(np.abs(found - noised(falling)).max())
    assert errors[0] < 1e-3 and errors[0] / errors[1] > 3.3


def there_and_back(**more: Any) -> Scene:
    """Three particles that rise and fall again, on lopsided rates."""
    times = np.array([0.2, 0.6, 1.0, 0.6, 0.2])
    law = noised(times)
    states = np.array([[0, 4, 8], [2, 4, 8], [5, 4, 8], [4, 4, 8], [4, 3, 8]])
    arguments = {"pull_rates": joint(LOPSIDED), "push_rates": reverse(law)} | more
    return jump_landscape(GRAPH, states, times, law, **arguments)


def test_the_flow_of_noising_leaves_and_that_of_the_reversal_comes_back():
    """Bug: a flow of the wrong end's law, R for its transpose, or both at once."""
    scene = there_and_back()
    pull, push = layers(scene, "ribbons")
    assert pull["dash"] and pull["color"] == "#D55E00" and not push["dash"]
    times = np.array(scene.spec["times"])
    law, (a, b) = noised(times), np.concatenate([GRAPH.pairs, GRAPH.pairs[:, ::-1]]).T
    out = law[:, a] * joint(LOPSIDED)[a, b]
    back = law[:, b] * reverse(law)[:, b, a]
    np.testing.assert_allclose(out, back)  # the exact ratio
    scale = 13.0 / out.max()
    rising = np.array([True, True, False, False, False])
    np.testing.assert_allclose(
        read(scene, pull["widths"]), scale * out * rising[:, None], rtol=1e-5
    )
    np.testing.assert_allclose(
        read(scene, push["widths"]), scale * out * ~rising[:, None], rtol=1e-5
    )
    np.testing.assert_allclose(read(scene, pull["xy"]), GRAPH.halves, atol=1e-3)
    np.testing.assert_allclose(read(scene, push["xy"]), GRAPH.halves[:, ::-1], atol=1e-3)


def test_particles_sit_in_their_state_and_leave_a_streak_when_they_jump():
    """Bug: a particle beside its state, or a streak of another frame or direction."""
    scene = there_and_back()
    (moving,) = [p for p in layers(scene, "points") if scene.spec["arrays"][p["xy"]]["moving"]]
    at = read(scene, moving["xy"])
    states = np.array([[0, 4, 8], [2, 4, 8], [5, 4, 8], [4, 4, 8], [4, 3, 8]])
    assert np.hypot(*(at - GRAPH.at[states]).transpose(2, 0, 1)).max() < GRAPH.room
    noising, back = layers(scene, "lines")
    assert noising["dash"] and not back["dash"]
    for layer, frames in ((noising, {1, 2}), (back, {0, 3, 4})):
        streaks = read(scene, layer["xy"])
        for f in range(5):
            if f in frames:
                np.testing.assert_allclose(streaks[f, :, 0], at[max(f - 1, 0)], atol=1e-3)
                np.testing.assert_allclose(streaks[f, :, 1], at[f], atol=1e-3)
            else:
                assert (streaks[f] > 3).all()  # out of the picture
    notes = scene.spec["notes"]
    assert notes[1].startswith("pull, t = 0.60: 1 of 3") and notes[4].startswith("push, t = 0.20")
    assert "to noise and back to data" in scene.alt and not scene.spec["smooth"]


def test_the_bars_are_the_law_and_the_share_of_the_particles():
    """Bug: the two mixed up, or shares of another frame."""
    scene = there_and_back()
    exact, share = layers(scene, "bars", 1)
    np.testing.assert_allclose(read(scene, exact["heights"]), noised(np.array(scene.spec["times"])),
                               rtol=1e-5)  # fmt: skip
    shown = read(scene, share["heights"])
    np.testing.assert_allclose(shown[2], np.eye(9)[[4, 5, 8]].mean(0), atol=1e-6)
    words = [layer["texts"] for layer in layers(scene, "text") if len(layer["texts"]) == 5]
    assert words[3] == [f"{p:.2f}" for p in noised(np.array(scene.spec["times"]))[:, 3]]


def balance(factor: float, x: int = 4, y: int = 5) -> Scene:
    """The ratio of one pair multiplied at all times."""
    times = np.linspace(1.5, 0.1, 25)
    law, middle = noised(times), noised(0.5 * (times[1:] + times[:-1]))
    rates, middles = reverse(law), reverse(middle)
    rates[:, x, y] *= factor
    middles[:, x, y] *= factor
    pushed = run_law(law[0], middles, times)
    return flux_balance(
        GRAPH, times, law, pull_rates=joint(LOPSIDED), push_rates=rates, pushed=pushed
    )


def test_exact_ratios_balance_every_edge_and_a_wrong_one_leaks():
    """Bug: a view that is balanced whatever the ratio, or blames another edge."""
    exact = balance(1.0)
    pull, push = layers(exact, "ribbons")
    widths = read(exact, pull["widths"])
    np.testing.assert_allclose(read(exact, push["widths"]), widths, rtol=1e-5)
    assert not layers(exact, "lines") and widths.max() == pytest.approx(13.0)
    assert all("every edge is in balance" in note for note in exact.spec["notes"])
    wrong = balance(3.0)
    widths, flow = (read(wrong, one["widths"]) for one in layers(wrong, "ribbons"))
    off = np.flatnonzero((np.abs(flow - widths) > 1e-3).any(0))
    edge = GRAPH.pairs.tolist().index([4, 5])
    assert off.tolist() == [18 + edge]  # what comes back into 5 from 4
    np.testing.assert_allclose(flow[:, 18 + edge], 3 * widths[:, 18 + edge], rtol=1e-5)
    (rings,) = layers(wrong, "lines")
    circles = read(wrong, rings["xy"])  # (F, 1, 25, 2)
    seen = np.abs(circles[:, 0] - GRAPH.at[5]).max((1, 2)) < 1
    leaks = np.abs(flow - widths)[:, 18 + edge] > 0.02 * 13
    assert circles.shape[1] == 1 and seen.tolist() == leaks.tolist() and leaks.any()
    where = int(leaks.argmax())
    assert "the edge (1, 2) to (1, 1) leaks" in wrong.spec["notes"][where]
    start, end = (read(wrong, layers(wrong, "bars", 1)[k]["heights"])[-1] for k in (0, 1))
    drift = 0.5 * np.abs(start - end).sum()
    assert drift > 0.01 and f"off by {drift:.3f}" in wrong.spec["notes"][-1]
    assert f"off by {drift:.3f}" in wrong.alt


def test_the_scatter_lies_on_its_diagonal_with_exact_ratios():
    """Bug: axes exchanged, a fault that is not marked, or marks where all is in balance."""
    times = np.linspace(1.5, 0.1, 9)
    law = noised(times)
    rates = reverse(law)
    for factor in (1.0, 3.0):
        pushed = run_law(law[0], factor * reverse(noised(0.5 * (times[1:] + times[:-1]))), times)
        scene = flux_scatter(
            GRAPH, times, law, pull_rates=joint(LOPSIDED), push_rates=factor * rates, pushed=pushed
        )
        (dots,) = layers(scene, "points")
        at = read(scene, dots["xy"])
        seen = at[..., 0] <= scene.spec["panels"][0]["x"][1]
        np.testing.assert_allclose(at[seen][:, 1], factor * at[seen][:, 0], atol=2e-4)
        assert len(layers(scene, "lines")) == (1 if factor == 1.0 else 2)
        assert bool(seen.all()) == (factor == 1.0) and scene.spec["poster"] == len(times) - 2
        assert "off by" in scene.spec["notes"][-1]


def test_at_most_three_leaks_are_ringed():
    """Bug: a ring around every half edge, so that none can be seen."""
    times = np.linspace(1.5, 0.1, 9)
    law = noised(times)
    rates = 2.0 * reverse(law)
    middle = 2.0 * reverse(noised(0.5 * (times[1:] + times[:-1])))
    scene = flux_balance(
        GRAPH, times, law, pull_rates=joint(LOPSIDED), push_rates=rates,
        pushed=run_law(law[0], middle, times),
    )  # fmt: skip
    (rings,) = layers(scene, "lines")
    shown = np.abs(read(scene, rings["xy"])).max((2, 3)) < 4
    assert (shown.sum(1) <= 3).all() and shown.any(1).all()
    assert read(scene, layers(scene, "ribbons")[1]["widths"]).max() == pytest.approx(13.0)


def sampler_lanes(**more: Any) -> list[JumpLane]:
    """Two lanes of three particles, one of four steps and one of two."""
    fine = np.array([[0, 1, 2], [3, 1, 2], [3, 4, 2], [3, 4, 5], [3, 4, 8]])
    marks = np.zeros((3, 3), bool)
    marks[1, 2] = True
    return [
        JumpLane("fine", fine, np.linspace(1.0, 0.0, 5)),
        JumpLane("coarse", fine[::2], np.linspace(1.0, 0.0, 3), marks, "law off by 0.200", **more),
    ]


def test_lanes_share_a_clock_and_clamped_particles_are_crossed():
    """Bug: lanes of one speed, crosses on the wrong particle, or in every frame."""

    def law(t: float) -> np.ndarray:
        return noised(np.array([t + 0.1]))[0]

    scene = jump_lanes(GRAPH, sampler_lanes(), law, frames=9)
    assert scene.frames == 9 and len(scene.spec["panels"]) == 2
    moving = [layers(scene, "points", k)[-1] for k in (0, 1)]
    states = [
        np.abs(read(scene, m["xy"])[:, :, None] - GRAPH.at).sum(-1).argmin(-1) for m in moving
    ]
    assert states[0][:, 2].tolist() == [2, 2, 2, 2, 2, 2, 5, 5, 8]
    assert states[1][:, 2].tolist() == [2, 2, 2, 2, 2, 2, 2, 2, 8]
    crosses = read(scene, layers(scene, "lines", 1)[-1]["xy"])  # (F, 2 B, 2, 2)
    inside = (np.abs(crosses) < 3).all((2, 3))
    assert inside[4:8, 4:].all() and not inside[:4].any() and not inside[:, :4].any()
    np.testing.assert_allclose(crosses[4, 4].mean(0), read(scene, moving[1]["xy"])[4, 2], atol=1e-3)
    assert layers(scene, "lines", 1)[-1]["color"] == "#B2182B" and len(layers(scene, "lines")) == 1
    assert scene.spec["notes"][4].endswith("fine: step 2 of 4; coarse: step 1 of 2, 1 clamped.")
    texts = [layer["texts"] for layer in layers(scene, "text", 1)]
    assert ["law off by 0.200"] in texts
    grey = [layer for layer in layers(scene, "points") if layer.get("colormap")][0]
    shown = read(scene, grey["values"])
    laws = np.stack([law(t) for t in scene.spec["times"]])
    step = 1.7 * laws.max() / 255
    np.testing.assert_allclose(shown * step, laws, atol=0.51 * step)


def test_the_scenes_stay_small_and_a_knob_may_be_dragged():
    """Bug: a notebook that grows by megabytes, or a picture that lags behind the hand."""
    import time

    times = np.concatenate([np.linspace(0, 1, 40), np.linspace(1, 0, 40)[1:]])
    states = np.random.default_rng(0).integers(0, 9, (79, 200))
    law = noised(times + 0.1)
    scene = jump_landscape(
        GRAPH, states, times, law, pull_rates=joint(LOPSIDED), push_rates=reverse(law)
    )
    assert len(scene.buffer) < 500_000 < LARGEST
    balance(1.0)
    spent = []
    for k in range(5):
        begun = time.process_time()
        balance(1.0 + k)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05


def test_a_particle_that_jumped_twice_has_no_streak_across_the_square():
    """Catches a diagonal line, which reads as a jump that no edge allows."""
    times = np.array([0.2, 0.6, 1.0])
    states = np.array([[0, 0], [1, 4], [1, 4]])  # the second one changed both of its letters
    scene = jump_landscape(
        GRAPH, states, times, noised(times), pull_rates=joint(LOPSIDED),
        push_rates=reverse(noised(times)),
    )  # fmt: skip
    found = [read(scene, layer["xy"])[1] for layer in layers(scene, "lines")[-2:]]
    shown = np.array([(streaks <= 3).all((1, 2)) for streaks in found])  # the rest is outside
    assert shown.any(0).tolist() == [True, False]


LAW = noised(np.array([0.5, 0.3]))
STATES = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: StateGraph([[0, 0], [1, 0]], [[0, 2]]), "edges between states"),
        (lambda: StateGraph([[0, 0], [1, 0]], [[0, 1], [1, 0]]), "must be pairs"),
        (lambda: StateGraph([[0, 0], [0, 0]], [[0, 1]]), "lie on each other"),
        (lambda: StateGraph([[0, 0], [1, 0]], [[0, 1]], ["a"]), "names must be"),
        (lambda: StateGraph.square(1), "size must be"),
        (lambda: GRAPH.directed(np.ones((3, 3))), "rates between states"),
        (lambda: numbers_of([[0, 3]], 3), "tokens must be"),
        (lambda: follow(Hops(), 1, 3), "frames must be"),
        (lambda: run_law(LAW[0], -np.ones((1, 9, 9)), [0.0, 1.0]), "of at least 0"),
        (lambda: run_law(LAW[0], np.ones((2, 9, 9)), [0.0, 1.0]), "rates of each piece"),
        (lambda: landscape(states=STATES[:1]), "numbers of states"),
        (lambda: landscape(states=STATES + 9), "from 0 to 8"),
        (lambda: landscape(law=LAW * 1.1), "must sum to 1"),
        (lambda: landscape(law=LAW[:, :8]), "the law must have shape"),
        (lambda: landscape(pull_rates=-np.ones((9, 9))), "at least 0"),
        (lambda: landscape(push_rates=np.ones((3, 9, 9))), "rates between states"),
        (
            lambda: flux_balance(
                GRAPH,
                [0.3, 0.5],
                LAW,
                pull_rates=np.ones((9, 9)),
                push_rates=np.ones((9, 9)),
                pushed=LAW,
            ),
            "must fall",
        ),
        (lambda: jump_lanes(GRAPH, [], lambda t: LAW[0]), "a lane to show"),
        (lambda: jump_lanes(GRAPH, sampler_lanes(), lambda t: LAW[0] * 2), "must sum to 1"),
        (
            lambda: jump_lanes(
                GRAPH, [JumpLane("a", STATES, [1.0, 0.0], [True])], lambda t: LAW[0]
            ),
            "marks of lane 'a'",
        ),
        (lambda: ribbons([[[0, 0], [1, 1]]], [-1.0]), "from -1"),
        (lambda: ribbons([[[0, 0], [1, 1]]], [1.0, 1.0]), "widths of ribbons"),
        (lambda: ribbons([[[0, 0]]], [1.0]), "two vertices"),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Bug: numpy's own words, or a picture of something else."""
    refused(wrong, words)


def landscape(**more: Any) -> Scene:
    arguments = {"states": STATES, "law": LAW, "pull_rates": joint(LOPSIDED)} | more
    arguments.setdefault("push_rates", reverse(LAW))
    states, law = arguments.pop("states"), arguments.pop("law")
    return jump_landscape(GRAPH, states, [0.5, 0.3], law, **arguments)


def ribbons(xy: object, widths: object) -> None:
    Scene(1, alt="A square with a ribbon that is refused.").panel((0, 1), (0, 1)).ribbons(
        xy, widths
    )
