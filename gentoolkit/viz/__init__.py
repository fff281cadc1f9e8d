"""Pictures: a scene of moving layers that any page can play, and what it is drawn with.

Charts that stand still are in ``gentoolkit.viz.charts``, which loads plotly and is therefore not
imported here.
"""

from gentoolkit.viz.colors import NEUTRAL, PULL, PUSH
from gentoolkit.viz.jumps import (
    JumpLane,
    StateGraph,
    flux_balance,
    follow,
    jump_landscape,
    jump_lanes,
    numbers_of,
    run_law,
)
from gentoolkit.viz.lane import Lane, there_and_back
from gentoolkit.viz.output import mode
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.strip import strip, strip_rows
from gentoolkit.viz.tokens import token_grid, token_rows
from gentoolkit.viz.trajectory import trajectories

__all__ = [
    "NEUTRAL",
    "PULL",
    "PUSH",
    "JumpLane",
    "Lane",
    "Panel",
    "Scene",
    "StateGraph",
    "flux_balance",
    "follow",
    "jump_landscape",
    "jump_lanes",
    "mode",
    "numbers_of",
    "run_law",
    "strip",
    "strip_rows",
    "there_and_back",
    "token_grid",
    "token_rows",
    "trajectories",
]
