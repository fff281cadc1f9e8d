"""GFlowNets: objects built move by move, in proportion to a reward.

Reference, where no other is given: Bengio et al. 2021, flow matching and the hypergrid (arXiv
2106.04399), and the foundations (arXiv 2111.09266).
"""

from gentoolkit.gflownet.build import Build, Finish
from gentoolkit.gflownet.continuous import GaussianFlowNet
from gentoolkit.gflownet.environment import Environment, masked_log_softmax
from gentoolkit.gflownet.environments import Hypergrid, Subsets
from gentoolkit.gflownet.exact import (
    Flows,
    count_paths,
    flow_matching_residuals,
    law,
    reach,
    soft_values,
    solve_flows,
    uniform_pull,
)
from gentoolkit.gflownet.graph import Graph
from gentoolkit.gflownet.model import GFlowNet, rollouts
from gentoolkit.gflownet.objectives import (
    BalanceTerms,
    DetailedBalance,
    FlowMatching,
    LogVariance,
    Objective,
    SubTrajectoryBalance,
    TrajectoryBalance,
)
from gentoolkit.gflownet.paths import Paths, join
from gentoolkit.gflownet.policy import NoisyPolicy, Policy, PolicyOutput, TablePolicy, shortfall
from gentoolkit.gflownet.replay import ReplayBuffer
from gentoolkit.gflownet.rewards import Corners, LogOf, WeightedEnergies
from gentoolkit.gflownet.space import Space
from gentoolkit.gflownet.unify import consistency, penalised_loss
from gentoolkit.gflownet.uses import cones, entropy, free_energy, mutual_information, restarted

__all__ = [
    "BalanceTerms",
    "Build",
    "Finish",
    "Corners",
    "DetailedBalance",
    "Environment",
    "FlowMatching",
    "Flows",
    "GFlowNet",
    "GaussianFlowNet",
    "Graph",
    "Hypergrid",
    "LogOf",
    "LogVariance",
    "Objective",
    "Paths",
    "NoisyPolicy",
    "Policy",
    "PolicyOutput",
    "ReplayBuffer",
    "Space",
    "SubTrajectoryBalance",
    "Subsets",
    "TablePolicy",
    "TrajectoryBalance",
    "WeightedEnergies",
    "cones",
    "consistency",
    "count_paths",
    "entropy",
    "flow_matching_residuals",
    "free_energy",
    "join",
    "law",
    "masked_log_softmax",
    "mutual_information",
    "penalised_loss",
    "reach",
    "restarted",
    "rollouts",
    "shortfall",
    "soft_values",
    "solve_flows",
    "uniform_pull",
]
