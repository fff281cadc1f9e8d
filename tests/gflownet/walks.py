"""Oracles by brute force: every path of a small environment, one after the other."""

import torch


def every_path(environment):
    """All paths from the source to a stop: lists of (row, move), the stop included."""
    finished = []

    def walk(state, path):
        allowed = environment.allowed(state)[0]
        for move in allowed.nonzero()[:, 0].tolist():
            step = [*path, (tuple(state[0].tolist()), move)]
            if move == environment.moves:
                finished.append(step)
            else:
                walk(environment.step(state, torch.tensor([move])), step)

    walk(environment.start(1), [])
    return finished


def law_by_paths(space, push):
    """The law of the objects as a sum over all paths, state by state."""
    law = torch.zeros(space.size)
    for path in every_path(space.environment):
        probability = 1.0
        for row, move in path:
            probability *= float(push[int(space.index(torch.tensor([row]))), move])
        law[int(space.index(torch.tensor([path[-1][0]])))] += probability
    return law


def paths_by_object(environment):
    """How many paths lead to each object."""
    counts = {}
    for path in every_path(environment):
        counts[path[-1][0]] = counts.get(path[-1][0], 0) + 1
    return counts
