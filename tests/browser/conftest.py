"""A real Chromium and a real JupyterLab, once per session, both kept off the network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.lab import PATIENCE, Lab, Watch, find_chromium, start_lab

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # offline by force
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium that draws in software; without one: skip, but in CI fail."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium on the path (install Debian's package chromium)"
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"The browser tests cannot be left out in CI: {reason}.")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab server on a free loopback port with a temporary root and settings."""
    server, process = start_lab(tmp_path_factory.mktemp("lab"))
    yield server
    process.terminate()
    process.wait(20)


@pytest.fixture
def watch() -> Watch:
    """What the page asks of the network, and its script errors."""
    return Watch()


@pytest.fixture
def page(chromium: Browser, watch: Watch) -> Iterator[Page]:
    """A page in a context of its own; a request outside of loopback fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1500})
    context.set_default_timeout(1000 * PATIENCE)
    watch.on(context)
    yield context.new_page()
    context.close()
    assert not watch.outside, f"asked the network for {sorted(set(watch.outside))}"


@pytest.fixture
def save_shot(tmp_path: Path) -> Callable[[Page, str], Path]:
    """Save a screenshot under GENTOOLKIT_SHOTS, or in the test's own folder."""

    def save(page: Page, name: str) -> Path:
        folder = Path(os.environ.get("GENTOOLKIT_SHOTS") or tmp_path)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")
        return folder / f"{name}.png"

    return save
