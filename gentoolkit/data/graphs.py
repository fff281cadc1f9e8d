"""Every connected graph of up to seven nodes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gentoolkit.data.real import lines


def graphs(nodes: int) -> Tensor:
    """Load every connected graph of so many nodes, each once up to renaming its nodes.

    There are 1, 1, 2, 6, 21, 112 and 853 of them. Nothing is downloaded.

    Arguments:
        nodes: from 1 to 7.

    Returns:
        Symmetric matrices of zeros and ones with an empty diagonal, (N, nodes, nodes).

    Raises:
        ValueError: another number of nodes.

    Reference: Read and Wilson 1998, An Atlas of Graphs.

    >>> graphs(3).sum((1, 2)).tolist()
    [4.0, 6.0]
    """
    if not 1 <= nodes <= 7:
        raise ValueError(f"graphs of 1 to 7 nodes are known here; got {nodes}; ask for one of them")
    head = chr(63 + nodes)
    found = []
    for line in lines("graphs.g6"):
        if line[0] == head:
            bits = [(ord(sign) - 63) >> (5 - i) & 1 for sign in line[1:] for i in range(6)]
            matrix = torch.zeros(nodes, nodes)
            at = 0
            for column in range(nodes):
                for row in range(column):
                    matrix[row, column] = matrix[column, row] = bits[at]
                    at += 1
            found.append(matrix)
    return torch.stack(found)


def graph6(edges: Sequence[bool], nodes: int) -> str:
    """Return the upper triangle, column after column, in the text form that graph6 names.

    Reference: McKay, Description of graph6 and sparse6 encodings.
    """
    bits = [*edges, *([False] * (-len(edges) % 6))]
    groups = [bits[i : i + 6] for i in range(0, len(bits), 6)]
    signs = [chr(63 + sum(bit << (5 - i) for i, bit in enumerate(group))) for group in groups]
    return chr(63 + nodes) + "".join(signs)
