"""The map of families."""

import pytest

from gentoolkit.viz.colors import PULL, PUSH
from gentoolkit.viz.families import family_map

BOXES = {"flow": (0, 0, "push", "05"), "VAE": (1, 0, "both", "02"), "AIS": (1, 1, "nothing", "")}
CHANGES = [("flow", "VAE", "noise in<br>the step"), ("VAE", "AIS", "no data")]


def test_lines_join_the_boxes_that_are_named() -> None:
    """Catches a line between other boxes, words away from their line, or rows upside down."""
    chart = family_map(BOXES, CHANGES)
    lines = [s for s in chart.figure.layout.shapes if s.type == "line"]
    assert len(lines) == 2
    places = {str(a.text): (a.x, a.y) for a in chart.figure.layout.annotations}
    flow, vae, ais = places["<b>flow</b><br>05"], places["<b>VAE</b><br>02"], places["<b>AIS</b>"]
    assert flow[0] < vae[0] and flow[1] == vae[1] and ais[1] < vae[1]
    assert (lines[0].x0, lines[0].y0, lines[0].x1, lines[0].y1) == (*flow, *vae)
    assert places["no data"] == ((vae[0] + ais[0]) / 2, (vae[1] + ais[1]) / 2)
    assert "VAE to AIS: no data" in chart.alt and "<br>" not in chart.alt


def test_rims_say_what_is_learned() -> None:
    """Catches a rim of the wrong colour, and one rim where both chains are learned."""
    shapes = family_map(BOXES, CHANGES).figure.layout.shapes
    rims = [s.line.color for s in shapes if s.type == "rect"][:4]
    assert rims[:3] == [PUSH, PUSH, PULL]
    assert rims[3] not in (PUSH, PULL)


@pytest.mark.parametrize(
    ("boxes", "changes", "words"),
    [
        ({}, [], "needs families"),
        (BOXES, CHANGES[:1], "AIS"),
        (BOXES, [*CHANGES, ("flow", "GAN", "x")], "GAN"),
        ({**BOXES, "AIS": (1, 1, "all", "")}, CHANGES, "got 'all'"),
    ],
)
def test_bad_maps_are_refused(boxes, changes, words) -> None:
    """Catches a box that hangs alone, and a line into nothing."""
    with pytest.raises(ValueError, match=words):
        family_map(boxes, changes)
