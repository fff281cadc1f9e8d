"""Small worlds that the tests walk, a reward of any of them, and any way back."""

import torch

from gentoolkit.gflownet import Graph, Hypergrid, Subsets

EDGES = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d"), ("d", "e"), ("b", "e")]
SPACES = {
    "grid": lambda: Hypergrid(4, 2),
    "cube": lambda: Hypergrid(3, 3),
    "subsets": lambda: Subsets(4, least=1, most=3),
    "graph": lambda: Graph(EDGES, stops=["d", "e", "b"]),
}


def reward_of(rows):
    """A positive reward of any rows of small numbers."""
    weight = torch.arange(1, rows.shape[1] + 1) * 0.7
    return 0.2 + (rows * weight).sin().square().sum(1)


def random_pull(space):
    """Any law over the parents of each state."""
    logits = torch.randn(space.size, space.moves)
    mask = (space.parent >= 0) | (space.parent < 0).all(1, keepdim=True)
    pull = logits.masked_fill(~mask, -torch.inf).softmax(1)
    return torch.where(space.parent >= 0, pull, 0.0)
