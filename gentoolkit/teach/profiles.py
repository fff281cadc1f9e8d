"""How much work a lesson may ask of the machine, and the call that opens each lesson."""

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass

import torch

from gentoolkit.teach.lessons import lesson
from gentoolkit.viz import output

# Import name, distribution name and the oldest release that the lessons were written for.
_NEEDED = (
    ("numpy", "numpy", (2, 0)),
    ("sklearn", "scikit-learn", (1, 7)),
    ("plotly", "plotly", (7, 1)),
    ("ipywidgets", "ipywidgets", (8, 1)),
    ("anywidget", "anywidget", (0, 11)),
)


@dataclass(frozen=True)
class Profile:
    """The budget of one kind of machine.

    Arguments:
        name: what GENTOOLKIT_PROFILE is set to.
        device: torch's word for where tensors live.
        steps: factor on the number of training steps that a lesson asks for.
        samples: factor on batch sizes and on numbers of samples.
        threads: threads that torch may use.
    """

    name: str
    device: str
    steps: float
    samples: float
    threads: int

    def scale(self, steps: int) -> int:
        """Turn a number of training steps, at least 1, into this machine's, at least 1."""
        return _scaled("steps", steps, self.steps)

    def n(self, samples: int) -> int:
        """Turn a batch size or a number of samples, at least 1, into this machine's."""
        return _scaled("samples", samples, self.samples)


def _scaled(what: str, number: int, factor: float) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{what} must be a whole number; got {number!r}; round it first")
    if number < 1:
        raise ValueError(f"{what} must be at least 1; got {number}; ask for at least one")
    return max(1, round(number * factor))


PROFILES = {
    "cpu": Profile("cpu", device="cpu", steps=1.0, samples=1.0, threads=1),
    "binder": Profile("binder", device="cpu", steps=1.0, samples=1.0, threads=1),
    "gpu": Profile("gpu", device="cuda", steps=4.0, samples=4.0, threads=4),
    "test": Profile("test", device="cpu", steps=0.25, samples=0.5, threads=1),
}


def profile(name: str | None = None) -> Profile:
    """Find a profile by its name.

    Arguments:
        name: `cpu`, `binder`, `gpu` or `test`; by default what GENTOOLKIT_PROFILE says, else `cpu`.

    Raises:
        ValueError: if no profile has that name.
    """
    wanted = os.environ.get("GENTOOLKIT_PROFILE", "cpu") if name is None else name
    if wanted not in PROFILES:
        raise ValueError(
            f"there is no such profile; got {wanted!r}; "
            f"set GENTOOLKIT_PROFILE to one of {', '.join(PROFILES)}, or unset it"
        )
    return PROFILES[wanted]


def device() -> torch.device:
    """Say where the current profile wants its tensors; raise ValueError if there is no such GPU."""
    chosen = profile()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"the profile {chosen.name!r} needs a CUDA GPU; got a machine on which torch sees "
            "none; set GENTOOLKIT_PROFILE=cpu, or install the CUDA build of torch"
        )
    return torch.device(chosen.device)


def start(name: str, seed: int = 0) -> Profile:
    """Open a lesson: check the machine, seed torch, limit its threads, say so in one line.

    Arguments:
        name: the lesson's file name without its ending, such as `00_start`.
        seed: for torch's global generator.

    Returns:
        The profile whose `scale` and `n` size the lesson's experiments.

    Raises:
        ValueError: if the lesson or the profile is unknown.
        ModuleNotFoundError: if a package of the `lab` extra is missing or too old.
    """
    opened, chosen = lesson(name), profile()
    for module, distribution, oldest in _NEEDED:
        _require(module, distribution, oldest)
    torch.manual_seed(seed)
    torch.set_num_threads(chosen.threads)
    line = f"Lesson {opened.number}, {opened.title} | profile {chosen.name} | seed {seed}"
    if output.mode() == "live":
        # Kept out of the stored notebooks: two machines must print the same line there.
        line += f" | Python {platform.python_version()}, torch {torch.__version__}"
    print(line)
    return chosen


def _require(module: str, distribution: str, oldest: tuple[int, ...]) -> None:
    found = "no such package"
    if importlib.util.find_spec(module) is not None:
        found = importlib.metadata.version(distribution)
        if tuple(int(part) for part in found.split(".")[: len(oldest)]) >= oldest:
            return
    raise ModuleNotFoundError(
        f"this lesson needs {distribution} {'.'.join(map(str, oldest))} or newer; got {found}; run "
        "pip install -c constraints.txt -e .[lab] in the course's folder, then restart"
    )
