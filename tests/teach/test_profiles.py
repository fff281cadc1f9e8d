"""Profiles, the opening line, the list of lessons."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gentoolkit.teach import LESSONS, PROFILES, course_map, device, profile, start
from gentoolkit.teach.lessons import PARTS

ROOT = Path(__file__).parents[2]


def test_the_environment_chooses_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a profile that ignores the variable, or a silent fall-back to cpu."""
    monkeypatch.delenv("GENTOOLKIT_PROFILE", raising=False)
    assert profile().name == "cpu"
    monkeypatch.setenv("GENTOOLKIT_PROFILE", "test")
    assert profile().name == "test"
    assert profile("gpu").name == "gpu"
    monkeypatch.setenv("GENTOOLKIT_PROFILE", "fast")
    with pytest.raises(ValueError, match="got 'fast'; set GENTOOLKIT_PROFILE to one of cpu, "):
        profile()


def test_a_profile_scales_work() -> None:
    """Catches swapped factors, a product that is no int, and a scale that reaches zero."""
    assert [PROFILES[name].scale(800) for name in ("cpu", "binder", "gpu", "test")] == [
        800,
        800,
        3200,
        200,
    ]
    assert [PROFILES[name].n(200) for name in ("cpu", "binder", "gpu", "test")] == [
        200,
        200,
        800,
        100,
    ]
    assert PROFILES["test"].scale(1) == 1
    with pytest.raises(ValueError, match="at least 1; got 0"):
        profile("cpu").scale(0)
    with pytest.raises(TypeError, match=r"whole number; got 2\.5"):
        profile("cpu").n(2.5)  # pyright: ignore[reportArgumentType]


def test_the_device_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a GPU profile that fails only deep inside a lesson."""
    monkeypatch.setenv("GENTOOLKIT_PROFILE", "cpu")
    assert device() == torch.device("cpu")
    monkeypatch.setenv("GENTOOLKIT_PROFILE", "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a CUDA GPU; got a machine"):
        device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device() == torch.device("cuda")


def test_start_seeds_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an unseeded lesson, and versions that leak into stored notebooks."""
    monkeypatch.setenv("GENTOOLKIT_PROFILE", "cpu")
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "poster")
    assert start("01_elbo", seed=5).name == "cpu"
    first = torch.rand(3)
    told = capsys.readouterr().out
    assert told == "Lesson 01, The evidence and its lower bound | profile cpu | seed 5\n"
    start("01_elbo", seed=5)
    assert torch.equal(first, torch.rand(3))
    assert torch.get_num_threads() == 1
    capsys.readouterr()
    monkeypatch.setenv("GENTOOLKIT_OUTPUT", "live")
    start("01_elbo")
    assert f"torch {torch.__version__}" in capsys.readouterr().out


def test_start_refuses_what_it_does_not_know() -> None:
    """Catches a misspelt lesson that runs under another lesson's name."""
    with pytest.raises(ValueError, match="got '01_elbow'; open one of 00_start, 01_elbo"):
        start("01_elbow")
    with pytest.raises(ValueError, match="got '30_graphs'"):
        start("30_graphs")


def test_start_names_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a lesson that dies on its third cell instead of saying what to install."""
    import importlib.metadata
    import importlib.util

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0.1")
    with pytest.raises(ModuleNotFoundError, match=r"numpy 2\.0 or newer; got 0\.0\.1; run pip"):
        start("00_start")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="got no such package; run pip"):
        start("00_start")


def test_the_list_of_lessons_is_whole() -> None:
    """Catches a lesson that is listed twice, out of order, or in an unknown part."""
    assert [lesson.number for lesson in LESSONS] == [f"{n:02d}" for n in range(32)]
    assert len({lesson.name[3:] for lesson in LESSONS}) == 32
    assert all(re.fullmatch(r"\d\d_[a-z_]+", lesson.name) for lesson in LESSONS)
    assert list(dict.fromkeys(lesson.part for lesson in LESSONS)) == list(PARTS)


def test_ready_lessons_are_those_with_a_source() -> None:
    """Catches a lesson that exists and cannot be opened, or is announced and missing."""
    written = {path.stem for path in (ROOT / "course").glob("[0-9][0-9]_*.md")}
    assert written
    assert {lesson.name for lesson in LESSONS if lesson.ready} == written


def test_the_map_links_ready_lessons_only() -> None:
    """Catches a link to a notebook that is not there."""
    shown = course_map()
    links = re.findall(r'href="(\w+)\.ipynb"', shown._repr_html_())
    assert links == [lesson.name for lesson in LESSONS if lesson.ready]
    assert shown._repr_html_().count("<tr>") == 1 + len(PARTS) + 32
    ready = sum(lesson.ready for lesson in LESSONS)
    assert repr(shown) == f"Map of the course: 32 lessons in 8 parts, {ready} ready"


def test_the_package_loads_no_widgets() -> None:
    """Catches an import that makes every use of the library pay for Jupyter's widgets."""
    code = (
        "import sys, gentoolkit.teach; "
        "print(sorted({'plotly', 'ipywidgets', 'anywidget'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
