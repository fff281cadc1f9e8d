"""What the shared laws run on: targets with exact samples."""

from gentoolkit.targets import DoubleWell, DoubleWellParticles, eight_gaussians
from tests.flows.subspace import InCoordinates
from tests.laws.examples import lopsided
from tests.laws.kinds import Densities, Normalised

DENSITIES: Densities = {
    "eight gaussians": lambda: Normalised(eight_gaussians()),
    "lopsided mixture": lambda: Normalised(lopsided()),
    "two wells of a pair": lambda: InCoordinates(DoubleWellParticles(2)),
    "double well": lambda: Normalised(DoubleWell(2, 3.0)),
}
