"""What an exercise is, and how an answer to it is judged without ever raising at the learner."""

import linecache
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Judge = Callable[..., "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What is said about an answer.

    Arguments:
        word: `PASS`, `NOT YET` or `not attempted`; always the first thing printed.
        message: one or two sentences in the subject's terms.
    """

    word: str
    message: str

    def __str__(self) -> str:
        return f"{self.word}: {self.message}"


def passed(message: str) -> Verdict:
    """Say that the answer is right.

    Arguments:
        message: what the answer shows.

    Returns:
        The verdict.
    """
    return Verdict("PASS", message)


def not_yet(message: str) -> Verdict:
    """Say that the answer is wrong.

    Arguments:
        message: what is wrong, and where to look.

    Returns:
        The verdict.
    """
    return Verdict("NOT YET", message)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson.

    Arguments:
        name: `exNN_k`, lesson NN, k-th exercise.
        ask: what the learner is asked, as the lesson says it.
        judge: takes the answer (for a code exercise: the learner's function, guarded) and returns
            a Verdict from an oracle that does not share the solution's formula.
        hints: three, each saying more than the one before; none gives the answer away.
        solution: for a code exercise the function itself, otherwise a function of no argument that
            returns the answer.
        why: the solution in words.
        wrong: typical wrong answers, each with a phrase that its verdict must contain.
        code: whether the answer is a function.
    """

    name: str
    ask: str
    judge: Judge
    hints: tuple[str, str, str]
    solution: Callable[..., object]
    why: str
    wrong: tuple[tuple[object, str], ...]
    code: bool = False

    def answer(self) -> object:
        """Return the stored answer in the form that the learner hands in."""
        return self.solution if self.code else self.solution()


class _NotAttempted(Exception):
    """The learner's function returned the ellipsis of the stub."""


class _Failed(Exception):
    """The learner's function raised, or its answer cannot be compared; the text says which."""


class _Guarded:
    """The learner's function: hands it copies and turns what it raises into a verdict."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        # Copies, so that a function that works in place cannot spoil the oracle's inputs.
        copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
        try:
            result = self._function(*copies)
        except Exception as error:
            raise _Failed(_where(self._function, error)) from error
        if result is ...:
            raise _NotAttempted
        return result


def _where(function: Callable[..., object], error: Exception) -> str:
    code = getattr(function, "__code__", None)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if code is not None and frame.filename == code.co_filename and frame.lineno is not None:
            text = linecache.getline(frame.filename, frame.lineno).strip()
            shown = f", `{text}`" if text else ""
            return (
                f"your function stopped with {said}, in line {frame.lineno} of its cell{shown}. "
                "Mend that line, run its cell again, then check again."
            )
    return (
        f"your function could not be called: {said}. "
        "Compare its arguments with the stub, run its cell again, then check again."
    )


def judge(exercise: Exercise, answer: object) -> Verdict:
    """Judge one answer; nothing that the learner wrote makes this raise.

    Arguments:
        exercise: the exercise.
        answer: what the learner hands in; the stub's ellipsis counts as not attempted.

    Returns:
        The verdict.
    """
    stub = Verdict("not attempted", f"{exercise.name} still holds the stub's `...`.")
    if answer is ...:
        return stub
    if exercise.code and not callable(answer):
        return not_yet(
            f"this exercise asks for a function, and you handed in {_kind(answer)}. "
            f"Write check.{exercise.name}(your_function), without calling it."
        )
    if not exercise.code and callable(answer):
        return not_yet(
            "this exercise asks for a value, and you handed in a function. "
            f"Call it: check.{exercise.name}(your_function())."
        )
    handed = _Guarded(answer) if exercise.code and callable(answer) else answer
    try:
        # The check must leave the lesson's own random numbers as it found them.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return exercise.judge(handed)
    except _NotAttempted:
        return stub
    except _Failed as problem:
        return not_yet(str(problem))
    except Exception as error:
        return not_yet(
            f"your answer {_kind(answer)} could not be compared ({type(error).__name__}: {error}). "
            "Look at the form that the exercise asks for."
        )


def _kind(answer: object) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor of shape {tuple(answer.shape)}"
    text = repr(answer)
    return f"{text if len(text) <= 40 else 'something'} ({type(answer).__name__})"


def as_number(answer: object) -> float:
    """Read an answer as one finite number.

    Arguments:
        answer: an int, a float, or a tensor or array of one element.

    Returns:
        The number. An answer that is none becomes a verdict that says so.
    """
    if isinstance(answer, str | bytes | bool) or answer is None:
        raise _Failed(f"a number is asked for, and you gave {_kind(answer)}. Give one number.")
    try:
        number = float(answer)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, RuntimeError):
        raise _Failed(
            f"a number is asked for, and you gave {_kind(answer)}. Give one number."
        ) from None
    if number != number or number in (float("inf"), float("-inf")):
        raise _Failed(f"a finite number is asked for, and you gave {number}. Look for a log of 0.")
    return number


def as_tensor(answer: object, shape: Sequence[int]) -> Tensor:
    """Read an answer as a tensor of float64.

    Arguments:
        answer: a tensor, or what torch turns into one.
        shape: the shape that is asked for.

    Returns:
        The tensor. An answer of another type or shape, or one that holds NaN or an infinity,
        becomes a verdict that says so.
    """
    wanted = tuple(shape)
    try:
        tensor = torch.as_tensor(answer).detach().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise _Failed(
            f"a tensor of shape {wanted} is asked for, and you gave {_kind(answer)}. "
            "Return a tensor."
        ) from None
    if tuple(tensor.shape) != wanted:
        raise _Failed(
            f"the shape should be {wanted}, and yours is {tuple(tensor.shape)}. "
            "Which dimension do you sum or average over?"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise _Failed(
            "your answer holds NaN or an infinity. Look for a log of 0, or for an exp that "
            "overflows or underflows."
        )
    return tensor


def close(
    answer: object,
    truth: float,
    atol: float,
    right: str,
    wrong: Mapping[float, str],
    otherwise: str,
) -> Verdict:
    """Compare one number with the truth and with the known wrong numbers.

    Arguments:
        answer: what the learner hands in.
        truth: the oracle's number.
        atol: how far the answer may lie from a number to count as it.
        right: the message of a right answer.
        wrong: for each known wrong number, what it means.
        otherwise: the message for any other number.

    Returns:
        The verdict.
    """
    number = as_number(answer)
    if abs(number - truth) <= atol:
        return passed(right)
    for known, meaning in wrong.items():
        if abs(number - known) <= atol:
            return not_yet(f"you give {number:.4g}. {meaning}")
    return not_yet(f"you give {number:.4g}. {otherwise}")
