"""The watched run: the same records as a plain loop, and a Stop that works while it runs."""

import asyncio
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from jupyter_client.manager import start_new_kernel

from gentoolkit.teach import watch
from gentoolkit.teach.watch import StopButton


@dataclass(frozen=True)
class Step:
    step: int
    loss: float


def run(n: int) -> Iterator[Step]:
    for i in range(n):
        yield Step(i, 1.0 / (i + 1))


def test_a_watched_run_is_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a record lost or counted twice, and noise in stored notebooks."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    seen = asyncio.run(watch(run(30)))
    plain = list(run(30))
    assert seen.last == plain[-1]
    assert seen.losses == tuple(record.loss for record in plain)
    assert not seen.stopped
    assert capsys.readouterr().out == ""


def test_records_without_a_loss_and_empty_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a driver that only knows training, or fails on a generator that ends at once."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    assert asyncio.run(watch(range(5))).last == 4
    assert asyncio.run(watch(range(5))).losses == ()
    assert asyncio.run(watch(iter(()))).last is None


def test_the_picture_is_drawn_once_when_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a hundred stored pictures, or none."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    drawn: list[tuple[int, Step]] = []
    asyncio.run(watch(run(9), draw=lambda losses, record: drawn.append((len(losses), record))))
    assert drawn == [(9, Step(8, 1.0 / 9))]


def test_the_live_picture_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a live curve that costs more than the training it shows."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "live")
    now, drawn = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(sys.modules["gentoolkit.teach.watch"], "time", clock)

    def slowly() -> Iterator[Step]:
        for record in run(40):
            now[0] += 1 / 64
            yield record

    asyncio.run(watch(slowly(), draw=lambda losses, _: drawn.append(len(losses)), per_second=8.0))
    assert drawn == [1, 9, 17, 25, 33, 40]


def test_an_error_of_the_run_reaches_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a diverging run that looks finished, and a generator left open."""
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "live")
    closed: list[bool] = []

    def diverging() -> Generator[Step, None, None]:
        try:
            yield Step(0, 1.0)
            raise ValueError("the loss is not finite")
        finally:
            closed.append(True)

    with pytest.raises(ValueError, match="not finite"):
        asyncio.run(watch(diverging()))
    assert closed == [True]


def test_bad_settings_are_refused() -> None:
    """Catches a bar of no length and a division by zero."""
    for name in ("total", "every", "per_second"):
        with pytest.raises(ValueError, match=f"{name} must be positive; got 0"):
            asyncio.run(watch(range(3), **{name: 0}))  # pyright: ignore[reportArgumentType]


def test_the_progress_reads_well() -> None:
    """Catches a text/plain that changes from run to run, and a Stop that stays when all is done."""
    shown = StopButton(total=20, label="training")
    shown.update(3, [0.5, 0.25])
    assert shown.text.value == "training: 3 of 20, loss 0.25"
    assert shown._repr_mimebundle_()["text/plain"] == "Progress of training"
    shown.finish()
    assert shown.button.disabled


CELL = """
import os
os.environ["GENTOOLKIT_OUTPUT"] = "live"
import itertools, time
from gentoolkit.teach import watch

def steps():
    try:
        for i in itertools.count():
            time.sleep(0.002)
            yield i
    finally:
        print("closed")

seen = await watch(steps())
print(seen.stopped)
"""


def test_stop_is_heard_while_the_cell_runs() -> None:
    """Catches a Stop whose click waits until the cell has ended: this cell never ends by itself."""
    manager, client = start_new_kernel()
    try:
        asked = client.execute(CELL)
        button, printed, clicked = "", "", False
        deadline = time.monotonic() + 300.0  # a cell that does not hear would never end
        while time.monotonic() < deadline:
            message = client.get_iopub_msg(timeout=300)
            content = message["content"]
            if message["msg_type"] == "comm_open":
                state = content["data"].get("state", {})
                if state.get("description") == "Stop":
                    button = content["comm_id"]
            elif message["msg_type"] == "stream":
                printed += content["text"]
            elif message["msg_type"] == "error":
                pytest.fail("\n".join(content["traceback"]))
            elif (
                message["msg_type"] == "status"
                and content["execution_state"] == "idle"
                and message["parent_header"].get("msg_id") == asked
            ):
                break
            if button and not clicked and message["msg_type"] == "display_data":
                event = {"method": "custom", "content": {"event": "click"}}
                client.shell_channel.send(
                    client.session.msg("comm_msg", {"comm_id": button, "data": event})
                )
                clicked = True
        assert clicked
        assert printed == "closed\nTrue\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


CHART = """
import os
os.environ["GENTOOLKIT_OUTPUT"] = "live"
import time
from gentoolkit.teach import watch
from gentoolkit.viz.charts import curves

def steps():
    for i in range(60):
        time.sleep(0.02)
        yield i

def draw(losses, record):
    return curves({"height": [record, 2.0 * record]}, alt="a curve that grows while it is watched")

_ = await watch(steps(), draw, per_second=10)
"""


def test_a_live_chart_is_replaced_and_not_piled_up() -> None:
    """Catches a chart that prints itself anew at each update, and one that is not kept."""
    manager, client = start_new_kernel()
    kind = "application/vnd.plotly.v1+json"
    kept, redrawn = 0, 0
    try:
        asked = client.execute(CHART)
        while True:
            message = client.get_iopub_msg(timeout=300)
            content = message["content"]
            if message["msg_type"] == "display_data" and kind in content["data"]:
                kept += 1
            elif message["msg_type"] == "comm_msg":
                redrawn += kind in str(content["data"].get("state", {}).get("outputs", ""))
            elif message["msg_type"] == "error":
                pytest.fail("\n".join(content["traceback"]))
            elif (
                message["msg_type"] == "status"
                and content["execution_state"] == "idle"
                and message["parent_header"].get("msg_id") == asked
            ):
                break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert kept == 1
    assert redrawn >= 3
