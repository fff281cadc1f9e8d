"""Small molecules: which atoms, and where."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

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


def molecules_by_size(elements: Sequence[int], sizes: Iterable[int]) -> dict[int, Tensor]:
    """Return the molecules made of some elements, by size: positions, then one-hot types.

    Arguments:
        elements: K atomic numbers; a type is the number of a place in this list.
        sizes: numbers of atoms that are wanted.

    Returns:
        For each size A with a molecule, (B, A, 3 + K).
    """
    found: dict[int, list[Tensor]] = {size: [] for size in sizes}
    everything, order = molecules(), list(elements)
    for numbers, place, size in zip(
        everything.numbers, everything.positions, everything.sizes.tolist(), strict=True
    ):
        atoms = numbers[:size].tolist()
        if size in found and set(atoms) <= set(order):
            kind = one_hot(torch.tensor([order.index(a) for a in atoms]), len(order))
            where = place[:size] - place[:size].mean(0)
            found[size].append(torch.cat([where, kind.to(place)], 1))
    return {size: torch.stack(rows) for size, rows in found.items() if rows}


RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66}
"""Covalent radii in angstrom of H, C, N, O (Cordero et al. 2008)."""
VALENCES = {1: 1, 6: 4, 7: 3, 8: 2}
"""How many neighbours an atom of H, C, N, O has at most, in the molecules of this set."""


def bonds(numbers: Tensor, positions: Tensor, stretch: float = 1.25) -> Tensor:
    """Return which atoms are bonded, judged by distance alone, (B, A, A), True or False.

        d_ij < stretch (r_i + r_j)

    Arguments:
        numbers: atomic numbers of H, C, N and O, (B, A).
        positions: in angstrom, (B, A, 3).
        stretch: how much longer than the sum of the covalent radii a bond may be.

    Raises:
        ValueError: an element without a radius.
    """
    gap, sums = _pairs(numbers, positions)
    return gap < stretch * sums


def plausible(numbers: Tensor, positions: Tensor) -> dict[str, Tensor]:
    """Return what distances and valences say of molecules of one size, each (B,), True or False.

    `apart`: no two atoms are nearer than 0.7 of a bond. `joined`: the bonds hold all atoms
    together. `valences`: no atom has more neighbours than its valence, and none has none. `all`:
    these three. Bond orders, charges and strain are not looked at: a necessary test, no proof.

    Arguments:
        numbers: atomic numbers of H, C, N and O, (B, A).
        positions: in angstrom, (B, A, 3).

    Raises:
        ValueError: an element without a radius.
    """
    bonded = bonds(numbers, positions)
    gap, sums = _pairs(numbers, positions)
    most = _table(VALENCES, numbers)
    count = bonded.sum(2)
    reach = bonded.double() + torch.eye(numbers.shape[1], dtype=torch.float64)
    joined = torch.linalg.matrix_power(reach, max(1, numbers.shape[1] - 1)).gt(0).all(2).all(1)
    found = {
        "apart": (gap > 0.7 * sums).all(2).all(1),
        "joined": joined,
        "valences": ((count >= 1) & (count <= most)).all(1),
    }
    return found | {"all": found["apart"] & found["joined"] & found["valences"]}


def _pairs(numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances, infinite from an atom to itself, and sums of radii, (B, A, A)."""
    radius = _table(RADII, numbers)
    gap = torch.cdist(positions.double(), positions.double())
    own = torch.eye(numbers.shape[1], dtype=torch.bool)
    return gap.masked_fill(own, torch.inf), radius[:, :, None] + radius[:, None]


def _table(values: Mapping[int, float], numbers: Tensor) -> Tensor:
    known = torch.tensor(sorted(values))
    if not bool(torch.isin(numbers, known).all()):
        strange = sorted(set(numbers.flatten().tolist()) - set(values))
        raise ValueError(
            f"atoms must be of H, C, N or O; got atomic numbers {strange}; leave such molecules "
            "out, and empty places too"
        )
    row = torch.zeros(int(known.max()) + 1, dtype=torch.float64)
    for number, value in values.items():
        row[number] = value
    return row[numbers]
