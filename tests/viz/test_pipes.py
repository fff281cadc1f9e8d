"""Flows of reward in pipes: widths, runners, leaks, and a sum that telescopes."""

import time
from typing import Any

import numpy as np
import pytest
import torch

from gentoolkit.gflownet import (
    Corners,
    Flows,
    Hypergrid,
    Space,
    Subsets,
    flow_matching_residuals,
    restarted,
    soft_values,
    solve_flows,
    uniform_pull,
)
from gentoolkit.gflownet import law as law_of
from gentoolkit.viz import Pipes, Scene, along, learned_pipes, path_account, running_pipes
from gentoolkit.viz.pipe_graph import run, waypoints
from gentoolkit.widgets import Knob, tune
from tests.viz.kinds import unpack
from tests.viz.refused import refused

SPACE = Space(Hypergrid(8, 2))
REWARD = Corners(8)(SPACE.rows)
PIPES = Pipes.grid(SPACE.rows, SPACE.child)


def layers(scene: Scene, kind: str, panel: int = 0) -> list[dict]:
    return [layer for layer in scene.spec["panels"][panel]["layers"] if layer["kind"] == kind]


def read(scene: Scene, name: str) -> np.ndarray:
    return unpack(scene.spec["arrays"], scene.buffer, name)


def water(flows: Flows, pipes: Pipes = PIPES, **more: Any) -> Scene:
    edges = flows.edges()
    arguments: dict[str, Any] = {
        "flow": along(flows.space.child, edges),
        "stop": edges[:, -1],
        "target": flows.target(),
        "law": flows.law(),
    } | more
    return running_pipes(pipes, arguments.pop("flow"), arguments.pop("stop"), **arguments)


def skewed() -> tuple[torch.Tensor, torch.Tensor]:
    """A log-flow and a push that do not fit each other."""
    generator = torch.Generator().manual_seed(0)
    push = torch.rand(64, 3, generator=generator) * SPACE.allowed(torch.arange(64))
    log_flow = solve_flows(SPACE, REWARD).flow.log() + 0.3 * torch.randn(64, generator=generator)
    return log_flow, push / push.sum(1, keepdim=True)


def test_pipes_lead_down_and_to_the_right_and_read_their_own_flow():
    """Bug: the grid upside down, a pipe turned round, or the flow of another pipe."""
    at = PIPES.graph.at
    assert len(PIPES.graph.pairs) == 112 and PIPES.source == 0
    for (upper, lower), way in zip(PIPES.graph.pairs, PIPES.ways, strict=True):
        step = SPACE.rows[lower] - SPACE.rows[upper]
        assert step.sum() == 1
        np.testing.assert_allclose(at[lower] - at[upper], step.numpy() * [1, -1])
        np.testing.assert_allclose(np.hypot(*(way[0] - at[upper])), 0.26, atol=0.01)
        np.testing.assert_allclose(np.hypot(*(way[-1] - at[lower])), 0.26, atol=0.01)
        assert (np.diff(way @ (at[lower] - at[upper])) > 0).all()
    flows = solve_flows(SPACE, REWARD)
    picked = along(SPACE.child, flows.edges())
    # What a state sends and keeps is its flow; what it gets is its flow, but for the source.
    out = np.bincount(PIPES.graph.pairs[:, 0], picked, 64) + REWARD.numpy()
    come = np.bincount(PIPES.graph.pairs[:, 1], picked, 64)
    np.testing.assert_allclose(out, flows.flow)
    np.testing.assert_allclose(come[1:], flows.flow[1:])


def test_widths_are_flows_and_bars_the_two_laws():
    """Bug: widths by share or square, drops for pipes, or the two laws exchanged."""
    flows = soft_values(SPACE, REWARD)
    scene = water(flows)
    pipes, drops = layers(scene, "ribbons")
    flow = along(SPACE.child, flows.edges())
    np.testing.assert_allclose(read(scene, pipes["widths"]), 13 * flow / flow.max(), rtol=1e-5)
    np.testing.assert_allclose(read(scene, drops["widths"]), 13 * REWARD / flow.max(), rtol=1e-5)
    _, target, law = layers(scene, "lines", 1)
    top = min(float(flows.law().max()), 1.6 * float(flows.target().max()))
    for layer, wanted in ((target, flows.target()), (law, flows.law())):
        foot, head = np.moveaxis(read(scene, layer["xy"]), 1, 0)
        np.testing.assert_allclose(foot[:, 0], PIPES.graph.at[:, 0], atol=1e-3)
        np.testing.assert_allclose(head[:, 0], foot[:, 0], atol=1e-3)
        tall = 0.74 * (wanted / top).clamp_max(1.0).numpy()
        np.testing.assert_allclose(head[:, 1] - foot[:, 1], tall, atol=1e-3)
    off = 0.5 * float((flows.law() - flows.target()).abs().sum())
    assert off > 0.5 and f"off by {off:.3f}" in scene.spec["notes"][0] and f"{off:.3f}" in scene.alt
    assert "off by 0.000" in water(solve_flows(SPACE, REWARD)).alt
    doubled = water(solve_flows(SPACE, 2 * REWARD), widest=float(flow.max()))
    exact = along(SPACE.child, solve_flows(SPACE, REWARD).edges())
    wide = read(doubled, layers(doubled, "ribbons")[0]["widths"])
    np.testing.assert_allclose(wide, 26 * exact / flow.max(), rtol=1e-5)


def test_runners_drop_in_proportion_to_the_law_and_stay_in_the_pipes():
    """Bug: a runner that jumps a pipe, moves after its drop, or splits by something else."""
    n, flows = 40_000, solve_flows(SPACE, REWARD)
    edges = flows.edges()
    flow, stop = along(SPACE.child, edges), edges[:, -1].numpy()
    taken = run(PIPES, flow, stop, n)
    pairs = np.concatenate([PIPES.graph.pairs, np.stack([np.arange(64)] * 2, axis=1)])
    assert (pairs[taken[0], 0] == 0).all()
    for now, then in zip(taken[:-1], taken[1:], strict=True):
        goes = then >= 0
        assert (goes == ((now >= 0) & (now < 112))).all()
        assert (pairs[now[goes], 1] == pairs[then[goes], 0]).all()
    ends = taken.max(0) - 112
    share, law = np.bincount(ends, minlength=64) / n, flows.law().numpy()
    error = np.sqrt(law * (1 - law) / n)
    assert (abs(share - law) < 4 * error).all()
    assert not (abs(share - soft_values(SPACE, REWARD).law().numpy()) < 4 * error).all()
    np.testing.assert_allclose(waypoints(PIPES, taken)[-1], PIPES.drops[ends, 1])
    few = water(flows, particles=30)
    at = read(few, layers(few, "points")[-1]["xy"])
    assert (np.hypot(*(at[-1] - PIPES.drops[run(PIPES, flow, stop, 30).max(0) - 112, 1]).T)
            < 0.1).all()  # fmt: skip
    assert np.hypot(*at[0].T).max() < 0.1 and "30 of 30" in few.spec["notes"][-1]


def test_water_may_come_in_at_any_state():
    """Bug: runners from the source of all, where a restarted flow is dry, or outside its cone."""
    start = int(SPACE.index(torch.tensor([[2, 3]])))
    flows = restarted(SPACE, REWARD, start)
    scene = water(flows, start=start)
    at = read(scene, layers(scene, "points")[-1]["xy"])
    place = PIPES.graph.at[start]
    assert np.hypot(*(at[0] - place).T).max() < 0.1
    assert at[..., 0].min() > 1.9 and at[..., 1].max() < -2.9
    assert "off by 0.000" in scene.alt and "80 of 80" in scene.spec["notes"][-1]
    ring = read(scene, layers(scene, "lines")[-1]["xy"])
    np.testing.assert_allclose(ring[0, :-1].mean(0), place, atol=1e-2)
    refused(lambda: water(flows), "would be stuck")
    refused(lambda: water(flows, start=64), "got start 64")


def test_snapshots_show_the_leaks_of_their_own_frame():
    """Bug: a leak of the wrong sign, frame or state; a ring where nothing leaks."""
    log_flow, push = skewed()
    exact = solve_flows(SPACE, REWARD)
    found = [(log_flow, push), (exact.flow.log(), exact.push)]
    edges = [f.exp()[:, None] * p for f, p in found]
    leak = np.stack([flow_matching_residuals(SPACE, f, p) for f, p in found])
    scene = learned_pipes(
        PIPES,
        np.stack([along(SPACE.child, e) for e in edges]),
        np.stack([e[:, -1] for e in edges]),
        target=exact.target(),
        law=np.stack([law_of(SPACE, p) for _, p in found]),
        leaks=leak,
        times=[0, 20],
        poster_frame=0,
    )
    assert scene.spec["poster"] == 0
    shown = read(scene, layers(scene, "points")[-1]["values"]) / 255 * 4 - 2
    np.testing.assert_allclose(shown, np.clip(leak, -2, 2), atol=0.01)
    worst = int(abs(leak[0]).argmax())
    ring = read(scene, layers(scene, "lines")[-1]["xy"])
    np.testing.assert_allclose(ring[0, 0, :-1].mean(0), PIPES.graph.at[worst], atol=1e-2)
    with_lines = [
        panel
        for panel in scene.spec["panels"]
        if any(layer["kind"] == "lines" for layer in panel["layers"])
    ]
    panel = with_lines[-1]
    assert (ring[1] > [panel["x"][1], panel["y"][1]]).all()  # out of sight where nothing leaks
    side = "too much" if leak[0, worst] > 0 else "too little"
    assert f"State {PIPES.graph.names[worst]} leaks most" in scene.spec["notes"][0]
    assert scene.spec["notes"][0].endswith(f"{side}.") and "tight" in scene.spec["notes"][1]


def test_the_residuals_of_a_path_sum_to_that_of_the_whole():
    """Bug: a residual of the wrong sign or left out, such as that of the stop."""
    log_flow, push = skewed()
    pull, ids = uniform_pull(SPACE), SPACE.index(torch.tensor([[0, 0], [1, 0], [1, 1], [1, 2]]))
    rows = torch.tensor([0, 1, 1])
    moves = log_flow[ids[1:]] + pull[ids[1:], rows].log() - log_flow[ids[:-1]]
    moves -= push[ids[:-1], rows].log()
    stop = REWARD[ids[-1:]].log() - log_flow[ids[-1:]] - push[ids[-1:], -1].log()
    total = REWARD[ids[-1]].log() + pull[ids[1:], rows].log().sum() - log_flow[0]
    total -= push[ids[:-1], rows].log().sum() + push[ids[-1], -1].log()
    edges = log_flow.exp()[:, None] * push
    scene = path_account(
        PIPES, along(SPACE.child, edges), edges[:, -1], ids, torch.cat([moves, stop]),
        total=float(total), leaks=flow_matching_residuals(SPACE, log_flow, push),
    )  # fmt: skip
    (account,) = layers(scene, "accounts", 1)
    sums = read(scene, account["y"])[0]
    assert scene.frames == 5 and sums[0] == 0 and abs(sums[-1] - float(total)) < 1e-5
    bars = read(scene, layers(scene, "bars", 1)[0]["heights"])
    np.testing.assert_allclose(bars.sum(1), sums, atol=1e-5)
    runner = read(scene, layers(scene, "points")[-1]["xy"])[:, 0]
    np.testing.assert_allclose(runner[:4], PIPES.graph.at[ids], atol=1e-3)
    np.testing.assert_allclose(runner[4], PIPES.drops[ids[-1], 1], atol=1e-3)
    words = f"{float(total):+.3f}".replace("-", "\u2212")
    assert scene.spec["notes"][-1].count(words) == 2


def test_knobs_of_reward_and_pull_settle_the_water_while_dragged():
    """Bug: a knob that moves nothing or the wrong cell, or a picture that lags behind the hand."""
    cell, node = int(SPACE.index(torch.tensor([[5, 2]]))), int(SPACE.index(torch.tensor([[6, 6]])))

    def settled(values: Any) -> Scene:
        reward, pull = REWARD.clone(), uniform_pull(SPACE)
        reward[cell] = values["reward"]
        pull[node] = torch.tensor([values["split"], 1 - values["split"]])
        if values["forget"]:
            return water(soft_values(SPACE, reward))
        return water(solve_flows(SPACE, reward, pull))

    knobs = {"reward": Knob(0.1, 5, 0.1), "split": Knob(0, 1, 0.5), "forget": Knob(0, 1, 0, 1)}
    tuned = tune(settled, knobs)
    tuned.turn("reward", 5.0)
    assert tuned.message == "" and "off by 0.000" in tuned.player.spec["alt"]
    tuned.turn("forget", 1.0)
    assert tuned.message == "" and "off by 0.000" not in tuned.player.spec["alt"]
    scene = settled({"reward": 5.0, "split": 1.0, "forget": 0.0})
    drops = read(scene, layers(scene, "ribbons")[1]["widths"])
    pipes = read(scene, layers(scene, "ribbons")[0]["widths"])
    assert drops[cell] == drops.max()
    into = PIPES.graph.pairs[:, 1] == node
    assert sorted(pipes[into])[0] == 0 < sorted(pipes[into])[1]
    spent = []
    for k in range(6):
        begun = time.process_time()
        settled({"reward": 1.0 + k, "split": 0.3, "forget": 0.0})
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.04 and len(scene.buffer) < 100_000


def test_any_small_acyclic_graph_is_laid_out():
    """Bug: a picture for grids alone, or two states on one place."""
    space = Space(Subsets(3))
    pipes = Pipes.levels(space.child)
    reward = torch.arange(1.0, space.size + 1)
    scene = water(solve_flows(space, reward), pipes)
    assert pipes.depth.tolist() == space.depth.tolist()
    assert "off by 0.000" in scene.alt


def test_the_ring_of_a_leak_spares_the_names():
    """Bug: a red ring through the name of the state that leaks most."""
    space = Space(Subsets(3))
    pipes = Pipes.levels(space.child)
    flows = solve_flows(space, torch.ones(space.size))
    scene = water(flows, pipes, leaks=np.arange(8.0))
    assert "State 7 leaks most: it takes in 7.00 nats too much." in scene.spec["notes"][0]
    ring = read(scene, layers(scene, "lines")[-1]["xy"])[0]
    top = ring[:-1, 1].max() - pipes.graph.at[7, 1]
    names = [t for t in layers(scene, "text") if t["texts"][0] in pipes.graph.names]
    places = np.stack([read(scene, t["xy"]).ravel() for t in names])
    above = places[:, 1] - pipes.graph.at[:, 1]
    letters = 0.5 * pipes.graph.room  # half their height, and air
    assert len(names) == 8 and above.min() > top + letters


def pair(**more: Any) -> Scene:
    arguments: dict[str, Any] = {"flow": [1.0], "stop": [1.0, 1.0], "target": [0.5, 0.5]}
    arguments |= {"law": [0.5, 0.5]} | more
    two = Pipes([[0, 0], [1, 0]], [[0, 1]])
    return running_pipes(two, arguments.pop("flow"), arguments.pop("stop"), **arguments)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Pipes([[0, 0], [1, 0], [0, 1]], [[0, 1], [1, 2], [2, 0]]), "in a circle"),
        (lambda: Pipes([[0, 0], [1, 0], [0, 1]], [[0, 2], [1, 2]]), "got 2 states that no pipe"),
        (lambda: Pipes.grid(np.eye(3), np.full((3, 1), -1)), "rows of the grid"),
        (lambda: along(SPACE.child, np.ones((63, 2))), "the table must have"),
        (lambda: pair(flow=[-1.0]), "from -1"),
        (lambda: pair(stop=[1.0]), "the stop flow must have"),
        (lambda: pair(stop=[1.0, 0.0]), "stuck"),
        (lambda: pair(law=[0.5, 0.6]), "must sum to 1"),
        (lambda: pair(leaks=[1.0]), "leaks of states must have"),
        (lambda: pair(particles=0), "particles must be"),
        (lambda: pair(flow=[0.0], stop=[1.0, 0.0]), "the widest flow must be"),
        (
            lambda: path_account(PIPES, np.ones(112), np.ones(64), [0, 63], [0.0, 0.0], total=0.0),
            "must follow the pipes",
        ),
    ],
)
def test_bad_arguments_say_what_is_wrong(wrong, words):
    """Bug: numpy's own words, or a picture of something else."""
    refused(wrong, words)
