"""What every lesson has: honest minutes, its pair drawn, the field's names, practice, history."""

import re
from pathlib import Path

import pytest

from gentoolkit.teach.exercises import exercises, known_lessons
from gentoolkit.teach.lessons import LESSONS
from tools.minutes import minutes
from tools.sources import COURSE

READY = [known for known in LESSONS if known.ready]
PARTS = ("Names elsewhere", "In practice", "History", "When to use", "New symbols", "References")


def text(name: str) -> str:
    return (COURSE / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("known", READY, ids=lambda known: known.number)
def test_the_minutes_are_honest(known) -> None:
    """Catches "60 minutes" above two hours of text, and two places that disagree."""
    said = re.search(r"\*\*Time:\*\* (?:about )?(\d+) minutes", text(known.name))
    assert said is not None and int(said[1]) == known.minutes
    assert abs(known.minutes - minutes(Path(COURSE / f"{known.name}.md"))) <= 5
    assert known.minutes <= 90


@pytest.mark.parametrize("known", READY, ids=lambda known: known.number)
def test_a_lesson_draws_its_pair_and_says_who_calls_it_what(known) -> None:
    """Catches a lesson without the drawing of its chain, or without one of its closing parts."""
    missing = [part for part in (*PARTS, "pair_diagram(") if part not in text(known.name)]
    assert missing == []


@pytest.mark.parametrize("known", READY, ids=lambda known: known.number)
def test_every_exercise_of_the_text_has_hints_and_an_answer(known) -> None:
    """Catches an exercise, an open one too, for which `hint` and `solution` raise."""
    asked = re.findall(r"^\*\*Exercise (\d)", text(known.name), flags=re.MULTILINE)
    assert known.number in known_lessons()
    assert [f"ex{known.number}_{k}" for k in asked] == list(exercises(known.number))
