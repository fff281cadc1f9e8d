"""What a model holds without training it: sources, targets, paths of densities, light moves."""

from collections.abc import Callable
from copy import copy
from types import FunctionType, MethodType, ModuleType
from typing import Any

from torch import Generator, Tensor, nn


class Held(nn.Module):
    """Something that follows a model's dtype and device, and whose parameters are not trained.

    Its parameters are none of the model's, so that no target is pulled towards the model. Where it
    is a module it is moved in place, like any part of a model; tensors that other objects keep in
    their fields are replaced in a copy.

    Arguments:
        thing: a module, a density, a move, or a method of one. Tensors that a plain function
            closes over are out of reach: give such a target as an object.
    """

    def __init__(self, thing: Any) -> None:  # noqa: ANN401
        super().__init__()
        self._box = [thing]  # in a list: a module set as a field would join the model

    @property
    def thing(self) -> Any:  # noqa: ANN401
        """What is held, in the dtype and on the device where the model is now."""
        return self._box[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Held":
        self._box[0] = _moved(self._box[0], fn, {})
        return super()._apply(fn, recurse)


def _moved(thing: Any, fn: Callable[[Tensor], Tensor], seen: dict[int, Any]) -> Any:  # noqa: ANN401
    """Return `thing` with `fn` applied to every tensor that can be reached from its fields."""
    if isinstance(thing, Tensor):
        return fn(thing)
    if isinstance(thing, nn.Module):
        return thing._apply(fn)
    if isinstance(thing, MethodType):
        return MethodType(thing.__func__, _moved(thing.__self__, fn, seen))
    if isinstance(thing, list | tuple) and type(thing) in (list, tuple):
        return type(thing)(_moved(part, fn, seen) for part in thing)
    fields = getattr(thing, "__dict__", None)
    if isinstance(thing, FunctionType | ModuleType | type | Generator) or not fields:
        return thing
    if id(thing) not in seen:
        seen[id(thing)] = twin = copy(thing)
        twin.__dict__.update({name: _moved(part, fn, seen) for name, part in fields.items()})
    return seen[id(thing)]
