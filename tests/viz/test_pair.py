"""The diagram of a lesson's pair of chains."""

from math import hypot

import pytest

from gentoolkit.viz.colors import PULL, PUSH
from gentoolkit.viz.pair import pair_diagram

CHAIN = {"source": "noise", "target": "data", "push": "denoise", "pull": "add noise"}


@pytest.mark.parametrize(
    ("learned", "said"),
    [
        ("push", ("denoise (learned)", "add noise (fixed)")),
        ("pull", ("denoise (fixed)", "add noise (learned)")),
        ("both", ("denoise (learned)", "add noise (learned)")),
        ("nothing", ("denoise (fixed)", "add noise (fixed)")),
    ],
)
def test_what_is_learned_is_said(learned: str, said: tuple[str, str]) -> None:
    """Catches a mark at the wrong arrow, in the words or in the drawing."""
    chart = pair_diagram(["x₀", "x₁"], **CHAIN, learned=learned)
    assert all(words in chart.alt for words in said)
    drawn = " ".join(str(a.text) for a in chart.figure.layout.annotations)
    assert drawn.count("(learned)") == sum("(learned)" in words for words in said)


def test_arrows_run_both_ways_between_all_neighbours() -> None:
    """Catches a pull that is drawn in the direction of the push, and a lost arrow."""
    figure = pair_diagram(["x₀", "x₁", "…", "x₉"], **CHAIN).figure
    heads = [a for a in figure.layout.annotations if a.showarrow]
    right = [a.x > a.ax for a in heads if a.arrowcolor == PUSH]
    left = [a.x < a.ax for a in heads if a.arrowcolor == PULL]
    assert right == left == [True] * 3
    circles = [s for s in figure.layout.shapes if s.type == "circle"]
    assert len(circles) == 3  # the dots between are no state


def test_heads_are_long_enough_to_be_drawn() -> None:
    """Catches tails so short that plotly leaves the arrow out, as it did at 5 pixels."""
    figure = pair_diagram(["x₀", "x₁", "x₂", "…", "x₈", "x₉"], **CHAIN).figure
    heads = [a for a in figure.layout.annotations if a.showarrow]
    assert heads
    assert all(hypot(a.x - a.ax, a.y - a.ay) >= 12 for a in heads)


def test_a_second_numbering_names_the_same_places() -> None:
    """Catches a second row that is shifted against the first."""
    figure = pair_diagram(["x₂", "x₁", "x₀"], **CHAIN, also=["a", "b", "c"]).figure
    place = {a.text: a.x for a in figure.layout.annotations}
    assert [place["a"], place["b"], place["c"]] == [place["x₂"], place["x₁"], place["x₀"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"states": ["x₀"]}, "two states or more"),
        ({"states": ["x₀", "x₁"], "learned": "f"}, "learned is one of"),
        ({"states": ["x₀", "x₁"], "also": ["a"]}, "both rows name the same states; got 2 and 1"),
    ],
)
def test_bad_chains_are_refused(arguments: dict, message: str) -> None:
    """Catches a diagram with a missing end or a silent default."""
    states = arguments.pop("states")
    with pytest.raises(ValueError, match=message):
        pair_diagram(states, **CHAIN, **arguments)
