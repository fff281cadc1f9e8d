"""Training as a generator: a loop can show a bar, drive a picture, or stop."""

from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from gentoolkit.core import validate

if TYPE_CHECKING:
    from accelerate import Accelerator

Schedule = LRScheduler | Callable[[int], float]
"""A scheduler, moved on after each step, or the learning rate as a function of the step, from 1."""


@dataclass(frozen=True)
class Record:
    """What one training step did.

    Arguments:
        step: number of the step, from 1.
        loss: its loss, before the update; with several players, that of the last one that moved.
        gradient_norm: Euclidean norm of the whole gradient, before clipping; infinite where a
            gradient overflowed under a scaler and the update was left out.
        seconds: wall time since training began.
        losses: the latest loss of every player; NaN before its first turn.
    """

    step: int
    loss: float
    gradient_norm: float
    seconds: float
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Player:
    """One of several that take turns on each batch, as in a GAN.

    Arguments:
        loss: what it minimises, from a batch to (). It may differentiate through the parameters of
            the others: they are not moved.
        optimizer: of its own parameters.
        every: moves at steps `every`, 2 `every`, ...
        schedule: of its learning rate.

    Raises:
        ValueError: `every` is below one.
    """

    loss: Callable[[Any], Tensor]
    optimizer: Optimizer
    every: int = 1
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        validate.positive_count("every", self.every)


def ema(model: nn.Module, decay: float = 0.999) -> AveragedModel:
    """Return an exponential moving average of the weights of `model`, for `fit(average=...)`.

        average <- decay average + (1 - decay) weights,   started at the first weights it sees

    `average.module` is the model with the averaged weights; to put them in,
    `model.load_state_dict(average.module.state_dict())`.

    Arguments:
        model: what is trained; it is copied.
        decay: in one step, from 0 to below 1.

    Raises:
        ValueError: `decay` is outside [0, 1).
    """
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"decay must lie in [0, 1); got {decay}; 0.999 looks back 1,000 steps")
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


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
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    players: Sequence[Player] = (),
    clip: float | None = None,
    average: AveragedModel | None = None,
    generator: torch.Generator | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    keep_every: int = 100,
    scaler: GradScaler | None = None,
    accelerator: "Accelerator | None" = None,
) -> Generator[Record, None, None]:
    """Train `model` on `batches`, one `Record` a step.

    Nothing happens until the generator is run; leaving the loop early stops the training and
    leaves the model as it is.

    >>> from gentoolkit.data import batches
    >>> from gentoolkit.flows import real_nvp
    >>> flow, data = real_nvp(2), torch.randn(500, 2)
    >>> for record in fit(flow, batches(data, 128, steps=3), lr=1e-3, progress=False):
    ...     print(record.step)
    1
    2
    3

    Arguments:
        model: its `loss(x) -> ()` is minimised, or `loss(x, context=context)`.
        batches: what is trained on, one a step: `x`, or a tuple or list of `x` and `context`, so a
            torch DataLoader will do. A `loss` or a player gets each batch as it comes. With an
            accelerator of several processes these are the whole batches, the same in each process:
            each takes its own equal slice.
        lr: step size of Adam.
        loss: what is minimised instead of `model.loss`.
        optimizer: takes the place of Adam; `lr` is then left alone.
        schedule: a scheduler of `optimizer`, or a function of the step that gives the rate.
        players: several losses with an optimizer each take turns on every batch, in this order,
            in place of one loss.
        clip: largest norm of the gradient; a larger one is scaled down to it.
        average: is updated after each step; see `ema`.
        generator: is handed to `model.loss`, which draws from it.
        progress: show a progress bar with the loss.
        checkpoint: a safetensors file that holds the last good parameters at each moment.
        keep_every: steps between two copies of the good parameters.
        scaler: scales the loss of a model that computes in half precision, so that small gradients
            do not vanish; a step whose gradients overflow is left out.
        accelerator: an `accelerate.Accelerator`, for several processes or mixed precision.

    Yields:
        A `Record` after each step.

    Raises:
        TypeError: there is no loss, or a batch holds more than x and a context.
        ValueError: `lr`, `clip` or `keep_every` is not positive, there are no batches, or two
            options exclude each other.
        FloatingPointError: the loss or its gradient is not finite. The model and the checkpoint
            then hold the last good parameters.
    """
    validate.positive("lr", lr)
    validate.positive_count("keep_every", keep_every)
    if clip is not None:
        validate.positive("clip", clip)
    if players and any(o is not None for o in (loss, optimizer, schedule, accelerator)):
        raise ValueError(
            "players bring their own losses, optimizers and schedules, and train in one process; "
            "got another one beside them; put it into a Player, or leave players out"
        )
    if accelerator is not None and scaler is not None:
        raise ValueError(
            "an accelerator brings its own scaler; got another one; leave it out, and ask for "
            'Accelerator(mixed_precision="fp16")'
        )
    if not players:
        # One kernel for all parameters: a deep flow of small layers trains 1.4 times as fast.
        optimizer = optimizer or torch.optim.Adam(model.parameters(), lr, fused=True)
        players = [Player(loss or _loss_of(model, generator), optimizer, 1, schedule)]
    keep = None if checkpoint is None else Path(checkpoint)
    training = _Training(model, list(players), clip, average, scaler, accelerator)
    return training.run(batches, progress, keep, keep_every)


def _loss_of(model: nn.Module, generator: torch.Generator | None) -> Callable[[Any], Tensor]:
    """Return the loss of a batch: of x, or of x and a context."""
    loss = getattr(model, "loss", None)
    if not callable(loss):
        raise TypeError(
            f"model must have a method loss(batch); got {type(model).__name__} without one; "
            "write it, or pass loss=lambda batch: ..."
        )
    drawn = {} if generator is None else {"generator": generator}

    def of(batch: Any) -> Tensor:  # noqa: ANN401
        if type(batch) not in (tuple, list):
            return loss(batch, **drawn)  # pyright: ignore[reportReturnType]
        if len(batch) == 1:
            return loss(batch[0], **drawn)  # pyright: ignore[reportReturnType]
        if len(batch) == 2:
            return loss(batch[0], context=batch[1], **drawn)  # pyright: ignore[reportReturnType]
        raise TypeError(
            f"a batch must be x, or x and a context; got {len(batch)} parts; "
            "pass loss=lambda batch: ... to say what becomes of them"
        )

    return of


class _Training:
    """The state of one training: players, what they move, and what follows each step."""

    def __init__(
        self,
        model: nn.Module,
        players: list[Player],
        clip: float | None,
        average: AveragedModel | None,
        scaler: GradScaler | None,
        accelerator: "Accelerator | None",
    ) -> None:
        self.model, self.players, self.clip, self.average = model, players, clip, average
        self.accelerator = accelerator
        self.scaler = scaler if accelerator is None else accelerator.scaler
        self.losses = [float("nan")] * len(players)
        self.last = float("nan")

    def run(
        self, batches: Iterable[Any], progress: bool, checkpoint: Path | None, keep_every: int
    ) -> Generator[Record, None, None]:
        """Yield a record after each step."""
        accelerator = self.accelerator
        main = accelerator is None or accelerator.is_main_process
        if accelerator is not None:
            (player,) = self.players
            loss, optimizer = accelerator.prepare(_Loss(self.model, player.loss), player.optimizer)
            self.players = [Player(loss, optimizer, 1, player.schedule)]
        self.keep = _Keep(self.model, checkpoint if main else None)
        total = len(batches) if isinstance(batches, Sized) else None
        start, step = perf_counter(), 0
        with tqdm(total=total, disable=not (progress and main), leave=False, desc="fit") as bar:
            for step, batch in enumerate(batches, 1):
                part = batch if accelerator is None else _slice(accelerator, batch)
                norm = float("nan")
                # Parameters are known to be good only once a loss came out finite under them.
                due, moved = (step - 1) % keep_every == 0, False
                for k, player in enumerate(self.players):
                    if step % player.every == 0:
                        norm = self._turn(k, part, step, due)
                        due, moved = False, True
                if moved and self.scaler is not None and accelerator is None:
                    self.scaler.update()
                if self.average is not None and isfinite(norm):
                    self.average.update_parameters(self.model)
                bar.update()
                if step % 20 == 0:
                    bar.set_postfix_str(f"loss {self.last:.4g}", refresh=False)
                yield Record(step, self.last, norm, perf_counter() - start, tuple(self.losses))
        if step == 0:
            raise ValueError(
                "batches must hold at least one batch; got none; pass data to train on"
            )
        if all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            self.keep.save(step + 1)

    def _turn(self, k: int, batch: Any, step: int, keep: bool) -> float:  # noqa: ANN401
        """Move player k and return the norm of its gradient."""
        player, optimizer = self.players[k], self.players[k].optimizer
        try:
            value = player.loss(batch)
        except ValueError as error:
            # Exploded parameters often meet a check inside the model before they make a NaN.
            if step == 1:
                raise
            raise self._diverged(step, f"the loss failed, {error}") from error
        if value.shape != ():
            raise ValueError(
                f"loss must be one number, shape (); got {tuple(value.shape)}; end in .mean()"
            )
        optimizer.zero_grad(set_to_none=True)
        shown, norm = self._gradient(value, optimizer)
        # A gradient that overflows under its scale is left out, and the scale is lowered.
        skipped = self.scaler is not None and isfinite(shown) and not isfinite(norm)
        if skipped and self.scaler is not None:
            skipped = self.scaler.get_scale() >= 1.0
        if not (isfinite(shown) and (isfinite(norm) or skipped)):
            raise self._diverged(step, f"loss {shown}, gradient norm {norm}")
        if keep:
            self.keep.save(step)
        schedule = player.schedule
        if schedule is not None and not isinstance(schedule, LRScheduler):
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        if self.scaler is not None and self.accelerator is None:
            self.scaler.step(optimizer)
        else:
            optimizer.step()
        if isinstance(schedule, LRScheduler) and not skipped:
            schedule.step()
        self.last = self.losses[k] = shown
        return norm

    def _gradient(self, value: Tensor, optimizer: Optimizer) -> tuple[float, float]:
        """Differentiate, and return the loss and the norm of the gradient, which is clipped."""
        shown = value.detach()
        if self.accelerator is not None:
            self.accelerator.backward(value)
            reduced = self.accelerator.reduce(shown, "mean")
            assert isinstance(reduced, Tensor)
            shown = reduced
        elif self.scaler is not None:
            self.scaler.scale(value).backward()
        else:
            value.backward()
        if self.scaler is not None:
            inner = optimizer if self.accelerator is None else optimizer.optimizer  # pyright: ignore
            self.scaler.unscale_(inner)
        moved = [p for group in optimizer.param_groups for p in group["params"]]
        total = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(moved, self.clip, total)
        # One look at the device for both numbers.
        loss, norm = torch.stack([shown, total.to(shown.device)]).tolist()
        return loss, norm

    def _diverged(self, step: int, what: str) -> FloatingPointError:
        """Put the last good parameters back and say where the training went wrong."""
        kept = self.keep.restore()
        return FloatingPointError(
            f"training diverged at step {step}: {what} (the loss before was {self.last}); the "
            f"model holds the parameters before step {kept}; lower lr, pass clip=1.0, or check the "
            "data for extreme values"
        )


class _Keep:
    """Holds the last good parameters, in memory and, if asked, in a file."""

    def __init__(self, model: nn.Module, path: Path | None) -> None:
        self.model, self.path, self.step = model, path, 1
        self.state = _copied(model)

    def save(self, step: int) -> None:
        self.step = step
        for name, value in self.model.state_dict().items():
            self.state[name].copy_(value)
        if self.path is not None:
            save_checkpoint(self.model, self.path)

    def restore(self) -> int:
        self.model.load_state_dict(self.state)
        return self.step


def _copied(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of parameters and buffers; tied ones are copied under each of their names."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def _slice(accelerator: "Accelerator", batch: Any) -> Any:  # noqa: ANN401
    """Give each process its equal share of a batch that all of them hold."""
    if type(batch) in (tuple, list):
        return type(batch)(_slice(accelerator, part) for part in batch)
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
