"""A pytest plugin for nbval's run: no cell and no lesson may cost too much, in time or memory.

The lessons are executed once in the tests, so their cost is measured in that same run. Time is
what the processors spent on the kernel; what else the machine does at the time does not count.
"""

import os
from collections.abc import Generator

import pytest
from nbval.plugin import IPyNbCell

from tools.kernel import CELL_SECONDS, KERNEL_MB, NOTEBOOK_SECONDS, Cost


def _limit(name: str, usual: float) -> float:
    return float(os.environ.get(f"GENTOOLKIT_{name}", usual))


class BudgetExceeded(AssertionError):
    """A lesson costs more than the course allows."""


def _cost(item: pytest.Item) -> Cost | None:
    if not isinstance(item, IPyNbCell) or item.parent.kernel is None:
        return None
    pid = getattr(item.parent.kernel.km.provisioner, "pid", None)
    return Cost.of(pid) if pid is not None else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Measure each cell of a notebook."""
    before = _cost(item)
    yield
    after, most = _cost(item), _limit("CELL_SECONDS", CELL_SECONDS)
    if before is not None and after is not None and after.seconds - before.seconds > most:
        took = after.seconds - before.seconds
        raise BudgetExceeded(f"this cell took {took:.1f} s of CPU, more than {most:g} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Ask each kernel for all that it cost after its last cell, while it still lives."""
    ends = nextitem is None or nextitem.parent is not item.parent
    cost = _cost(item) if ends else None
    yield
    if cost is None:
        return
    most = _limit("NOTEBOOK_SECONDS", NOTEBOOK_SECONDS)
    if cost.seconds > most:
        raise BudgetExceeded(f"the lesson took {cost.seconds:.0f} s of CPU, more than {most:g} s")
    most = _limit("KERNEL_MB", KERNEL_MB)
    if cost.peak_mb is not None and cost.peak_mb > most:
        raise BudgetExceeded(f"the kernel took {cost.peak_mb:.0f} MB, more than {most:g} MB")
