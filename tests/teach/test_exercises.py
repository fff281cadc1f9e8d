"""The exercises: solvable, and each typical mistake gets its own answer."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gentoolkit.teach import check, hint, solution
from gentoolkit.teach.exercise import Exercise, Open, judge
from gentoolkit.teach.exercises import exercises, find, known_lessons, names

FOUND = [find(name) for name in names()]
ALL = [exercise for exercise in FOUND if isinstance(exercise, Exercise)]
OPEN = [exercise for exercise in FOUND if isinstance(exercise, Open)]
CODE = [exercise for exercise in ALL if exercise.code]
WRONG = [
    pytest.param(exercise, wrong, told, id=f"{exercise.name}-{i}")
    for exercise in ALL
    for i, (wrong, told) in enumerate(exercise.wrong.items())
]


def judged(name: str) -> Exercise:
    exercise = find(name)
    assert isinstance(exercise, Exercise)
    return exercise


def named(items: list) -> list:
    return [pytest.param(exercise, id=exercise.name) for exercise in items]


def test_every_lesson_has_named_exercises() -> None:
    """Catches a lesson's file whose exercises carry another lesson's number, or a lost one."""
    assert known_lessons()[:3] == ("00", "01", "02")
    for number in known_lessons():
        found = list(exercises(number))
        assert found == [f"ex{number}_{k}" for k in range(1, len(found) + 1)]
        assert len(found) >= 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exercise", named(ALL))
def test_the_stored_solution_passes(exercise: Exercise, dtype: torch.dtype) -> None:
    """Catches an exercise that nobody can solve, or only under another default dtype."""
    torch.set_default_dtype(dtype)
    assert judge(exercise, exercise.answer()).word == "PASS"
    assert torch.get_default_dtype() == dtype


@pytest.mark.parametrize(("exercise", "wrong", "told"), WRONG)
def test_a_typical_wrong_answer_is_recognised(exercise: Exercise, wrong: Any, told: str) -> None:
    """Catches an oracle that accepts a mistake, or blames another one."""
    verdict = judge(exercise, exercise.made(wrong))
    assert verdict.word == "NOT YET"
    assert told in verdict.message


@pytest.mark.parametrize("exercise", named(ALL))
def test_three_wrong_answers_are_known(exercise: Exercise) -> None:
    """Catches an exercise whose judge was never fed the mistakes that learners make."""
    assert len(set(exercise.wrong.values())) == len(exercise.wrong) >= 3


def shaped_like(truth: object, number: float) -> object:
    if isinstance(truth, tuple):
        return tuple(shaped_like(part, number) for part in truth)
    return torch.full_like(torch.as_tensor(truth), number)


def trivial(exercise: Exercise, kind: str) -> Callable[..., object]:
    """Build an answer that needs no thought: zeros, a constant, its first argument, or |it|."""

    def answer(*arguments: object) -> object:
        if kind in ("zeros", "constant"):
            right = exercise.answer()
            assert callable(right)
            return shaped_like(right(*arguments), 0.0 if kind == "zeros" else 0.37)
        first = next((a for a in arguments if isinstance(a, Tensor)), arguments[0])
        return abs(first) if kind == "abs" else first  # pyright: ignore[reportArgumentType]

    return answer


@pytest.mark.parametrize("kind", ["zeros", "constant", "identity", "abs"])
@pytest.mark.parametrize("exercise", named(CODE))
def test_trivial_functions_are_refused(exercise: Exercise, kind: str) -> None:
    """Catches an oracle that a function passes, or crashes, which does nothing."""
    verdict = judge(exercise, trivial(exercise, kind))
    assert verdict.word == "NOT YET"
    assert "could not be compared" not in verdict.message


@pytest.mark.parametrize("exercise", named([e for e in ALL if not e.code]))
def test_trivial_values_are_refused(exercise: Exercise) -> None:
    """Catches a check that accepts a constant in the place of a derived number."""
    for number in (0.0, 0.37, -1e9):
        answer = shaped_like(exercise.answer(), number) if not exercise.letters else ""
        if answer != exercise.answer():
            assert judge(exercise, answer).word == "NOT YET"


@pytest.mark.parametrize("exercise", named(ALL))
def test_the_stub_is_not_attempted(exercise: Exercise) -> None:
    """Catches a check that calls an untouched exercise wrong, or raises on it."""
    assert judge(exercise, ...).word == "not attempted"
    if exercise.code:
        assert judge(exercise, lambda *arguments: ...).word == "not attempted"


@pytest.mark.parametrize("exercise", named(CODE))
def test_an_answer_that_raises_is_reported(exercise: Exercise) -> None:
    """Catches a traceback thrown at the learner instead of the line to mend."""

    def broken(*arguments: object) -> object:
        return 1 / 0

    verdict = judge(exercise, broken)
    assert verdict.word == "NOT YET"
    line = inspect.getsourcelines(broken)[1] + 1
    assert "ZeroDivisionError" in verdict.message
    assert f"line {line} " in verdict.message
    assert "return 1 / 0" in verdict.message


@pytest.mark.parametrize("exercise", named(CODE))
@pytest.mark.parametrize(
    "answer",
    [lambda: 1, lambda *a: None, lambda *a: "x", lambda *a: torch.zeros(2, 9), 3.0],
    ids=["arguments", "none", "text", "shape", "no-function"],
)
def test_unusable_functions_are_reported(exercise: Exercise, answer: object) -> None:
    """Catches a check that lets the learner's own mistake escape as an exception."""
    assert judge(exercise, answer).word == "NOT YET"


@pytest.mark.parametrize("exercise", named([e for e in ALL if not e.code]))
@pytest.mark.parametrize("answer", [None, "a", True, float("nan"), torch.ones(3, 3), [], print])
def test_unusable_values_are_reported(exercise: Exercise, answer: object) -> None:
    """Catches a check that raises on an answer of another type, or takes NaN for a number."""
    assert judge(exercise, answer).word == "NOT YET"


@pytest.mark.parametrize("exercise", named(OPEN))
def test_an_open_exercise_has_hints_and_a_model_answer(
    exercise: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an open exercise that leaves a learner alone, or one that judges."""
    assert len({*exercise.hints, exercise.answer}) == 4
    assert 30 <= len(exercise.answer.split()) <= 250
    getattr(check, exercise.name)(...)
    assert capsys.readouterr().out.startswith("open: ")
    getattr(hint, exercise.name)(3)
    assert exercise.third in capsys.readouterr().out
    getattr(solution, exercise.name)()
    assert " ".join(capsys.readouterr().out.split()) == " ".join(exercise.answer.split())


@pytest.mark.parametrize("exercise", named(ALL))
def test_hints_do_not_give_the_answer(exercise: Exercise) -> None:
    """Catches a hint that holds the number that is asked for."""
    assert len(set(exercise.hints)) == 3
    if not exercise.code:
        answer = exercise.answer()
        for number in answer if isinstance(answer, tuple) else (answer,):
            text = number if isinstance(number, str) else f"{number:.4g}"
            written = re.compile(rf"(?<![\d.]){re.escape(text)}(?![\d.])")
            trivial = number in (0, 1)  # 0 and 1 stand in many formulas
            assert trivial or not any(written.search(hint) for hint in exercise.hints)


@pytest.mark.parametrize("exercise", named(ALL))
def test_the_random_state_of_the_lesson_is_kept(exercise: Exercise) -> None:
    """Catches a check after which the next training run of the lesson comes out differently."""
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    judge(exercise, exercise.answer())
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_function_that_works_in_place_cannot_bend_the_oracle() -> None:
    """Catches an oracle that compares with inputs the learner has overwritten."""

    def in_place(log_w: Tensor) -> Tensor:
        return log_w.zero_()[0]

    assert judge(judged("ex02_3"), in_place).word == "NOT YET"
    assert judge(judged("ex02_3"), judged("ex02_3").answer()).word == "PASS"


def test_the_sheet_numbers_hold() -> None:
    """Catches a drift of the exercises' truths from the numbers that were measured for them."""
    assert judged("ex00_1").answer() == 0.0
    assert judged("ex00_2").answer() == (1, 24)
    assert judged("ex01_1").answer() == pytest.approx(11 / 27)
    assert judged("ex01_2").answer() == pytest.approx(-17.670350, abs=1e-6)
    assert judged("ex15_1").answer() == pytest.approx(-0.4955, abs=1e-9)
    assert judged("ex16_2").answer() == pytest.approx(2.405920, abs=1e-6)
    assert judged("ex19_2").answer() == pytest.approx(1.190384, abs=1e-6)


def test_check_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a check that returns its verdict too, so that a cell shows it twice."""
    assert check.ex01_1(1.0) is None
    out = capsys.readouterr().out
    assert out.startswith("NOT YET: you give 1. ")
    assert out.count("\n") == 1


def test_check_uses_the_solutions_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a switch that leaves stubs unsolved, or that is always on."""
    check.ex00_2(...)
    assert capsys.readouterr().out.startswith("not attempted: ex00_2 ")
    monkeypatch.setenv("GENTOOLKIT_SOLUTIONS", "1")
    check.ex00_2(...)
    assert capsys.readouterr().out.startswith("PASS")
    monkeypatch.setenv("GENTOOLKIT_SOLUTIONS", "yes")
    with pytest.raises(ValueError, match="got 'yes'; set it to 1 or 0"):
        check.ex00_2(...)


def test_hint_and_solution_print(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a hint of the wrong level and a solution without its source or its reason."""
    hint.ex01_4(2)
    assert capsys.readouterr().out == f"Hint 2 of 3: {find('ex01_4').hints[1]}\n"
    with pytest.raises(ValueError, match="three hints; got 4"):
        hint.ex01_4(4)
    solution.ex01_4()
    out = capsys.readouterr().out
    assert "def cavi_sweep(" in out
    assert judged("ex01_4").why in out


@pytest.mark.parametrize("asked", [check, hint, solution], ids=["check", "hint", "solution"])
def test_unknown_exercises_are_named_and_known_ones_complete(asked: Any) -> None:
    """Catches an unhelpful AttributeError and a broken tab completion."""
    with pytest.raises(AttributeError, match="got 'ex99_1'; use one of ex00_1, "):
        asked.ex99_1  # noqa: B018
    with pytest.raises(AttributeError, match="got 'ex01_77'"):
        asked.ex01_77  # noqa: B018
    assert dir(asked) == sorted(names())


def test_numbers_and_their_neighbours() -> None:
    """Catches a tolerance that is ignored, and a known mistake that shadows the truth."""
    asked = Exercise(
        lambda: 1.0,
        *("", "", ""),
        why="",
        oracle=lambda: 1.0,
        atol=0.01,
        right="it is {truth:.1f}",
        wrong={1.005: "Near.", 2.0: "Double."},
        otherwise="Other.",
    )
    assert str(judge(asked, 1.005)) == "PASS: it is 1.0"
    assert str(judge(asked, 2.005)) == "NOT YET: you give 2.005. Double."
    assert str(judge(asked, 1.5)) == "NOT YET: you give 1.5. Other."
    assert "give more digits" in judge(asked, 1.1).message


def test_an_entry_that_is_off_is_shown_and_a_right_part_is_named() -> None:
    """Catches a message that shows an entry which is right, or calls all of a pair wrong."""
    asked = Exercise(
        lambda x: (x, x + 1),
        *("", "", ""),
        why="",
        cases=lambda: [(torch.tensor([1.0, 2.0]),), (torch.tensor([3.0, 5.0]),)],
        oracle=lambda x: (x, x + 1),
        parts="x, x + 1",
        right="",
        wrong={},
        start="should be {truth:g}, is {given:g}. ",
        otherwise="Look.",
    )
    told = judge(asked, lambda x: (x, x + (x < 5)))
    assert str(told) == "NOT YET: should be 6, is 5. The first is right. Look."
    assert judge(asked, lambda x: x).message == "2 things are asked for: (x, x + 1)."
