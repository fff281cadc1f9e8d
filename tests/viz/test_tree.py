"""The picture of a tree: what speaks, what is filled in, and what is refused."""

import numpy as np
import pytest

from gentoolkit.viz.scene import Scene
from gentoolkit.viz.tree import tree_panel

DEEP = [None, 0, 0, 1, 1, 2, 2]
ALT = "A tree of seven nodes, two of whose leaves are hidden."


def layers(scene, kind):
    return [layer for layer in scene.spec["panels"][0]["layers"] if layer["kind"] == kind]


def widths(scene, layer):
    spec = scene.spec["arrays"][layer["widths"]]
    raw = np.frombuffer(scene.buffer, np.float32, int(np.prod(spec["shape"])), spec["offset"])
    return raw.reshape(spec["shape"])


def test_a_node_speaks_if_one_of_its_leaves_does():
    """Catches an arrow up from a node that heard nothing, and a hidden leaf that is not filled."""
    scene = Scene(1, alt=ALT)
    tree_panel(scene, DEEP, [False, False, True, False], names=["a", "b", "c", "d"])
    up, down = layers(scene, "ribbons")
    assert up["dash"] and not down["dash"]
    # The leaves come first (deepest), then the inner nodes.
    assert widths(scene, up).tolist() == [0, 0, 5, 0, 0, 5]
    assert widths(scene, down).tolist() == [5, 5, 0, 5, 5, 0]
    assert [t["texts"] for t in layers(scene, "text")] == [["a"], ["b"], ["c"], ["d"], ["root"]]


def test_leaves_may_be_hidden_in_some_frames():
    """Catches a picture that stands still while the mask moves."""
    scene = Scene(2, alt=ALT)
    tree_panel(scene, [None, 0, 0], [[True, False], [True, True]])
    up, down = layers(scene, "ribbons")
    assert widths(scene, up).tolist() == [[5, 0], [5, 5]]
    assert widths(scene, down).tolist() == [[0, 5], [0, 0]]


def test_what_is_no_tree_is_refused():
    """Catches two roots, a leaf without a name, a mask of another length."""
    for parents, seen, names in (
        ([None, None, 0], [True, True], []),
        ([None, 0, 0], [True], []),
        ([None, 0, 0], [True, True], ["a"]),
    ):
        with pytest.raises(ValueError, match="got"):
            tree_panel(Scene(1, alt=ALT), parents, seen, names=names)
