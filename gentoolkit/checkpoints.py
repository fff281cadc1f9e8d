"""Parameters in a file, and the last good ones while a model trains."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Write the parameters and buffers of `model` to a safetensors file, all or nothing.

    Arguments:
        model: whose state is written; layers may be repeated and weights tied.
        path: file name; its folder is made if needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    save_file(_copied(model), str(draft))
    # The rename is atomic: a reader finds the old checkpoint or the new one, never half of one.
    draft.replace(path)


def load_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Read parameters written by `save_checkpoint` into `model`.

    Raises:
        ValueError: the file does not fit the model, which is left as it was.
    """
    state, before = load_file(str(path)), _copied(model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        # Torch copies what fits before it refuses the rest.
        model.load_state_dict(before)
        raise ValueError(
            f"the checkpoint must fit the model; got {path}, which does not match "
            f"{type(model).__name__} ({error}); build the model with the sizes it was saved with"
        ) from error


class LastGood:
    """The last good parameters of a model, in memory and, if there is a path, in a file."""

    def __init__(self, model: nn.Module, path: str | Path | None) -> None:
        self.model, self.path, self.step = model, path, 1
        self.state = _copied(model)

    def save(self, step: int) -> None:
        """Keep the present parameters, those before `step`."""
        self.step = step
        for name, value in self.model.state_dict().items():
            self.state[name].copy_(value)
        if self.path is not None:
            save_checkpoint(self.model, self.path)

    def restore(self) -> int:
        """Put the kept parameters back, and return the step that they come before."""
        self.model.load_state_dict(self.state)
        return self.step


def _copied(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of parameters and buffers; tied ones are copied under each of their names."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
