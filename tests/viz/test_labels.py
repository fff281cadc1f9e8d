"""Words that keep clear of each other."""

import numpy as np
import pytest

from gentoolkit.viz.labels import apart


def test_places_are_pushed_apart_and_no_further() -> None:
    """Catches labels on top of each other, and ones that wander off from what they name."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(10, 2)) * 0.3
    places[1] = places[0]
    moved = apart(places, 0.4)
    distance = np.linalg.norm(moved[:, None] - moved[None], axis=2) + 9 * np.eye(10)
    assert distance.min() >= 0.39
    assert np.linalg.norm(moved - places, axis=1).max() < 1.0
    far = np.array([[0.0, 0.0], [5.0, 0.0]])
    assert np.abs(apart(far, 0.4) - far).max() < 1e-3
    with pytest.raises(ValueError, match="places"):
        apart([1.0, 2.0], 0.4)
