"""The diagram of a coupling layer."""

from gentoolkit.viz.colors import PULL, PUSH
from gentoolkit.viz.coupling import coupling_diagram


def test_both_ways_use_one_net_and_undo_each_other() -> None:
    """Catches a pull drawn with the push's formula, and the kept part on the moved line."""
    chart = coupling_diagram(push="PUSHED", pull="PULLED")
    words = [(a.x, a.y, a.text) for a in chart.figure.layout.annotations if a.text]
    place = {text: (x, y) for x, y, text in words}
    assert place["PUSHED"][0] < 430 < place["PULLED"][0]
    assert sum(text == "net" for *_, text in words) == 2
    for text, left in (("x<sub>a</sub>", True), ("y<sub>a</sub>", False)):
        first, second = [(x, y) for x, y, t in words if t == text]
        assert first[1] == second[1] and (first[0] < 215) == left
    assert place["x<sub>m</sub>"][1] < place["x<sub>a</sub>"][1]


def test_colours_and_dashes_say_the_way() -> None:
    """Catches one meaning drawn in two colours, and a pull that is not dashed."""
    lines = [s for s in coupling_diagram().figure.layout.shapes if s.type == "line"]
    dashes = {s.line.color: {s.line.dash} for s in lines if s.line.color in (PUSH, PULL)}
    assert dashes == {PUSH: {"solid"}, PULL: {"dash"}}
    assert "same net" in coupling_diagram().alt
    assert coupling_diagram(alt="Some other words for it.").alt == "Some other words for it."
