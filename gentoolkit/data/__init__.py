"""Data: 2-D toys that are generated, digits of scikit-learn, and small files of real things.

Nothing is downloaded: digits of 28 x 28 pixels, words, tunes, molecules and graphs lie in `files`.
"""

from gentoolkit.data.chorales import Chorales, Tune, bars, chorales, note
from gentoolkit.data.digits import Digits, batches, digits
from gentoolkit.data.domains import Blobs, bent, blobs, small_mnist
from gentoolkit.data.graphs import graphs
from gentoolkit.data.mnist import mnist
from gentoolkit.data.molecules import Molecules, molecules, molecules_by_size
from gentoolkit.data.toys import (
    TOYS,
    checkerboard,
    pinwheel,
    ring,
    spirals,
    two_circles,
    two_moons,
)
from gentoolkit.data.words import Words, letters, spell, words
