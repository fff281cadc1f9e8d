"""Pictures: a scene of moving layers that any page can play, and what it is drawn with.

Charts that stand still are in ``gentoolkit.viz.charts``, which loads plotly and is therefore not
imported here.
"""

from gentoolkit.viz.colors import NEUTRAL, PULL, PUSH
from gentoolkit.viz.graph import StateGraph
from gentoolkit.viz.jumps import (
    JumpLane,
    flux_balance,
    flux_scatter,
    follow,
    jump_landscape,
    jump_lanes,
    numbers_of,
    run_law,
)
from gentoolkit.viz.lane import Lane, there_and_back
from gentoolkit.viz.letters import piano_roll, word_grid
from gentoolkit.viz.output import mode
from gentoolkit.viz.panel import Panel
from gentoolkit.viz.pipes import Pipes, along, learned_pipes, path_account, running_pipes
from gentoolkit.viz.scene import Scene
from gentoolkit.viz.tiles import picture_rows, strip, strip_rows, token_grid, token_rows
from gentoolkit.viz.trajectory import trajectories
