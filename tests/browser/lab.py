"""What the browser tests do in JupyterLab and on a page: open, run, press, compare."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from playwright.sync_api import BrowserContext, Locator, Page

IDLE_BAR = "() => /\\| Idle/.test(document.querySelector('#jp-bottom-panel')?.textContent || '')"
IDLE_NOTEBOOK = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
ALL_NUMBERED = """() => {
  const cells = [...document.querySelectorAll('.jp-CodeCell')];
  const full = cells.filter((c) => c.querySelector('.cm-content')?.textContent.trim());
  const prompts = full.map((c) => c.querySelector('.jp-InputPrompt').textContent);
  return prompts.length > 0 && prompts.every((p) => /\\[\\d+\\]/.test(p));
}"""
ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
# What waits longer than this will never come; a busy machine may take most of it.
PATIENCE = 300.0


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab server on loopback, and the folder that it serves."""

    address: str
    token: str
    root: Path

    def open(self, page: Page, name: str) -> None:
        """Open a notebook of the root in a fresh workspace and wait for its kernel."""
        for kernel in json.loads(self._ask("/api/kernels", "GET")):  # those of earlier tests
            self._ask(f"/api/kernels/{kernel['id']}", "DELETE")
        url = f"{self.address}/lab/tree/{name}?token={self.token}&reset"
        page.goto(url, wait_until="domcontentloaded")
        wait_idle(page)

    def _ask(self, path: str, method: str) -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.address + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()


@dataclass
class Watch:
    """Requests that a page made outside of loopback, and errors of its scripts."""

    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def on(self, context: BrowserContext) -> None:
        """Follow every page of a context."""
        context.on("request", lambda request: self._request(request.url))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)

    def _request(self, url: str) -> None:
        local = ("http://127.0.0.1:", "ws://127.0.0.1:", "file:", "data:", "blob:", "about:")
        if not url.startswith(local):
            self.outside.append(url)


def find_chromium() -> str | None:
    """The first Chromium on the path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def start_lab(folder: Path) -> tuple[Lab, subprocess.Popen]:
    """Start JupyterLab with settings of its own; wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    root = folder / "root"
    root.mkdir()
    own = {f"JUPYTER_{k}_DIR": str(folder / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "OMP_NUM_THREADS": "1"}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={root}"] + (["--allow-root"] if os.getuid() == 0 else [])
    log = folder / "lab.log"
    with log.open("w") as out:
        environment = {k: v for k, v in os.environ.items() if k != "GENTOOLKIT_OUTPUT"} | own
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    lab = Lab(f"http://127.0.0.1:{port}", token, root)
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{lab.address}/api?token={token}", timeout=2).close()
            return lab, process
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                process.kill()
                raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-3000:]}") from None
            time.sleep(0.1)


def wait_idle(page: Page) -> None:
    """Wait for both signs of an idle kernel: the notebook's own is there before a kernel is."""
    page.wait_for_function(IDLE_BAR, timeout=1000 * PATIENCE)
    page.wait_for_selector(IDLE_NOTEBOOK, timeout=1000 * PATIENCE)


def run_all(page: Page, lab: Lab, notebook: Path) -> None:
    """Open a copy of a notebook, run every cell by the menu, fail on an error output."""
    shutil.copy(notebook, lab.root / notebook.name)  # never touch the checked-out notebook
    lab.open(page, notebook.name)
    page.click('.lm-MenuBar-item:has-text("Run")')
    page.click('.lm-Menu-item:has(.lm-Menu-itemLabel:text-is("Run All Cells"))')
    page.wait_for_function(ALL_NUMBERED, timeout=1000 * PATIENCE)
    page.wait_for_selector(IDLE_NOTEBOOK, timeout=1000 * PATIENCE)
    errors = page.locator(ERROR).all_inner_texts()
    assert not errors, f"{notebook.name} has a cell that fails: {errors[0][-1500:]}"


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    nbformat.write(book, path)
    return path


def picture(view: Locator) -> str:
    """All canvases of a view, as text that can be compared."""
    return view.evaluate(
        "v => [...v.querySelectorAll('canvas')].map((c) => c.toDataURL()).join(' ')"
    )


def wait_for_change(view: Locator, before: str) -> str:
    """Wait until the pixels differ; fails by time-out."""
    limit = time.monotonic() + PATIENCE
    while (now := picture(view)) == before:
        assert time.monotonic() < limit, "the picture did not change"
        view.page.wait_for_timeout(30)
    return now


def settled(view: Locator, quiet: int = 600) -> str:
    """Wait until the pixels stay the same for a while: several keys may give several pictures."""
    limit = time.monotonic() + PATIENCE
    before, now = "", picture(view)
    while now != before:
        assert time.monotonic() < limit, "the picture does not come to rest"
        view.page.wait_for_timeout(quiet)
        before, now = now, picture(view)
    return now


def wait_for_data(view: Locator, key: str, value: str) -> None:
    """Wait until a view's data attribute has a value."""
    view.page.wait_for_function(
        "([v, key, value]) => v.dataset[key] === value",
        arg=[view.element_handle(), key, value],
        timeout=1000 * PATIENCE,
    )


def colors_in(view: Locator) -> int:
    """Number of distinct colours on the first canvas: a blank one has very few."""
    return view.locator("canvas").first.evaluate(
        """c => new Set(new Uint32Array(
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"""
    )


def press_play(view: Locator) -> None:
    """Press Play by the keyboard."""
    view.locator(".gt-play").focus()
    view.page.keyboard.press("Space")


def active_cell(page: Page) -> int:
    """Index of JupyterLab's active cell."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')]
        .findIndex((c) => c.classList.contains('jp-mod-active'))"""
    )
