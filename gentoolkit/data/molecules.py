"""Small molecules: which atoms, and where."""

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.data.real import lines

SYMBOLS = {
    1: "H", 3: "Li", 4: "Be", 5: "B", 6: "C", 7: "N", 8: "O", 9: "F",
    11: "Na", 13: "Al", 14: "Si", 15: "P", 16: "S", 17: "Cl",
}  # fmt: skip


@dataclass(frozen=True)
class Molecules:
    """Molecules of unequal size, filled up to the largest.

    Arguments:
        names: formulas, such as "CH3CHO".
        numbers: (N, A) atomic numbers, 0 where there is no atom.
        positions: (N, A, 3) in angstrom, the mean of each molecule's atoms at zero; 0 where there
            is no atom.
    """

    names: list[str]
    numbers: Tensor
    positions: Tensor

    @property
    def sizes(self) -> Tensor:
        """Atoms of each molecule, (N,)."""
        return (self.numbers > 0).sum(1)


def molecules() -> Molecules:
    """Load the 148 molecules and radicals of the G2/97 set; nothing is downloaded.

    They have 2 to 14 atoms of 14 elements (`SYMBOLS` names them).

    Reference: Curtiss, Raghavachari, Redfern and Pople 1997, Journal of Chemical Physics.
    """
    rows = [json.loads(line) for line in lines("molecules.jsonl")]
    largest = max(len(row["numbers"]) for row in rows)
    numbers = torch.zeros(len(rows), largest, dtype=torch.long)
    positions = torch.zeros(len(rows), largest, 3)
    for i, row in enumerate(rows):
        n = len(row["numbers"])
        numbers[i, :n] = torch.tensor(row["numbers"])
        where = torch.tensor(row["positions"], dtype=torch.float64)
        positions[i, :n] = (where - where.mean(0)).to(positions)
    return Molecules([row["name"] for row in rows], numbers, positions)
