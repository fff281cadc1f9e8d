"""Training as a generator: a loop can show a bar, drive a picture, or stop."""

from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from gentoolkit.checkpoints import LastGood
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
    engine = _Engine(scaler) if accelerator is None else _Accelerated(accelerator)
    training = _Training(model, list(players), engine, clip, average)
    return training.run(batches, progress, checkpoint, keep_every)


def _loss_of(model: nn.Module, generator: torch.Generator | None) -> Callable[[Any], Tensor]:
    """Return the loss of a batch: of x, or of x and a context."""
    loss = getattr(model, "loss", None)
    if not callable(loss):
        raise TypeError(
            f"model must have a method loss(batch); got {type(model).__name__} without one; "
            "write it, or pass loss=lambda batch: ..."
        )
    drawn = {} if generator is None else {"generator": generator}

    def of(batch: Any) -> Any:  # noqa: ANN401 - a batch is what the model says
        # Plain tuples and lists alone: a NamedTuple is one x of several tensors.
        x, *rest = batch if type(batch) in (tuple, list) else [batch]
        if len(rest) > 1:
            raise TypeError(
                f"a batch must be x, or x and a context; got {len(batch)} parts; "
                "pass loss=lambda batch: ... to say what becomes of them"
            )
        return loss(x, context=rest[0], **drawn) if rest else loss(x, **drawn)

    return of


@dataclass
class _Training:
    """One training: players that take turns, and the last good parameters to fall back on."""

    model: nn.Module
    players: list[Player]
    engine: "_Engine"
    clip: float | None
    average: AveragedModel | None
    loss: float = nan

    def run(
        self,
        batches: Iterable[Any],
        progress: bool,
        checkpoint: str | Path | None,
        keep_every: int,
    ) -> Generator[Record, None, None]:
        """Yield a record after each step."""
        players = [self.engine.prepare(self.model, player) for player in self.players]
        self.good = LastGood(self.model, checkpoint if self.engine.main else None)
        losses, start, step = [nan] * len(players), perf_counter(), 0
        total = len(batches) if isinstance(batches, Sized) else None
        shown = progress and self.engine.main
        with tqdm(total=total, disable=not shown, leave=False, desc="fit") as bar:
            for step, batch in enumerate(batches, 1):
                part, norm = self.engine.share(batch), nan
                # Parameters are known to be good only once a loss came out finite under them.
                keep, moved = (step - 1) % keep_every == 0, False
                for k, player in enumerate(players):
                    if step % player.every == 0:
                        norm = self._turn(player, part, step, keep)
                        losses[k], keep, moved = self.loss, False, True
                if moved:
                    self.engine.update()
                if self.average is not None and isfinite(norm):
                    self.average.update_parameters(self.model)
                bar.update()
                if step % 20 == 0:
                    bar.set_postfix_str(f"loss {self.loss:.4g}", refresh=False)
                yield Record(step, self.loss, norm, perf_counter() - start, tuple(losses))
        if step == 0:
            raise ValueError(
                "batches must hold at least one batch; got none; pass data to train on"
            )
        if all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            self.good.save(step + 1)

    def _turn(self, player: Player, batch: Any, step: int, keep: bool) -> float:  # noqa: ANN401
        """Move one player, and return the norm of its gradient before clipping."""
        optimizer, schedule = player.optimizer, player.schedule
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
        shown = self.engine.backward(value, optimizer)
        moved = [p for group in optimizer.param_groups for p in group["params"]]
        total = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(moved, self.clip, total)
        # One look at the device for both numbers.
        loss, norm = torch.stack([shown, total.to(shown.device)]).tolist()
        # A gradient that overflows under its scale is left out, and the scale is lowered.
        skipped = isfinite(loss) and not isfinite(norm) and self.engine.may_skip()
        if not (isfinite(loss) and (isfinite(norm) or skipped)):
            raise self._diverged(step, f"loss {loss}, gradient norm {norm}")
        if keep:
            self.good.save(step)
        if schedule is not None and not isinstance(schedule, LRScheduler):
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        self.engine.step(optimizer)
        if isinstance(schedule, LRScheduler) and not skipped:
            schedule.step()
        self.loss = loss
        return norm

    def _diverged(self, step: int, what: str) -> FloatingPointError:
        """Put the last good parameters back and say where the training went wrong."""
        return FloatingPointError(
            f"training diverged at step {step}: {what} (the loss before was {self.loss}); the "
            f"model holds the parameters before step {self.good.restore()}; lower lr, pass "
            "clip=1.0, or check the data for extreme values"
        )


class _Engine:
    """How gradients are computed and steps taken: in one process, by a scaler that may be idle."""

    main = True

    def __init__(self, scaler: GradScaler | None) -> None:
        self.scaler = GradScaler(enabled=False) if scaler is None else scaler

    def prepare(self, model: nn.Module, player: Player) -> Player:
        return player

    def share(self, batch: Any) -> Any:  # noqa: ANN401
        return batch

    def backward(self, loss: Tensor, optimizer: Optimizer) -> Tensor:
        """Leave the true gradients in the parameters, and return the loss to show."""
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        return loss.detach()

    def may_skip(self) -> bool:
        """Whether a lower scale may repair a gradient that overflows."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1.0

    def step(self, optimizer: Optimizer) -> None:
        self.scaler.step(optimizer)

    def update(self) -> None:
        self.scaler.update()


class _Accelerated(_Engine):
    """Several processes, each with its share of a batch; steps are scaled by the accelerator."""

    def __init__(self, accelerator: "Accelerator") -> None:
        super().__init__(accelerator.scaler)
        self.accelerator, self.main = accelerator, accelerator.is_main_process

    def prepare(self, model: nn.Module, player: Player) -> Player:
        wrapped = _Loss(model, player.loss)
        loss, optimizer = self.accelerator.prepare(wrapped, player.optimizer)
        return replace(player, loss=loss, optimizer=optimizer)

    def share(self, batch: Any) -> Any:  # noqa: ANN401
        """Give each process its equal share of a batch that all of them hold."""
        if type(batch) in (tuple, list):
            return type(batch)(self.share(part) for part in batch)
        if isinstance(batch, tuple):
            raise TypeError(
                f"processes share the rows of tensors; got a {type(batch).__name__}, whose parts "
                "may have their rows elsewhere; train it in one process, or pass a plain tuple"
            )
        rows, processes = len(batch), self.accelerator.num_processes
        if rows % processes:
            raise ValueError(
                f"a batch must divide evenly among processes; got {rows} rows for {processes}; "
                f"use a batch size that is a multiple of {processes}"
            )
        with self.accelerator.split_between_processes(batch) as part:
            return part.to(self.accelerator.device) if isinstance(part, Tensor) else part

    def backward(self, loss: Tensor, optimizer: Optimizer) -> Tensor:
        self.accelerator.backward(loss)
        self.scaler.unscale_(optimizer.optimizer)  # pyright: ignore[reportAttributeAccessIssue]
        reduced = self.accelerator.reduce(loss.detach(), "mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def step(self, optimizer: Optimizer) -> None:
        optimizer.step()

    def update(self) -> None:
        """Nothing is left to do: the accelerator's optimizers update the scale."""


class _Loss(nn.Module):
    """Puts the loss behind `forward`, where data-parallel wrappers look for it."""

    def __init__(self, model: nn.Module, loss: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:  # noqa: ANN401
        return self.loss(batch)
