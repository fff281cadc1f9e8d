"""Training as a generator: a loop can show a bar, drive a picture, or stop."""

from collections.abc import Callable, Generator, Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from gentoolkit.core import validate

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Record:
    """What one training step did.

    Arguments:
        step: number of the step, from 1.
        loss: its loss, before the update.
        gradient_norm: Euclidean norm of the whole gradient, before clipping.
        seconds: wall time since training began.
    """

    step: int
    loss: float
    gradient_norm: float
    seconds: float


class _Loss(nn.Module):
    """Puts the loss behind `forward`, where data-parallel wrappers look for it."""

    def __init__(self, model: nn.Module, loss: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:  # noqa: ANN401 - a batch is what the model says
        return self.loss(batch)


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    lr: float = 1e-3,
    *,
    loss: Callable[[Any], Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    clip: float | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    keep_every: int = 100,
    accelerator: "Accelerator | None" = None,
) -> Generator[Record, None, None]:
    """Train `model` on `batches`, one `Record` a step.

    Nothing happens until the generator is run; leaving the loop early stops the training and
    leaves the model as it is:

        for record in fit(model, batches(data, 128, steps=1000), lr=1e-3):
            losses.append(record.loss)

    Arguments:
        model: its `loss(batch) -> ()` is minimised.
        batches: what `loss` takes, one a step. With an accelerator of several processes these are
            the whole batches, the same in each process: each takes its own equal slice.
        lr: step size of Adam.
        loss: what is minimised instead of `model.loss`.
        optimizer: takes the place of Adam; `lr` is then left alone.
        clip: largest norm of the gradient; a larger one is scaled down to it.
        progress: show a progress bar with the loss.
        checkpoint: a safetensors file that holds the last good parameters at each moment.
        keep_every: steps between two copies of the good parameters.
        accelerator: an `accelerate.Accelerator`, for several processes or mixed precision.

    Yields:
        A `Record` after each step.

    Raises:
        ValueError: `lr`, `clip` or `keep_every` is not positive, or there are no batches.
        FloatingPointError: the loss or its gradient is not finite. The model and the checkpoint
            then hold the last good parameters.
    """
    validate.positive("lr", lr)
    validate.positive_count("keep_every", keep_every)
    if clip is not None:
        validate.positive("clip", clip)
    return _fit(
        model,
        batches,
        _Loss(model, _loss_of(model) if loss is None else loss),
        # One kernel for all parameters: a deep flow of small layers trains 1.4 times as fast.
        optimizer or torch.optim.Adam(model.parameters(), lr, fused=True),
        float("inf") if clip is None else clip,
        progress,
        None if checkpoint is None else Path(checkpoint),
        keep_every,
        accelerator,
    )


def _loss_of(model: nn.Module) -> Callable[[Any], Tensor]:
    loss = getattr(model, "loss", None)
    if not callable(loss):
        raise TypeError(
            f"model must have a method loss(batch); got {type(model).__name__} without one; "
            "write it, or pass loss=lambda batch: ..."
        )
    return loss  # pyright: ignore[reportReturnType]


def _fit(
    model: nn.Module,
    batches: Iterable[Any],
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip: float,
    progress: bool,
    checkpoint: Path | None,
    keep_every: int,
    accelerator: "Accelerator | None",
) -> Generator[Record, None, None]:
    main = accelerator is None or accelerator.is_main_process
    if accelerator is not None:
        loss_of, optimizer = accelerator.prepare(loss_of, optimizer)
    keep = _Keep(model, checkpoint if main else None)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    total = len(batches) if isinstance(batches, Sized) else None
    start, step, last = perf_counter(), 0, float("nan")
    with tqdm(total=total, disable=not (progress and main), leave=False, desc="fit") as bar:
        for step, batch in enumerate(batches, 1):
            part = batch if accelerator is None else _slice(accelerator, batch)
            try:
                value = loss_of(part)
            except ValueError as error:
                # Exploded parameters often meet a check inside the model before they make a NaN.
                if step == 1:
                    raise
                raise _diverged(step, f"the loss failed, {error}", last, keep) from error
            if value.shape != ():
                raise ValueError(
                    f"loss must be one number, shape (); got {tuple(value.shape)}; end in .mean()"
                )
            optimizer.zero_grad(set_to_none=True)
            if accelerator is None:
                value.backward()
                shown = float(value.detach())
            else:
                accelerator.backward(value)
                reduced = accelerator.reduce(value.detach(), "mean")
                assert isinstance(reduced, Tensor)
                shown = float(reduced)
            norm = float(nn.utils.clip_grad_norm_(parameters, clip))
            if not (abs(shown) < float("inf") and norm < float("inf")):
                raise _diverged(step, f"loss {shown}, gradient norm {norm}", last, keep)
            # Parameters are known to be good only once a loss came out finite under them.
            if (step - 1) % keep_every == 0:
                keep.save(step)
            optimizer.step()
            last = shown
            bar.update()
            if step % 20 == 0:
                bar.set_postfix_str(f"loss {shown:.4g}", refresh=False)
            yield Record(step, shown, norm, perf_counter() - start)
    if step == 0:
        raise ValueError("batches must hold at least one batch; got none; pass data to train on")
    if all(bool(torch.isfinite(p).all()) for p in parameters):
        keep.save(step + 1)


class _Keep:
    """Holds the last good parameters, in memory and, if asked, in a file."""

    def __init__(self, model: nn.Module, path: Path | None) -> None:
        self.model, self.path, self.step = model, path, 1
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def save(self, step: int) -> None:
        self.step = step
        for name, value in self.model.state_dict().items():
            self.state[name].copy_(value)
        if self.path is not None:
            save_checkpoint(self.model, self.path)

    def restore(self) -> int:
        self.model.load_state_dict(self.state)
        return self.step


def _diverged(step: int, what: str, last: float, keep: _Keep) -> FloatingPointError:
    """Put the last good parameters back and say where the training went wrong."""
    kept = keep.restore()
    return FloatingPointError(
        f"training diverged at step {step}: {what} (the loss before was {last}); the model holds "
        f"the parameters before step {kept}; lower lr, pass clip=1.0, or check the data for "
        "extreme values"
    )


def _slice(accelerator: "Accelerator", batch: Any) -> Any:  # noqa: ANN401
    """Give each process its equal share of a batch that all of them hold."""
    rows, processes = len(batch), accelerator.num_processes
    if rows % processes:
        raise ValueError(
            f"a batch must divide evenly among processes; got {rows} rows for {processes}; "
            f"use a batch size that is a multiple of {processes}"
        )
    with accelerator.split_between_processes(batch) as part:
        return part.to(accelerator.device) if isinstance(part, Tensor) else part


def save_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Write the parameters and buffers of `model` to a safetensors file, all or nothing.

    Arguments:
        model: whose state is written.
        path: file name; its folder is made if needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    save_file({k: v.detach().contiguous() for k, v in model.state_dict().items()}, str(draft))
    # The rename is atomic: a reader finds the old checkpoint or the new one, never half of one.
    draft.replace(path)


def load_checkpoint(model: nn.Module, path: str | Path) -> None:
    """Read parameters written by `save_checkpoint` into `model`.

    Raises:
        ValueError: the file does not fit the model.
    """
    try:
        model.load_state_dict(load_file(str(path)))
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint must fit the model; got {path}, which does not match "
            f"{type(model).__name__} ({error}); build the model with the sizes it was saved with"
        ) from error
