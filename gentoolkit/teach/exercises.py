"""`check`, `hint` and `solution`: what a learner calls below an exercise."""

import os
import pkgutil
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib import import_module

from gentoolkit.teach import solutions
from gentoolkit.teach.exercise import Exercise, Open, judge


def known_lessons() -> tuple[str, ...]:
    """List the two-digit numbers of the lessons that have exercises."""
    names = [module.name for module in pkgutil.iter_modules(solutions.__path__)]
    return tuple(sorted(name[2:] for name in names if re.fullmatch(r"ex\d\d", name)))


@cache
def exercises(number: str) -> dict[str, Exercise | Open]:
    """Load the exercises of one lesson, in their order, by name.

    Arguments:
        number: two digits.

    Raises:
        ValueError: if that lesson has none.
    """
    if number not in known_lessons():
        raise ValueError(
            f"no lesson of that number has exercises; got {number!r}; "
            f"ask for one of {', '.join(known_lessons())}"
        )
    # Imported when first asked for: a lesson needs no other lesson's oracles.
    held = vars(import_module(f"gentoolkit.teach.solutions.ex{number}")).items()
    return {
        name: replace(value, name=name)
        for name, value in held
        if isinstance(value, Exercise | Open)
    }


def names() -> list[str]:
    """List the names of all exercises, in the order of the lessons."""
    return [name for number in known_lessons() for name in exercises(number)]


def find(name: str) -> Exercise | Open:
    """Find an exercise by its name, such as `ex01_2`; raise AttributeError if there is none."""
    number = name[2:4]
    if number in known_lessons() and name in exercises(number):
        return exercises(number)[name]
    known = ", ".join(names())
    raise AttributeError(f"there is no such exercise; got {name!r}; use one of {known}")


def solutions_shown() -> bool:
    """Say whether exercises are to be answered by their stored solutions: GENTOOLKIT_SOLUTIONS."""
    value = os.environ.get("GENTOOLKIT_SOLUTIONS", "")
    if value not in ("", "0", "1"):
        raise ValueError(
            f"GENTOOLKIT_SOLUTIONS is a switch; got {value!r}; set it to 1 or 0, or unset it"
        )
    return value == "1"


class _ByName:
    """`check.exNN_k`: an action on the exercise of that name."""

    def __init__(self, action: Callable[..., None]) -> None:
        self._action = action

    def __getattr__(self, name: str) -> Callable[..., None]:
        return partial(self._action, find(name))

    def __dir__(self) -> list[str]:
        return names()


def _check(exercise: Exercise | Open, answer: object) -> None:
    """Print what an independent oracle says about the answer."""
    if isinstance(exercise, Open):
        print(f"open: compare your answer with the one that solution.{exercise.name}() prints.")
        return
    print(judge(exercise, exercise.answer() if solutions_shown() else answer))


def _hint(exercise: Exercise | Open, level: int = 1) -> None:
    """Print the first, second or third hint: each says more."""
    if level not in (1, 2, 3):
        asked = f"hint.{exercise.name}"
        raise ValueError(f"there are three hints; got {level!r}; ask for {asked}(1), (2) or (3)")
    print(f"Hint {level} of 3: {exercise.hints[level - 1]}")


def _solution(exercise: Exercise | Open) -> None:
    """Print a solution and say why it is one, or the model answer of an open exercise."""
    if isinstance(exercise, Open):
        print(textwrap.fill(exercise.answer, 88, break_on_hyphens=False))
        return
    print(exercise.source)
    print(exercise.why)


check = _ByName(_check)
hint = _ByName(_hint)
solution = _ByName(_solution)
