"""Every test starts from one seed and one thread; what a missing browser left out is told last."""

import pytest
import torch

_LEFT_OUT = pytest.StashKey[int]()


@pytest.fixture
def default_dtype() -> torch.dtype:
    """The default dtype of a test: exact truths want digits.

    A module or a parametrization that means another one overrides it: users run float32.
    """
    return torch.float64


@pytest.fixture(autouse=True)
def _reproducible(default_dtype):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default_dtype)
    yield
    torch.set_default_dtype(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the tests that were skipped for want of Chromium."""
    skipped = terminalreporter.stats.get("skipped", [])
    found = sum("Chromium" in str(report.longrepr) for report in skipped)
    terminalreporter.config.stash[_LEFT_OUT] = found


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say it after everything else, where nobody overlooks it."""
    found = config.stash.get(_LEFT_OUT, 0)
    if found:
        print(
            f"Not tested: {found} tests that open a browser, because no Chromium was found. "
            "Install it (Debian, Ubuntu: apt-get install chromium) and run this again."
        )
