"""What distances and valences say of molecules."""

import pytest
import torch

from gentoolkit.data import molecules, molecules_by_size
from gentoolkit.data.molecules import bonds, plausible

WATER = torch.tensor([[8, 1, 1]])
PLACES = torch.tensor([[[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]]])


def test_water_has_two_bonds():
    """Catches a bond of an atom to itself, and one between the two hydrogens, 1.53 apart."""
    got = bonds(WATER, PLACES)[0]
    assert got.tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    assert all(bool(v) for v in plausible(WATER, PLACES).values())


def test_each_fault_has_its_name():
    """Catches a test that is passed by everything."""
    torn = PLACES.clone()
    torn[0, 1] *= 4
    found = plausible(WATER, torn)
    assert not found["joined"] and not found["valences"] and not found["all"] and found["apart"]
    crushed = plausible(WATER, 0.5 * PLACES)
    assert not crushed["apart"] and not crushed["all"]
    # Three hydrogens around one oxygen, and two lone pairs of atoms that bonds do not join.
    three = torch.tensor([[8, 1, 1, 1]])
    star = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [-0.5, 0.866, 0], [-0.5, -0.866, 0]]])
    assert not plausible(three, star)["valences"] and plausible(three, star)["joined"]
    pairs = torch.tensor([[[0.0, 0, 0], [0.74, 0, 0], [9, 0, 0], [9.74, 0, 0]]])
    apart = plausible(torch.ones(1, 4, dtype=torch.long), pairs)
    assert apart["valences"] and not apart["joined"]


def test_most_real_molecules_pass():
    """Catches radii in another unit: the share of the set's own molecules that pass."""
    everything = molecules()
    passed = []
    for numbers, place, size in zip(
        everything.numbers, everything.positions, everything.sizes.tolist(), strict=True
    ):
        if set(numbers[:size].tolist()) <= {1, 6, 7, 8}:
            passed.append(bool(plausible(numbers[None, :size], place[None, :size])["all"]))
    assert len(passed) == 81 and sum(passed) >= 75


def test_other_elements_are_refused():
    """Catches fluorine, or an empty place, read as some other atom."""
    for strange in (9, 0, 92):
        with pytest.raises(ValueError, match=f"got atomic numbers .{strange}"):
            bonds(torch.tensor([[strange, 1]]), torch.zeros(1, 2, 3))


def test_molecules_come_by_size_with_their_types():
    """Catches types that number the elements otherwise, and a mean position that is not zero."""
    groups = molecules_by_size((1, 8), (3, 4))
    assert set(groups) == {3, 4} and groups[3].shape[1:] == (3, 5)
    assert groups[4][..., 3:].sum(-1).eq(1).all()
    assert max(float(rows[..., :3].mean(1).abs().max()) for rows in groups.values()) < 1e-6
    oxygens = groups[3][..., 4].sum(1).tolist()
    assert sorted(oxygens) == [1.0, 3.0], "water and ozone"
