"""A tree whose leaves speak or are hidden: messages go up, what is filled in goes down."""

from collections.abc import Sequence

import numpy as np

from gentoolkit.viz.arrays import as_array
from gentoolkit.viz.colors import PULL, PUSH
from gentoolkit.viz.panel import GREY, INK, Panel
from gentoolkit.viz.scene import Scene

ROOM = 0.14
"""How far an arrow stays away from the middle of a node, as a share of its length."""


def tree_panel(
    scene: Scene,
    parents: Sequence[int | None],
    seen: object,
    *,
    names: Sequence[str] = (),
    root: str = "root",
    title: str = "",
    weight: float = 1.0,
) -> Panel:
    """Add a panel with a tree: its root on top, its leaves below, and what runs along its edges.

    A leaf that is seen is dark and sends a message up (dashed, the colour of a pull), and so does
    every node that hears one. A hidden leaf is light, and its value is sent down (solid, the
    colour of a push).

    Arguments:
        scene: gets the panel.
        parents: the parent of each node, None for the root.
        seen: true for the leaves that are seen, (leaves,) or (frames, leaves).
        names: of the leaves, written below them.
        root: written above the root.
        title: of the panel.
        weight: its share of the width.

    Raises:
        ValueError: not one root, a leaf more or less in `seen` or `names`.
    """
    if list(parents).count(None) != 1:
        raise ValueError(
            f"a tree has one root, whose parent is None; got {list(parents).count(None)}; join "
            "several under a new one"
        )
    leaves = [j for j in range(len(parents)) if j not in parents]
    speaks = as_array(np.asarray(seen, dtype=float), "seen", (len(leaves),), frames=scene.frames)
    if names and len(names) != len(leaves):
        raise ValueError(
            f"names must be one for each leaf; got {len(names)} for {len(leaves)}; name all or none"
        )
    places, depth = _layout(parents, leaves)
    hears = np.zeros((*speaks.shape[:-1], len(parents)))
    hears[..., leaves] = speaks
    below = sorted((j for j, i in enumerate(parents) if i is not None), key=lambda j: -depth[j])
    for j in below:
        hears[..., parents[j]] = np.maximum(hears[..., parents[j]], hears[..., j])
    panel = scene.panel(
        (-0.7, len(leaves) - 0.3), (-0.75, max(depth) + 0.55), title=title, axes=False, equal=False,
        weight=weight,
    )  # fmt: skip
    ends = np.array([[places[j], places[parents[j]]] for j in below])
    joined = [(j, parents[j]) for j in below]
    panel.graph(places, joined, widths=1.5, color=GREY, size=1.0)
    up = ends + ROOM * (ends[:, ::-1] - ends)
    panel.ribbons(up, 5.0 * hears[..., below], color=PULL, dash=True, beside=False)
    panel.ribbons(up[:, ::-1], 5.0 * (1 - hears[..., below]), color=PUSH, beside=False)
    shade = 0.25 + 0.6 * hears
    panel.points(places, size=24.0, alpha=1.0, values=shade, limits=(0, 1), colormap="greys")
    for name, j in zip(names, leaves, strict=False):
        panel.text(places[j, 0], places[j, 1] - 0.45, name, color=INK)
    panel.text(places[parents.index(None), 0], max(depth) + 0.38, root, color=INK)
    return panel


def _layout(parents: Sequence[int | None], leaves: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Return the place of each node, (N, 2), leaves at height 0, and each node's depth."""
    depth = []
    for j in range(len(parents)):
        steps, node = 0, parents[j]
        while node is not None and steps < len(parents):
            steps, node = steps + 1, parents[node]
        depth.append(steps)
    places = np.zeros((len(parents), 2))
    places[leaves, 0] = np.arange(len(leaves))
    for j in sorted(range(len(parents)), key=lambda j: -depth[j]):
        children = [k for k, i in enumerate(parents) if i == j]
        if children:
            places[j] = places[children, 0].mean(), max(depth) - depth[j]
    return places, depth
