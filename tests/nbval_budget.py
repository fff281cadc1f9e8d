"""A pytest plugin for nbval's run: no cell may take too long, no kernel may grow too large.

The lessons are executed once in the tests, so their cost is measured in that same run.
"""

import os
import time
from collections.abc import Generator

import pytest
from nbval.plugin import IPyNbCell

from tools.build_notebooks import peak_memory_mb

CELL_SECONDS = float(os.environ.get("GENTOOLKIT_CELL_SECONDS", "25"))
KERNEL_MB = float(os.environ.get("GENTOOLKIT_KERNEL_MB", "700"))


class BudgetExceeded(AssertionError):
    """A lesson costs more than the course allows."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Time each cell of a notebook."""
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    if isinstance(item, IPyNbCell) and took > CELL_SECONDS:
        raise BudgetExceeded(f"this cell took {took:.1f} s, more than {CELL_SECONDS:g} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Ask each kernel for its greatest memory after its last cell, while it still lives."""
    peak = None
    ends = nextitem is None or nextitem.parent is not item.parent
    if isinstance(item, IPyNbCell) and ends and item.parent.kernel is not None:
        provisioner = item.parent.kernel.km.provisioner
        pid = getattr(provisioner, "pid", None)
        peak = peak_memory_mb(pid) if pid is not None else None
    yield
    if peak is not None and peak > KERNEL_MB:
        raise BudgetExceeded(f"the kernel took {peak:.0f} MB, more than {KERNEL_MB:g} MB")
