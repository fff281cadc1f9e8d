"""How large a scene may be, so that a notebook stays quick to open."""

from gentoolkit.viz.scene import Scene

LARGEST = 1_500_000
"""Bytes that a scene may send to the browser."""


def small(scene: Scene, what: str) -> Scene:
    """Check the size of a finished scene.

    Arguments:
        scene: the scene.
        what: what may be lowered to make it smaller, for the error message.

    Returns:
        The scene.

    Raises:
        ValueError: it is larger than ``LARGEST``.
    """
    size = len(scene.buffer)
    if size > LARGEST:
        raise ValueError(
            f"the scene is too large for a notebook; got {size / 1e6:.1f} MB, more than "
            f"{LARGEST / 1e6:.1f}; lower {what}"
        )
    return scene
