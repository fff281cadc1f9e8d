"""Contestants timed in turn, so that a drift of the machine hits all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Timing:
    """Seconds a call of one contestant, one number a round."""

    name: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def least(self) -> float:
        return min(self.rounds)

    def spread(self) -> tuple[float, float]:
        """The quartiles."""
        ordered = sorted(self.rounds)
        n = len(ordered)
        return ordered[n // 4], ordered[(3 * n) // 4]


@dataclass(frozen=True)
class Race:
    """What is timed; the first contestant is ours."""

    title: str
    contestants: Sequence[tuple[str, Callable[[], object]]]
    rounds: int = 25
    seconds_a_turn: float = 0.02


def time_race(race: Race) -> list[Timing]:
    """Run the contestants by turns: A B C, A B C, ... with as many calls a turn as fill it."""
    calls = {}
    for name, call in race.contestants:
        call()
        start, n = perf_counter(), 0
        while perf_counter() - start < race.seconds_a_turn:
            call()
            n += 1
        calls[name] = n
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for r in range(race.rounds):
        # The order turns round, so that no contestant always follows the same one.
        turn = r % len(race.contestants)
        for name, call in [*race.contestants[turn:], *race.contestants[:turn]]:
            start = perf_counter()
            for _ in range(calls[name]):
                call()
            rounds[name].append((perf_counter() - start) / calls[name])
    return [Timing(name, tuple(values)) for name, values in rounds.items()]


def report(race: Race, timings: Sequence[Timing]) -> list[list[str]]:
    """Rows: name, least, median, quartiles in microseconds, and the ratio to ours by rounds."""
    ours, rows = timings[0], []
    for t in timings:
        low, high = t.spread()
        ratios = Timing("", tuple(a / b for a, b in zip(t.rounds, ours.rounds, strict=True)))
        first, third = ratios.spread()
        ratio = "1" if t is ours else f"{ratios.median:.2f} ({first:.2f}..{third:.2f})"
        rows.append(
            [f"{race.title}: {t.name}", *(f"{1e6 * v:.1f}" for v in (t.least, t.median, low, high))]
            + [ratio]
        )
    return rows
