"""Lanes of particles between noise and data: what each frame shows, and what is refused."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gentoolkit.viz import Lane, Scene, there_and_back, trajectories
from gentoolkit.viz.size import LARGEST
from tests.viz.kinds import unpack
from tests.viz.refused import refused

ALT = "Two points change their places in a square of side one."


def lane(name: str = "a", steps: int = 6, n: int = 9, rising: bool = False, **more: Any) -> Lane:
    """Particle i at state k lies at (i, k) / 10: every place names both."""
    row = torch.arange(n) / 10
    states = [torch.stack([row, torch.full((n,), k / 10)], 1) for k in range(steps + 1)]
    times = torch.linspace(0, 1, steps + 1)
    return Lane(name, states, times if rising else times.flip(0), **more)


def layers(scene: Scene, kind: str, panel: int) -> list[dict]:
    return [layer for layer in scene.spec["panels"][panel]["layers"] if layer["kind"] == kind]


def read(scene: Scene, name: str) -> np.ndarray:
    return unpack(scene.spec["arrays"], scene.buffer, name)


def places(scene: Scene, panel: int) -> np.ndarray:
    return read(scene, layers(scene, "points", panel)[0]["xy"])


def words(scene: Scene, panel: int) -> list[list[str]]:
    return [layer["texts"] for layer in layers(scene, "text", panel)]


@pytest.mark.parametrize("rising", [False, True])
def test_each_frame_holds_the_last_state_that_each_lane_has_reached(rising):
    """Bug: lanes stretched to one length, a state shown before its time, or the last one never."""
    fine, coarse = lane("fine", 12, rising=rising), lane("coarse", 5, rising=rising)
    scene = trajectories([fine, coarse], frames=25, extent=(-2, 2))
    times = np.array(scene.spec["times"])
    assert scene.frames == 25 and times[0] == (0 if rising else 1) and times[-1] == 1 - times[0]
    for panel, one in enumerate((fine, coarse)):
        shown = np.round(10 * places(scene, panel)[:, 0, 1]).astype(int)
        gone = times if rising else 1 - times  # states k are reached after k / T
        expected = [math.floor(t * one.steps + 1e-4) for t in gone]
        assert shown.tolist() == expected and shown[-1] == one.steps
        step = [text.split(", ")[1] for text in words(scene, panel)[0]]
        assert step == [f"step {k} of {one.steps}" for k in expected]
    assert ("pull" if rising else "push") in words(scene, 0)[0][3]


def test_uneven_grids_give_each_step_of_the_finest_lane_as_many_frames():
    """Bug: frames even in time, which jump over the steps of a grid that gathers near the data."""
    times = torch.linspace(0, 1, 9).flip(0) ** 7
    uneven = Lane("uneven", lane(steps=8).states, times)
    scene = trajectories([uneven, lane("even", 4)], frames=33)
    shown = np.round(10 * places(scene, 0)[:, 0, 1]).astype(int)
    assert np.bincount(shown).tolist() == [4] * 8 + [1]
    np.testing.assert_allclose(scene.spec["times"][::4], times, atol=1e-7)
    text = words(scene, 0)[0][20]
    assert text == f"push, step 5 of 8, t = {float(times[5]):.3f}"


def test_three_in_a_row_leave_the_time_to_the_note():
    """Bug: captions cut off at the edge of a narrow panel, in the middle of a number."""
    assert words(trajectories([lane(steps=2)] * 2), 0)[0][-1].endswith("2 of 2, t = 0.00")
    scene = trajectories([lane(steps=2)] * 3)
    assert words(scene, 0)[0][-1] == "push, step 2 of 2"
    assert "t = 0.00" in scene.spec["notes"][-1]


def test_of_equally_many_steps_the_shortest_set_the_frames():
    """Bug: a grid that gathers near the data, whose last steps all fall into one frame."""
    times = torch.linspace(0, 1, 9).flip(0) ** 4
    scene = trajectories([lane("even", 8), Lane("gathers", lane(steps=8).states, times)], frames=9)
    np.testing.assert_allclose(scene.spec["times"], times, atol=1e-7)
    assert np.round(10 * places(scene, 1)[:, 0, 1]).tolist() == list(range(9))
    assert np.round(10 * places(scene, 0)[:, 0, 1]).tolist() == [0, 3, 5, 6, 7, 7, 7, 7, 8]


def test_a_lane_of_more_steps_than_frames_is_thinned_and_keeps_its_ends():
    """Bug: a thousand steps that burst the notebook, or a last frame before the end."""
    scene = trajectories(lane(steps=1000), frames=40, extent=(-200, 200))
    assert scene.frames == 40
    shown = places(scene, 0)[:, 0, 1] * 10
    assert shown[0] == pytest.approx(0, abs=0.1) and shown[-1] == pytest.approx(1000, abs=0.1)
    assert (np.diff(shown) > 20).all()


def test_a_particle_has_one_colour_in_all_lanes():
    """Bug: colours drawn anew for each lane, so that nothing can be followed across."""
    first = lane("a")
    order = torch.tensor([4, 0, 7, 1, 8, 2, 6, 3, 5])
    mixed = Lane("a", [s[order] for s in first.path], first.times)
    other = Lane("b", list(-mixed.path), mixed.times)
    scene = trajectories([mixed, other])
    shades = [layers(scene, "points", k)[0]["values"] for k in (0, 1)]
    assert shades[0] == shades[1]
    assert np.argsort(read(scene, shades[0])).tolist() == np.argsort(order.numpy()).tolist()


def test_heat_is_the_density_of_the_frames_time_upright():
    """Bug: the density of the data in all frames, a flipped grid, or one faint scale for all."""

    def density(x: Tensor, t: Tensor) -> Tensor:
        assert t.shape == (len(x),) and bool((t == t[0]).all())
        spread = 0.2 + t
        return torch.exp(-((x[:, 0] - 1) ** 2 + (x[:, 1] + 0.5) ** 2) / (2 * spread))

    scene = trajectories(lane(steps=4), density=density, extent=(-2, 2), frames=5)
    heat = layers(scene, "heat", 0)[0]
    shown = read(scene, heat["values"]) / 255 * 1.7
    side = -2 + (np.arange(48) + 0.5) / 12
    x, y = np.meshgrid(side, side)
    for values, t in zip(shown, scene.spec["times"], strict=True):
        truth = np.exp(-((x - 1) ** 2 + (y + 0.5) ** 2) / (2 * (0.2 + t)))
        assert np.abs(values - truth / truth.max()).max() < 0.51 * 1.7 / 255 + 1e-4
        assert np.abs(truth - truth[::-1]).max() > 0.1


def test_arrows_point_along_the_score_and_never_over_each_other():
    """Bug: the score's sign or time, or a few long arrows that hide the picture."""

    def score(x: Tensor, t: Tensor) -> Tensor:
        return -x / t[:, None].clamp(min=0.01)

    scene = trajectories(lane(steps=4), score=score, frames=5, extent=(-2, 2))
    layer = layers(scene, "arrows", 0)[0]
    tails = read(scene, layer["xy"])
    moves = read(scene, layer["heads"]) - tails
    length = np.hypot(moves[..., 0], moves[..., 1])
    assert length.max() < 4 / 11 and length[-1].mean() > 1.5 * length[0].mean()
    away = np.hypot(*tails.T) > 0.5
    unit = moves[:, away] / length[:, away, None]
    inward = -tails[away] / np.hypot(*tails[away].T)[:, None]
    np.testing.assert_allclose(unit, np.broadcast_to(inward, unit.shape), atol=0.01)
    assert tails[:, 1].max() < 0.91 * 4 - 2  # the words above them stay readable


def test_the_probe_holds_the_denoiser_from_edge_to_edge_at_each_time():
    """Bug: a field of cell centres stretched over the panel, axes swapped, or one time for all."""
    scene = trajectories(
        [lane(steps=4), lane("b", 2)],
        denoiser=lambda x, t: torch.stack([x[:, 0] * (1 - t), x[:, 1] + t], 1),
        extent=(-2, 2),
        frames=5,
        probe=(0.5, -9.0),
    )
    (probe,) = layers(scene, "probe", 0)
    assert layers(scene, "probe", 1) == [] and probe["start"] == [0.5, -2.0]
    field = read(scene, probe["field"])
    side = np.linspace(-2, 2, 33)
    x, y = np.meshgrid(side, side)
    for values, t in zip(field, scene.spec["times"], strict=True):
        np.testing.assert_allclose(values[..., 0], x * (1 - t), atol=1e-3)
        np.testing.assert_allclose(values[..., 1], y + t, atol=1e-3)


def beyond(x: Tensor) -> Tensor:
    return x[:, 0] > 0.55


def test_outlines_lie_in_every_lane():
    """Catches rings that only the first lane has, or that hide the particles."""
    square = torch.tensor([[[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.0]]])
    scene = trajectories([lane("a"), lane("b")], outlines=square, extent=(-1, 1), alt=ALT)
    for panel in (0, 1):
        drawn = read(scene, layers(scene, "lines", panel)[0]["xy"])
        assert np.abs(drawn.reshape(-1, 4, 2)[0] - square[0].numpy()).max() < 1e-3
        kinds = [layer["kind"] for layer in scene.spec["panels"][panel]["layers"]]
        assert kinds.index("lines") < kinds.index("points")


def test_crosses_mark_where_the_data_end_lies_outside():
    """Bug: judged at the noise, where everything lies outside, or the negation."""
    push, pull = lane("push"), lane("pull", rising=True)
    moved = [state.copy() for state in push.path]
    moved[-1][0, 0], moved[-1][8, 0] = 0.9, 0.0
    ends = Lane("ends", moved, push.times)
    begins = Lane("begins", moved[::-1], pull.times)
    for one in (ends, begins):
        scene = trajectories(one, off=beyond)
        crossed = read(scene, layers(scene, "points", 0)[0]["crossed"]) > 0
        assert np.flatnonzero(crossed).tolist() == [0, 6, 7]
        assert words(scene, 0)[1] == ["\u00d7 end outside: 3 of 9"]
        assert "Outside of every mode end 3 in" in scene.alt
    both = there_and_back(Lane("pull", moved[::-1], pull.times), push)
    scene = trajectories(both, off=beyond)  # two ends with data: the later one counts
    crossed = read(scene, layers(scene, "points", 0)[0]["crossed"]) > 0
    assert np.flatnonzero(crossed).tolist() == [6, 7, 8]
    plain = trajectories(ends)
    assert "crossed" not in layers(plain, "points", 0)[0] and len(words(plain, 0)) == 1


def test_there_and_back_is_one_scrub_with_two_ways():
    """Bug: the noise shown twice, a way named wrong, or a time that does not turn."""
    pull = lane("pull", 4, rising=True)
    back = [pull.path[-1], *lane(steps=3).path[1:] + 1]
    joined = there_and_back(pull, Lane("push", back, [1.0, 0.7, 0.3, 0.0]))
    assert joined.name == "push" and joined.steps == 7 and joined.rising == 4
    scene = trajectories(joined, frames=8, extent=(-3, 3))
    assert scene.frames == 8 and scene.spec["times"] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1, 0.7, 0.3, 0]
    )
    np.testing.assert_allclose(places(scene, 0), joined.path, atol=1e-3)
    texts = words(scene, 0)[0]
    assert texts[0] == "pull, step 0 of 4, t = 0.00" and texts[4] == "pull, step 4 of 4, t = 1.00"
    assert texts[5] == "push, step 1 of 3, t = 0.70" and texts[7] == "push, step 3 of 3, t = 0.00"
    assert scene.spec["notes"][2] == "Pull, data to noise, t = 0.50. push: step 2 of 4."
    assert "from data to noise and back to data" in scene.alt
    density = lambda x, t: torch.exp(-x.square().sum(1) / (0.1 + t))  # noqa: E731
    heat = trajectories(joined, frames=8, density=density, extent=(-3, 3))
    values = read(heat, layers(heat, "heat", 0)[0]["values"]).astype(int)
    assert (values[0] == values[-1]).all() and values[4].sum() > 3 * values[0].sum()


def test_the_account_sums_the_log_ratios_of_the_first_lane():
    """Bug: one term off, summed over particles, or read at the wrong step."""
    each = np.random.default_rng(0).normal(size=(6, 9))
    scene = trajectories([lane(steps=6), lane("b", 3)], log_ratio=torch.from_numpy(each), frames=13)
    account = scene.spec["panels"][2]["layers"][1]
    assert account["kind"] == "accounts"
    x, y = read(scene, account["x"]), read(scene, account["y"])
    assert x.tolist() == sorted([*range(6), *range(6), 6])
    for frame, k in enumerate(x.astype(int)):
        np.testing.assert_allclose(y[:, frame], each[:k].sum(0), atol=1e-5)
    mean = read(scene, layers(scene, "lines", 2)[-1]["xy"])[0]
    np.testing.assert_allclose(mean[:, 1], [each[:k].sum(0).mean() for k in range(7)], atol=1e-3)


@dataclasses.dataclass(frozen=True)
class Here:
    """What a sampler yields."""

    time: float
    x: Tensor
    estimate: Tensor


def test_a_sampler_is_collected_with_its_estimates():
    """Bug: estimates of another particle or time as ghosts."""
    run = [Here(t, torch.full((3, 2), t), torch.full((3, 2), -t)) for t in (1.0, 0.5, 0.1)]
    made = Lane.of("walk", iter(run))
    assert made.steps == 2 and made.at.tolist() == [1.0, 0.5, 0.1]
    scene = trajectories(made, frames=3, extent=(-1, 1))
    ghosts = read(scene, layers(scene, "points", 0)[0]["ghosts"])
    np.testing.assert_allclose(ghosts, -places(scene, 0), atol=1e-4)


def crowd(name: str, steps: int, n: int) -> Lane:
    walk = np.random.default_rng(3).normal(size=(steps + 1, n, 2)).cumsum(0) / 4
    return Lane(name, list(walk), np.linspace(1, 0, steps + 1), list(0.5 * walk))


def test_two_full_lanes_stay_small_and_share_what_is_the_same():
    """Bug: the same heat sent once per lane, or a scene that bursts a notebook."""
    fields: dict[str, Any] = {
        "density": lambda x, t: torch.exp(-x.square().sum(1) / (0.2 + t)),
        "score": lambda x, t: -x,
        "denoiser": lambda x, t: x * (1 - t[:, None]),
        "off": lambda x: x[:, 0] > 2,
    }
    scene = trajectories([crowd("a", 59, 500), crowd("b", 10, 500)], extent=(-4, 4), **fields)
    assert scene.frames == 60 and len(scene.buffer) < LARGEST
    assert layers(scene, "heat", 0)[0]["values"] == layers(scene, "heat", 1)[0]["values"]
    assert scene.spec["poster"] == 38  # with a denoiser the still is taken on the way


def test_equal_numbers_on_other_windows_are_not_shared():
    """Bug: two panels that share quantised numbers although their units differ."""
    scene = Scene(1, alt=ALT)
    for far in (1.0, 2.0):
        scene.panel((-far, far), (-far, far)).points([[0.5 * far, 0.25 * far]])
    first, second = (places(scene, k)[0] for k in (0, 1))
    np.testing.assert_allclose(second, 2 * first, atol=1e-3)


GOOD = lane()
SHIFTED = dataclasses.replace(lane(), states=list(lane().path + 1))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Lane("a", [torch.zeros(3, 2)], [1.0]), "no steps"),
        (lambda: Lane("a", [], []), "no steps"),
        (lambda: Lane("a", [torch.zeros(3, 2)] * 2, [1.0, 0.5, 0.0]), "times of lane"),
        (lambda: Lane("a", [torch.zeros(3, 2)] * 2, [0.5, 0.5]), "must run"),
        (lambda: Lane("a", [torch.zeros(3, 2)] * 3, [1.0, 0.0, 1.0]), "must run"),
        (lambda: Lane("a", [torch.zeros(3, 2)] * 5, [0.0, 1.0, 0.0, 1.0, 0.0]), "must run"),
        (lambda: Lane("a", [torch.zeros(3, 3)] * 2, [1.0, 0.0]), "plane"),
        (lambda: Lane("a", [torch.zeros(3, 2), torch.zeros(4, 2)], [1.0, 0.0]), "plane"),
        (lambda: Lane("a", [torch.zeros(3, 2) * math.nan] * 2, [1.0, 0.0]), "must be finite"),
        (lambda: Lane("a", [torch.zeros(3, 2)] * 2, [1.0, 0.0], [torch.zeros(3, 2)]), "estimates"),
        (lambda: trajectories([]), "a lane to show"),
        (lambda: trajectories([GOOD, lane("b", n=4)]), "the same particles"),
        (lambda: trajectories([GOOD, lane("b", rising=True)]), "run the same way"),
        (
            lambda: trajectories([GOOD, Lane("b", GOOD.states, np.linspace(999, 0, 7))]),
            "over one time",
        ),
        (lambda: trajectories(GOOD, frames=1), "frames"),
        (lambda: trajectories(GOOD, extent=(1, -1)), "extent"),
        (lambda: trajectories(GOOD, alt="short"), "alt must"),
        (lambda: trajectories(GOOD, density=lambda x, t: x), "density must be finite"),
        (lambda: trajectories(GOOD, score=lambda x, t: x / t[:, None]), "at time 0"),
        (lambda: trajectories(GOOD, denoiser=lambda x, t: x[:, :1]), "denoiser must be finite"),
        (lambda: trajectories(GOOD, off=lambda x: x), "off must tell"),
        (lambda: trajectories(GOOD, log_ratio=np.zeros((7, 9))), "log_ratio, one per step"),
        (lambda: trajectories(GOOD, denoiser=lambda x, t: x, probe=(1, 2, 3)), "probe's start"),
        (lambda: trajectories([crowd("a", 59, 3000), crowd("b", 58, 3000)]), "too large"),
        (lambda: there_and_back(GOOD, GOOD), "there and back needs"),
        (lambda: there_and_back(lane(rising=True), SHIFTED), "must start where"),
        (lambda: Scene(2, alt=ALT).panel((0, 1), (0, 1)).probe(np.zeros((1, 5, 2)), start=(0, 0)),
         "must have cells"),
        (lambda: Scene(2, alt=ALT).panel((0, 1), (0, 1)).points([[0, 0]], crossed=[1.0]),
         "one boolean per point"),
        (lambda: Scene(2, alt=ALT).panel((0, 1), (0, 1)).points([[0, 0]], ghosts=np.zeros((2, 2))),
         "one per point and frame"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_three_parts(build, match):
    """Bug: lanes that do not belong together drawn side by side as if they did."""
    refused(build, match)
