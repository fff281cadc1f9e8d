"""Trained weights that are shipped with the course, and the call that puts them into a net."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

FOLDER = Path(__file__).parent


def load_weights(module: nn.Module, name: str) -> dict[str, str]:
    """Put shipped weights into `module` and say how they were made.

    Parameters are stored in half precision and take the module's own dtype and device:

        net = UNet(1, width=24, classes=10)
        about = load_weights(net, "digits_diffusion")

    Arguments:
        module: of the sizes that the weights were trained with.
        name: of the file, without its ending.

    Returns:
        What the maker noted: the schedule, the sizes, the seed, the number of steps and so on.

    Raises:
        TypeError: `module` is no module.
        ValueError: there are no such weights, or they do not fit the module, which is then left
            as it was.
    """
    _module(module)
    known = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
    if name not in known:
        raise ValueError(
            f"there are no such weights; got {name!r}; choose among {', '.join(known) or 'none'}"
        )
    return read_weights(module, FOLDER / f"{name}.safetensors")


def read_weights(module: nn.Module, path: Path) -> dict[str, str]:
    """Put the weights of a file into `module` and say how they were made, as `load_weights` does.

    Raises:
        TypeError: `module` is no module.
        ValueError: the weights do not fit the module, which is then left as it was.
    """
    _module(module)
    with safe_open(str(path), framework="pt") as file:
        about: dict[str, str] = json.loads(file.metadata()["about"])
        stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    # Compared first, since torch loads what fits before it complains.
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in stored.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise ValueError(
                f"the weights {path.stem!r} do not fit this {type(module).__name__}; got {key} of "
                f"shape {wanted.get(key, 'none')} where the file has {found.get(key, 'none')}; "
                f"build the module with the sizes of the file: {about}"
            )
    with torch.no_grad():
        module.load_state_dict(stored)
    return about


def _module(module: object) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module must be an nn.Module; got {type(module).__name__}; build the net first, and "
            "pass it together with the name of its weights"
        )
