"""English words of five letters."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gentoolkit.data.real import lines

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Words:
    """Words of five letters, split into a part to learn from and a part to test on.

    Arguments:
        train: (N, 5) letters 0..25.
        test: (M, 5) letters 0..25; no word stands in both parts.
    """

    train: Tensor
    test: Tensor

    @property
    def every(self) -> Tensor:
        """Both parts, (N + M, 5)."""
        return torch.cat((self.train, self.test))


def words(*, test: int = 500, seed: int = 0) -> Words:
    """Load the five-letter words of Debian's American English list; nothing is downloaded.

    Names and words with an apostrophe or an accent do not count, slurs and obscenities were left
    out: 4,645 words remain.

    Arguments:
        test: how many words to test on; 0 leaves all of them to learn from.
        seed: of the shuffle that splits them.

    Raises:
        ValueError: `test` is negative or leaves nothing to learn from.

    >>> spell(words().train[:0]), spell(torch.tensor([[7, 4, 11, 11, 14]]))
    ([], ['hello'])
    """
    known = letters(lines("words.txt"))
    if not 0 <= test < len(known):
        raise ValueError(f"test must be in 0..{len(known) - 1}; got {test}; leave some to learn")
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
    return Words(known[order[test:]], known[order[:test]])


def letters(spelled: Iterable[str]) -> Tensor:
    """Return words of equal length as letters 0..25, (N, length).

    Raises:
        ValueError: a word has another length than the first, or a letter outside a..z.

    >>> letters(["abide"])
    tensor([[0, 1, 8, 3, 4]])
    """
    rows = list(spelled)
    for word in rows:
        if len(word) != len(rows[0]) or not set(word) <= set(LETTERS):
            raise ValueError(
                f"words must be of equal length and of the letters a..z; got {word!r} beside "
                f"{rows[0]!r}; leave it out, or write it in small letters"
            )
    return torch.tensor([[LETTERS.index(letter) for letter in word] for word in rows])


def spell(x: Tensor, blank: str = "_") -> list[str]:
    """Return rows of letters (N, length) as words; any other number, such as a mask, as `blank`.

    >>> spell(torch.tensor([[2, 26, 19]]))
    ['c_t']
    """
    return ["".join(LETTERS[i] if 0 <= i < 26 else blank for i in row) for row in x.tolist()]
