"""Tunes of Bach's chorales: the soprano of each on a grid of quavers, in C major or A minor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.core import validate
from gentoolkit.data.real import lines

HOLD, REST = 0, 1
LOWEST, HIGHEST = 57, 81  # of the tunes, as MIDI counts semitones: A3 to A5
TOKENS = 2 + HIGHEST - LOWEST + 1
SIGNS = "-." + "".join(chr(ord("A") + i) for i in range(HIGHEST - LOWEST + 1))  # in the file
_NAMES = "C C# D D# E F F# G G# A A# B".split()


@dataclass(frozen=True)
class Tune:
    """One tune: whole bars of four-four time, eight tokens each.

    Arguments:
        name: number of the chorale in the catalogue of Bach's works.
        major: in C major; otherwise in A minor.
        tokens: (8 * bars,) `HOLD`, `REST` or a pitch.
    """

    name: str
    major: bool
    tokens: Tensor


@dataclass(frozen=True)
class Chorales:
    """Tunes to learn from and tunes to test on.

    Versions of one tune are kept in one part: no two bars in a row of one part stand in the other.
    """

    train: list[Tune]
    test: list[Tune]


def chorales() -> Chorales:
    """Load the tunes of Bach's chorales in four-four time; nothing is downloaded.

    A token is what happens in one quaver, eight to a bar: 0 (`HOLD`) the note before sounds on,
    1 (`REST`) silence, 2 + k the pitch that is k semitones above A3 begins; there are `TOKENS` = 27
    in all, and `note` gives their names. A bar that a tune does not fill, such as its upbeat, is
    filled with rests.

    Reference: Bach, Four-part chorales; music21's corpus, Cuthbert and Ariza 2010, ISMIR.
    """
    parts: dict[str, list[Tune]] = {"train": [], "test": []}
    for line in lines("chorales.txt"):
        name, mode, part, bars = line.split(" ")
        tokens = torch.tensor([SIGNS.index(sign) for sign in bars.replace("|", "")])
        parts[part].append(Tune(name, mode == "major", tokens))
    return Chorales(**parts)


def bars(tunes: list[Tune], n: int = 1) -> Tensor:
    """Return every different run of `n` whole bars of the tunes, (N, 8 n) tokens.

    A note that is held from the bar before begins anew. Runs with a bar of silence, or that begin
    or end a tune with the rests of a bar that it does not fill, are left out.

    Arguments:
        tunes: such as `chorales().train`.
        n: length of the runs.

    Raises:
        ValueError: `n` is not positive, or no tune is so long.
    """
    length = 8 * validate.positive_count("n", n)
    found: dict[tuple[int, ...], None] = {}
    for tune in tunes:
        sounding, row = REST, tune.tokens.tolist()
        for i in range(0, len(row) - length + 1, 8):
            run = row[i : i + length]
            if run[0] == HOLD:
                run[0] = sounding
            if REST not in run:
                found[tuple(run)] = None
            for token in row[i : i + 8]:
                sounding = sounding if token == HOLD else token
    if not found:
        raise ValueError(f"no tune has {n} bars in a row that are filled; got n = {n}; lower it")
    return torch.tensor(list(found))


def note(token: int) -> str:
    """Return a token's name: "-" held, "." silence, else the pitch; A4 is the tuning fork's.

    Raises:
        ValueError: there is no such token.

    >>> [note(0), note(1), note(5), note(14)]
    ['-', '.', 'C4', 'A4']
    """
    if not 0 <= token < TOKENS:
        raise ValueError(f"a token is one of 0..{TOKENS - 1}; got {token}")
    if token < 2:
        return SIGNS[token]
    pitch = LOWEST + token - 2
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"
