"""Functions that a lesson writes by hand, at the edge where a formula divides by zero."""

import re
from pathlib import Path

import torch

COURSE = Path(__file__).parents[2] / "course"


def written(lesson: str, name: str) -> str:
    """Return the text of a function from a lesson's source."""
    text = (COURSE / f"{lesson}.md").read_text()
    found = re.search(rf"^def {name}\(.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def test_a_leap_without_a_way_out_stays() -> None:
    """Catches 0 / 0: where the total rate is 0 the law of the leap was NaN; it is a point mass."""
    names = {"torch": torch}
    exec(written("24_jumps", "my_tau"), names)
    rates = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 2.0, 1.0]]])
    law = names["my_tau"](rates, torch.tensor([[1, 0]]), 0.5)  # pyright: ignore
    stay = torch.tensor(-1.5).exp()
    expected = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    expected[0, 1] = torch.stack([stay, (1 - stay) * 2 / 3, (1 - stay) / 3])
    assert torch.allclose(law, expected, atol=1e-12)
