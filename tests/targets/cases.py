"""What the shared laws run on: targets with exact samples."""

from gentoolkit.targets import DoubleWell, eight_gaussians
from tests.laws.examples import lopsided
from tests.laws.kinds import Densities, Normalised

DENSITIES: Densities = {
    "eight gaussians": lambda: Normalised(eight_gaussians()),
    "lopsided mixture": lambda: Normalised(lopsided()),
    "double well": lambda: Normalised(DoubleWell(2, 3.0)),
}
