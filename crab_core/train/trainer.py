"""The loop of one stage: batches made by a function of the step, one step of the optimizer each, checkpoints.

Everything that a step does is a function of the seed, the step and the weights (dropout is seeded anew at every step),
so that a run that was killed and resumed ends with the very weights of an uninterrupted one. A loop of our own and not
transformers' Trainer, whose checkpoints are no model folders and are not written in one step (docs/design.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# transformers' Trainer imports peft, and peft imports bitsandbytes with its warnings unless this door was opened first
import crab_core.nn.ilora  # noqa: F401

# isort: split
import torch
from torch import nn

from crab_core.errors import Diverged, UsageError
from crab_core.progress import Listener
from crab_core.train.checkpoints import Checkpoints, State
from crab_core.train.optimizer import make_optimizer
from crab_core.train.processes import Group
from crab_core.train.reports import Reports, Tracker
from crab_core.train.settings import Stage

Batch = Mapping[str, Any]
WriteModel = Callable[[Path, Sequence[Mapping[str, float]], Mapping[str, torch.Tensor]], None]
LARGEST_NORM = 1.0
SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Work:
    """What a stage learns from.

    `pieces(step)` are the batches of this process; `module(**batch)` gives a piece's part of the step's `loss` and of
    further values to report, which are summed over pieces and processes. `ids(step)` names what is in all of them.
    `names()` are the values of the step whose pieces were asked for last, where several processes must agree on them.
    `begin()` readies the module before the stage's first step, not where a checkpoint is gone on from.
    """

    module: nn.Module
    pieces: Callable[[int], Sequence[Batch]]
    ids: Callable[[int], Sequence[str]]
    names: Callable[[], Sequence[str]] | None = None
    begin: Callable[[], None] | None = None


@dataclass
class StageLoop:
    """Trains one stage in place; `offset` is how many steps the stages before it had.

    `write_model(folder, curve, weights)` writes the model as it is, `weights` being what learns, whole, by its name in
    the module. `scaled` keeps gradients of fp16 from vanishing; `sharded` if processes hold parts of weights.
    """

    work: Work
    stage: Stage
    checkpoints: Checkpoints
    write_model: WriteModel
    offset: int
    seed: int
    on_progress: Listener
    group: Group = field(default_factory=Group)
    scaled: bool = False
    sharded: bool = False
    trackers: Sequence[Tracker] = ()
    reports: Reports = field(init=False)

    def __post_init__(self) -> None:
        stage = self.stage
        self.end = stage.until or stage.steps
        self.reports = Reports(
            stage.name, self.end, max(1, min(50, stage.steps // 5)), self.on_progress, self.trackers, self.offset
        )
        self.optimizer = make_optimizer(
            self.work.module, stage.optimizer, stage.rate, stage.matrix_rate, stage.weight_decay
        )
        self.learning = [one for one in self.work.module.parameters() if one.requires_grad]
        self.scaler = torch.amp.GradScaler(self.learning[0].device.type, enabled=self.scaled)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def run(self, *, resume: bool) -> list[dict[str, float]]:
        """Goes from the last checkpoint, if there is one, to the stage's last step; gives the curve.

        Raises Diverged for a loss that is no number, ResourceError if a checkpoint cannot be written, UsageError if
        the checkpoint is of other weights.
        """
        done = self._restore(self.checkpoints.last(self.offset, self.offset + self.end)) if resume else 0
        if not done and self.work.begin is not None:
            self.work.begin()
        self.work.module.train()
        for step in range(done, self.end):
            self.step(step)
            self.reports.step(step + 1)
            if (step + 1) % self.stage.save_every == 0 or step + 1 == self.end:
                self._save(step + 1)
        return self.reports.curve

    def step(self, step: int) -> None:
        """One step by its number within the stage: gradients, the optimizer's step, values for the reports."""
        torch.manual_seed((self.seed * SEED_STRIDE + self.offset + step) * self.group.size + self.group.rank)
        factor = rate_factor(step, self.stage.steps, min(self.stage.warmup, max(1, self.stage.steps // 5)))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad()
        values = self._backward(step)
        self._check(step, values["loss"])
        self.group.sum_gradients(self.learning, shared=self.sharded)
        if not any(one.grad is not None for one in self.learning):
            return  # nothing of the step could be used
        self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.reports.add(values)
        self.reports.set(grad_norm=norm, learning_rate=self.optimizer.param_groups[0]["lr"])

    def _clip(self) -> float:
        if self.sharded:
            from crab_core.train.sharding import clip_gradients

            return clip_gradients(self.learning, LARGEST_NORM, self.group)
        return float(nn.utils.clip_grad_norm_(self.learning, LARGEST_NORM))

    def _backward(self, step: int) -> dict[str, float]:
        """The gradients of a step, and its values summed over pieces and processes."""
        values: dict[str, float] = {}
        for batch in self.work.pieces(step):
            told = self.work.module(**batch)
            self.scaler.scale(told["loss"]).backward()
            for name, value in told.items():
                values[name] = values.get(name, 0.0) + float(value.detach())
        names = self.work.names() if self.work.names is not None else tuple(values)
        sums = self.group.sums([values.get(name, 0.0) for name in names])
        return {"loss": 0.0, **dict(zip(names, sums, strict=True))}

    def _check(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            ids = self.work.ids(step)
            some = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
            raise Diverged(
                f"the loss is {loss} at step {step + 1} of stage '{self.stage.name}', in the batch of {some}",
                hint=f"Lower the rate, or look at these samples. {self.checkpoints.last_told()}",
            )

    def weights(self) -> dict[str, torch.Tensor]:
        """What learns, and buffers, whole and on the CPU; every process must ask for it."""
        if self.sharded:
            from crab_core.train.sharding import whole

            return {name: whole(tensor) for name, tensor in _kept(self.work.module)}
        return {name: tensor.detach().cpu() for name, tensor in _kept(self.work.module)}

    def _save(self, done: int) -> None:
        weights, optimizer = self.weights(), self.optimizer.state_dict()
        if self.sharded:
            from crab_core.train.sharding import whole_state

            optimizer = whole_state(optimizer)
        if self.group.is_first:
            self._write(done, {"weights": weights, "optimizer": optimizer})
        self.group.wait()

    def _write(self, done: int, learnt: State) -> None:
        state = {**learnt, "reports": self.reports.state(), "scaler": self.scaler.state_dict()}

        def write(folder: Path) -> None:
            self.write_model(folder, self.reports.curve, learnt["weights"])

        self.checkpoints.save(self.offset + done, write, state)

    def _restore(self, state: State | None) -> int:
        """Takes a checkpoint over; gives the steps that are done."""
        if state is None:
            return 0
        own = dict(_kept(self.work.module))
        if own.keys() != state["weights"].keys():
            raise UsageError(
                f"the checkpoint '{self.checkpoints.folder(state['step'])}' is of other weights than the run's",
                hint="Start again in another folder: --out DIR",
            )
        self._take(own, state)
        self.scaler.load_state_dict(state["scaler"])
        self.reports.take(state["reports"])
        return int(state["step"]) - self.offset

    def _take(self, own: Mapping[str, torch.Tensor], state: State) -> None:
        optimizer = state["optimizer"]
        if self.sharded:
            from crab_core.train.sharding import parted_state, take

            for name, tensor in own.items():
                take(tensor, state["weights"][name])
            optimizer = parted_state(optimizer, self.optimizer.param_groups)
        else:
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(state["weights"][name])
        self.optimizer.load_state_dict(optimizer)


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """What the highest rate is multiplied by: a rise along a line, then half a cosine down to 0."""
    if step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, steps - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def _kept(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What a checkpoint keeps exactly: parameters that learn, and buffers."""
    yield from ((name, one) for name, one in module.named_parameters() if one.requires_grad)
    yield from module.named_buffers()
