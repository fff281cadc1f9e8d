"""What every refusal has in common."""

from collections.abc import Callable

import pytest


def refused(call: Callable[[], object], words: str, error: type[Exception] = ValueError) -> None:
    """A call must fail and say what is wrong, what was got, and how to fix it."""
    with pytest.raises(error, match=words) as caught:
        call()
    message = str(caught.value)
    parts = message.split("; ")
    assert len(parts) > 2 and parts[1].startswith("got"), message
