"""Data: 2-D toys that are generated, and digits that come with scikit-learn. No download."""

from gentoolkit.data.digits import Digits, batches, digits
from gentoolkit.data.toys import (
    TOYS,
    checkerboard,
    pinwheel,
    ring,
    spirals,
    two_circles,
    two_moons,
)
