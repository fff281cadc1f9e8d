"""GFlowNets: objects built move by move, in proportion to a reward."""

from gentoolkit.gflownet.build import Build, Finish
from gentoolkit.gflownet.continuous import GaussianFlowNet
from gentoolkit.gflownet.environment import Environment, masked_log_softmax
from gentoolkit.gflownet.environments import Hypergrid, Slots, Subsets
from gentoolkit.gflownet.exact import (
    Flows,
    count_paths,
    edge_residuals,
    flow_sweep,
    law,
    leaks,
    reach,
    soft_values,
    solve_flows,
    uniform_pull,
)
from gentoolkit.gflownet.graph import Graph
from gentoolkit.gflownet.model import GFlowNet, rollouts
from gentoolkit.gflownet.objectives import (
    Account,
    DetailedBalance,
    FlowMatching,
    LogVariance,
    Objective,
    SubTrajectoryBalance,
    TrajectoryBalance,
    sub_trajectory_loss,
)
from gentoolkit.gflownet.paths import Paths, join, pull_paths, push_paths
from gentoolkit.gflownet.policy import Heads, Policy, TablePolicy
from gentoolkit.gflownet.replay import ReplayBuffer
from gentoolkit.gflownet.rewards import Corners, LogOf, WeightedEnergies
from gentoolkit.gflownet.space import Space
from gentoolkit.gflownet.stochastic import Slippery, shortfall
from gentoolkit.gflownet.unify import consistency, penalised_loss
from gentoolkit.gflownet.uses import (
    cones,
    entropy,
    free_energy,
    mutual_information,
    restarted,
)
