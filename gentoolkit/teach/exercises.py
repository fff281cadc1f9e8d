"""`check`, `hint` and `solution`: what a learner calls below an exercise."""

import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable

from gentoolkit.teach import solutions
from gentoolkit.teach.exercise import Exercise, judge


def known_lessons() -> tuple[str, ...]:
    """List the two-digit numbers of the lessons that have exercises."""
    names = [module.name for module in pkgutil.iter_modules(solutions.__path__)]
    return tuple(sorted(name[2:] for name in names if re.fullmatch(r"ex\d\d", name)))


def exercises(number: str) -> tuple[Exercise, ...]:
    """Load the exercises of one lesson.

    Arguments:
        number: two digits.

    Returns:
        The lesson's exercises in their order.

    Raises:
        ValueError: if that lesson has none.
    """
    if number not in known_lessons():
        raise ValueError(
            f"no lesson of that number has exercises; got {number!r}; "
            f"ask for one of {', '.join(known_lessons())}"
        )
    # Imported when first asked for: a lesson needs no other lesson's oracles.
    return importlib.import_module(f"gentoolkit.teach.solutions.ex{number}").EXERCISES


def names() -> list[str]:
    """List the names of all exercises, in the order of the lessons."""
    return [exercise.name for number in known_lessons() for exercise in exercises(number)]


def find(name: str) -> Exercise:
    """Find an exercise by its name.

    Arguments:
        name: such as `ex01_2`.

    Returns:
        The exercise.

    Raises:
        AttributeError: if there is none of that name; attribute access is how it is asked for.
    """
    number = name[2:4]
    if number in known_lessons():
        for exercise in exercises(number):
            if exercise.name == name:
                return exercise
    raise AttributeError(
        f"there is no such exercise; got {name!r}; use one of {', '.join(names())}"
    )


def solutions_shown() -> bool:
    """Say whether exercises are to be answered by their stored solutions.

    Returns:
        True if GENTOOLKIT_SOLUTIONS is 1, False if it is 0, empty or unset.

    Raises:
        ValueError: if GENTOOLKIT_SOLUTIONS holds anything else.
    """
    value = os.environ.get("GENTOOLKIT_SOLUTIONS", "")
    if value not in ("", "0", "1"):
        raise ValueError(
            f"GENTOOLKIT_SOLUTIONS is a switch; got {value!r}; set it to 1 or 0, or unset it"
        )
    return value == "1"


class _Check:
    """`check.exNN_k(answer)` prints what an independent oracle says about the answer."""

    def __getattr__(self, name: str) -> Callable[[object], None]:
        exercise = find(name)

        def run(answer: object) -> None:
            print(judge(exercise, exercise.answer() if solutions_shown() else answer))

        return run

    def __dir__(self) -> list[str]:
        return names()


class _Hint:
    """`hint.exNN_k(1)`, then 2, then 3: each says more."""

    def __getattr__(self, name: str) -> Callable[[int], None]:
        exercise = find(name)

        def run(level: int = 1) -> None:
            if level not in (1, 2, 3):
                raise ValueError(
                    f"there are three hints; got {level!r}; ask for hint.{name}(1), (2) or (3)"
                )
            print(f"Hint {level} of 3: {exercise.hints[level - 1]}")

        return run

    def __dir__(self) -> list[str]:
        return names()


class _Solution:
    """`solution.exNN_k()` prints a solution and says why it is one."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        exercise = find(name)

        def run() -> None:
            print(inspect.getsource(inspect.unwrap(exercise.solution)))
            print(exercise.why)

        return run

    def __dir__(self) -> list[str]:
        return names()


check = _Check()
hint = _Hint()
solution = _Solution()
