"""An exercise as a record: who knows the truth, and what is said to each wrong answer."""

import inspect
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import cache

import torch
from torch import Tensor

# A number, a tensor, letters that were chosen, or several of these.
Answer = float | Tensor | frozenset | tuple


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


@dataclass(frozen=True)
class Like:
    """A wrong answer that stands for every answer of its kind.

    Arguments:
        example: one of them, as it would stand in the table itself.
        when: whether an answer is of that kind; takes the value, or a function's result on each
            of the cases.
    """

    example: object
    when: Callable[..., object]


@dataclass(frozen=True, eq=False)
class Exercise:
    """One exercise of a lesson, whose text states it.

    A value is asked for or, if there are `cases`, a function. An answer is right if it agrees with
    the oracle on every case and `fault` finds nothing. A wrong one is compared with each answer of
    the table `wrong`, and told what stands there. Most wrong functions are the solution with a
    slip in it: they are written as an edit of its text, such as `"sum -> mean"`.

    Arguments:
        solution: the function itself; of a value an expression, or a function of no argument.
        first: a hint.
        second: one that says more.
        third: one that says all but the answer.
        why: the solution in words.
        oracle: takes a case and returns the truth, by another way than the solution's formula.
        cases: makes the arguments of each call; it may draw from torch's seeded global generator.
        right: what a right answer shows; {truth} stands for the oracle's value.
        wrong: each typical wrong answer, and what is said to it. An answer is a value, a function,
            an edit of the solution (or several, `"a -> b; c -> d"`), or a `Like`.
        otherwise: what is said to any other.
        start: begins what is said to a wrong function; {truth} and {given} stand for the first
            entry that is off. Or a function of the results on all cases, or of the value.
        atol: how far an answer may lie from a number to count as it; by default 1e-3 for a value,
            which is written down by hand, and 1e-6 for what a function returns.
        fault: takes the function and a case; returns a complaint, or None. With no oracle it
            judges alone, for questions with many right answers.
        parts: the names of the parts, if there are several.
        letters: what there is to choose from, if letters are asked for.
        name: `exNN_k`, the variable that holds the exercise.
    """

    solution: Callable[..., object] | str
    first: str
    second: str
    third: str
    _: KW_ONLY
    why: str
    right: str
    wrong: Mapping[object, str]
    otherwise: str = ""
    oracle: Callable[..., object] | None = None
    cases: Callable[[], Sequence[tuple]] | None = None
    start: str | Callable[..., str] = "one number should be {truth:.4g}, and yours is {given:.4g}: "
    atol: float | None = None
    fault: Callable[..., str | None] | None = None
    parts: str = ""
    letters: str = ""
    name: str = ""

    @property
    def code(self) -> bool:
        """Whether a function is asked for."""
        return self.cases is not None

    @property
    def hints(self) -> tuple[str, str, str]:
        """The three hints."""
        return self.first, self.second, self.third

    @property
    def source(self) -> str:
        """The solution as a learner could have typed it."""
        if isinstance(self.solution, str):
            return f"answer = {self.solution}\n"
        return inspect.getsource(inspect.unwrap(self.solution))

    def answer(self) -> object:
        """Return the stored answer in the form that the learner hands in."""
        with _double():
            if isinstance(self.solution, str):
                return eval(self.solution, {"math": math})
            return self.solution if self.code else self.solution()

    def made(self, wrong: object) -> object:
        """Bring a wrong answer of the table into the form that a learner would hand in."""
        wrong = wrong.example if isinstance(wrong, Like) else wrong
        return _slip(self.solution, wrong) if self.code and isinstance(wrong, str) else wrong

    def verdict(self, answer: object) -> Verdict:
        """Judge a value, or a function that is handed copies; what it raises gets out."""
        cases, truths = _prepared(self)
        if truths:
            given = self._read(answer, cases, truths)
            if not _same(given, truths, self._atol):
                return Verdict("NOT YET", self._blame(given, cases, truths))
        for case in cases if self.fault else ():
            complaint = self.fault(answer, *case)  # pyright: ignore[reportOptionalCall]
            if complaint:
                return Verdict("NOT YET", complaint)
        return Verdict("PASS", self.right.format(truth=truths[0] if truths else None))

    @property
    def _atol(self) -> float:
        return self.atol or (1e-6 if self.code else 1e-3)

    def _read(self, answer: object, cases: Sequence[tuple], truths: tuple) -> tuple:
        results = [answer(*case) for case in cases] if callable(answer) else [answer]
        return tuple(self._form(r, truth) for r, truth in zip(results, truths, strict=True))

    def _form(self, answer: object, like: Answer) -> Answer:
        """Bring an answer into the form of the truth; raise `_Failed` if that cannot be."""
        if isinstance(like, frozenset):
            return self._chosen(answer)
        if isinstance(like, tuple):
            if not isinstance(answer, tuple | list) or len(answer) != len(like):
                raise _Failed(f"{len(like)} things are asked for: ({self.parts}).")
            return tuple(self._form(a, part) for a, part in zip(answer, like, strict=True))
        form = f"a tensor of shape {tuple(like.shape)}" if isinstance(like, Tensor) else "a number"
        try:
            if isinstance(like, Tensor):
                return torch.as_tensor(answer).detach().double()
            if not isinstance(answer, str | bytes | bool):
                return float(answer)  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError, RuntimeError):
            pass
        raise _Failed(f"{form} is asked for, and you gave {_kind(answer)}.")

    def _chosen(self, answer: object) -> frozenset[str]:
        words = list(answer) if isinstance(answer, str | set | frozenset | list | tuple) else [""]
        words = [] if answer == "none" else words
        named = {word.upper() for word in words if isinstance(word, str)}
        if len(named) != len(words) or not named <= set(self.letters):
            a, *_, z = self.letters
            raise _Failed(f'letters out of {a} to {z} are asked for, such as "{a}{z}", or "none".')
        return frozenset(named)

    def _blame(self, given: tuple, cases: Sequence[tuple], truths: tuple) -> str:
        complaint = misfit(given, truths)
        start = self._start(given, truths) if not complaint else ""
        close = self._atol if self.code else max(self._atol, 5e-4)  # a wrong value may be coarse
        for wrong, told in self.wrong.items():
            if isinstance(wrong, Like):
                if not complaint and wrong.when(*given):
                    return start + told
            elif _same(given, self._read(self.made(wrong), cases, truths), close):
                return start + told
        if complaint:
            return complaint
        near = not self.code and isinstance(truths[0], float) and self._atol < 0.05
        if near and _same(given, truths, 20 * self._atol):
            return start + "That is right as far as it goes: give more digits."
        return start + _right_parts(given, truths, self._atol) + self.otherwise

    def _start(self, given: tuple, truths: tuple) -> str:
        if callable(self.start):
            return self.start(*given)
        if not self.code:
            return f"you give {_shown(given[0])}. "
        mine, truth = _first_off(given, truths, self._atol)
        return self.start.format(given=mine, truth=truth)


@dataclass(frozen=True)
class Open:
    """An exercise with many good answers: an experiment, a design, an argument.

    Nothing judges it; the learner compares what was found with a model answer.

    Arguments:
        first: a hint.
        second: one that says more.
        third: one that says all but the answer.
        answer: a good answer in words, with the numbers that it rests on.
        name: `exNN_k`, the variable that holds the exercise.
    """

    first: str
    second: str
    third: str
    answer: str
    name: str = ""

    @property
    def hints(self) -> tuple[str, str, str]:
        """The three hints."""
        return self.first, self.second, self.third


class _NotAttempted(Exception):
    """The learner's function returned the ellipsis of the stub."""


class _Failed(Exception):
    """The learner's function raised, or its answer cannot be compared; the text says which."""


def _guarded(function: Callable[..., object]) -> Callable[..., object]:
    """Hand a learner's function copies, and turn what it raises into a verdict."""

    def call(*arguments: object) -> object:
        # Copies, so that a function that works in place cannot spoil the oracle's inputs.
        copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
        try:
            result = function(*copies)
        except Exception as error:
            raise _Failed(_where(function, error)) from error
        if result is ...:
            raise _NotAttempted
        return result

    return call


def _where(function: Callable[..., object], error: Exception) -> str:
    code = getattr(function, "__code__", None)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    told, advice = f"could not be called: {said}", "Compare its arguments with the stub"
    for frame in traceback.extract_tb(error.__traceback__):
        if code is not None and frame.filename == code.co_filename:
            shown = f", `{frame.line}`" if frame.line else ""
            told = f"stopped with {said}, in line {frame.lineno} of its cell{shown}"
            advice = "Fix that line"
    return f"your function {told}. {advice}, run its cell again, then check again."


def judge(exercise: Exercise, answer: object) -> Verdict:
    """Judge one answer; nothing that the learner wrote makes this raise.

    Arguments:
        exercise: the exercise.
        answer: what the learner hands in; the stub's ellipsis counts as not attempted.
    """
    try:
        if answer is ...:
            raise _NotAttempted
        if exercise.code and not callable(answer):
            raise _Failed(
                f"this exercise asks for a function, and you handed in {_kind(answer)}. "
                f"Write check.{exercise.name}(your_function), without calling it."
            )
        if not exercise.code and callable(answer):
            raise _Failed(
                "this exercise asks for a value, and you handed in a function. "
                f"Call it: check.{exercise.name}(your_function())."
            )
        # The check must leave the lesson's own random numbers as it found them.
        with _double(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return exercise.verdict(_guarded(answer) if callable(answer) else answer)
    except _NotAttempted:
        return Verdict("not attempted", f"{exercise.name} still holds the stub's `...`.")
    except _Failed as problem:
        return Verdict("NOT YET", str(problem))
    except Exception as error:
        said = f"could not be compared ({type(error).__name__}: {error})"
        told = f"your answer {_kind(answer)} {said}. Look at the form that the exercise asks for."
        return Verdict("NOT YET", told)


@contextmanager
def _double() -> Iterator[None]:
    """Make float64 the default: oracles and answers in float32 would differ by rounding alone."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _slip(function: object, edits: str) -> Callable[..., object]:
    """Build the function again from its text, with some of it exchanged."""
    assert callable(function)
    text = inspect.getsource(function)
    for edit in edits.split("; "):
        old, _, new = (part.strip() for part in edit.partition("->"))
        if old not in text:
            raise ValueError(f"{function.__name__} holds no such text; got {old!r}; fix the edit")
        text = text.replace(old, new)
    names = dict(function.__globals__)
    exec(compile(text, f"<{function.__name__}, with {edits}>", "exec"), names)
    return names[function.__name__]


@cache
def _prepared(exercise: Exercise) -> tuple[list[tuple], tuple]:
    """Make the cases and their truths, once: some oracles train or integrate."""
    cases = [()] if exercise.cases is None else list(exercise.cases())
    oracle = exercise.oracle
    return cases, () if oracle is None else tuple(_plain(oracle(*case)) for case in cases)


def _plain(truth: object) -> Answer:
    if isinstance(truth, tuple):
        return tuple(_plain(part) for part in truth)
    if isinstance(truth, Tensor) and truth.dim():
        return truth.detach().double()
    return truth if isinstance(truth, frozenset) else float(truth)  # pyright: ignore


def _same(a: Answer, b: Answer, atol: float) -> bool:
    """Whether two answers of one form agree; NaN and infinities agree with themselves."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return all(_same(p, q, atol) for p, q in zip(a, b, strict=True))
    if isinstance(a, frozenset):
        return isinstance(b, frozenset) and a == b
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return a.shape == b.shape and torch.allclose(a, b, rtol=0.0, atol=atol, equal_nan=True)


def misfit(given: Answer, truth: Answer) -> str:
    """Say what is wrong with the form of an answer; nothing if it can be compared."""
    if isinstance(given, tuple) and isinstance(truth, tuple):
        return next(filter(None, map(misfit, given, truth)), "")
    if isinstance(given, Tensor) and isinstance(truth, Tensor) and given.shape != truth.shape:
        return (
            f"the shape should be {tuple(truth.shape)}, and yours is {tuple(given.shape)}. "
            "Which dimension do you sum or average over?"
        )
    if isinstance(given, frozenset) or bool(torch.isfinite(torch.as_tensor(given)).all()):
        return ""
    return (
        "your answer holds NaN or an infinity. Look for a log of 0, or for an exp that overflows "
        "or underflows."
    )


def _first_off(given: Answer, truth: Answer, atol: float) -> tuple[float, float]:
    """Find the first entry that is off, and what it should be."""
    if isinstance(given, tuple) and isinstance(truth, tuple):
        pairs = zip(given, truth, strict=True)
        return next(_first_off(g, t, atol) for g, t in pairs if not _same(g, t, atol))
    mine, wanted = torch.as_tensor(given).flatten(), torch.as_tensor(truth).flatten()
    i = int(((mine - wanted).abs() > atol).int().argmax())
    return float(mine[i]), float(wanted[i])


def _right_parts(given: tuple, truths: tuple, atol: float) -> str:
    """Name the parts that are right on every case, if there are several."""
    if not isinstance(truths[0], tuple):
        return ""
    columns = zip(zip(*given, strict=True), zip(*truths, strict=True), strict=True)
    right = [_same(mine, truth, atol) for mine, truth in columns]
    return "".join(f"The {('first', 'second')[i]} is right. " for i, yes in enumerate(right) if yes)


def _shown(value: Answer) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    if isinstance(value, frozenset):
        return "".join(sorted(value)) or "none"
    return _shown(tuple(value.tolist())) if isinstance(value, Tensor) else f"{value:.4g}"


def _kind(answer: object) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor of shape {tuple(answer.shape)}"
    text = repr(answer)
    return f"{text if len(text) <= 40 else 'something'} ({type(answer).__name__})"
