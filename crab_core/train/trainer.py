"""transformers' Trainer for one stage: batches made by a function of the step, checkpoints that resume, progress told.

A batch is a pure function of (seed, item numbers), and items are visited in order, so that a run that was killed and
resumed sees exactly the batches of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from crab_core.progress import Listener, Progress
from crab_core.train.optimizer import make_optimizer
from crab_core.train.settings import Stage

WEIGHTS = "stage.safetensors"
MakeBatch = Callable[[list[int]], Mapping[str, Any]]


class Numbers(Dataset[int]):
    """The numbers 0 .. length-1: what an item holds is decided by the function that makes the batch."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


class Telling(TrainerCallback):
    """Passes loss and extras on to a listener, and keeps the curve."""

    def __init__(self, stage: str, on_progress: Listener) -> None:
        self.stage, self.on_progress = stage, on_progress

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """One line for each report of the Trainer."""
        if logs and "loss" in logs:
            shown = {key: value for key, value in logs.items() if key not in ("epoch", "grad_norm")}
            detail = " ".join(f"{key} {float(value):.4g}" for key, value in shown.items())
            self.on_progress(Progress(self.stage, state.global_step, state.max_steps, "steps", detail))


class Until(TrainerCallback):
    """Ends a stage after `steps`, wherever its schedule is."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Asks the Trainer to stop, and to save, so that a resumed run knows."""
        if state.global_step >= self.steps:
            control.should_training_stop = control.should_save = True


class StageTrainer(Trainer):
    """A Trainer that visits items in order, logs a stage's extras and saves tied weights once."""

    extras: dict[str, list[float]]

    def compute_loss(self, model: nn.Module, inputs: Mapping[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """The stage's own loss; its other values are averaged into the next report."""
        told = model(**inputs)
        extras = self.__dict__.setdefault("extras", {})
        for name, value in told.items():
            if name != "loss":
                extras.setdefault(name, []).append(float(value))
        return (told["loss"], told) if return_outputs else told["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the averages of the extras since the last report."""
        extras = self.__dict__.setdefault("extras", {})
        if "loss" in logs:
            logs.update({name: sum(values) / len(values) for name, values in extras.items() if values})
            extras.clear()
        super().log(logs, *args, **kwargs)

    # The three below are the Trainer's own extension points; their names begin with an underscore there.
    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, torch.Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.model.named_parameters()}
        tensors |= {name: tensor.detach().contiguous() for name, tensor in self.model.named_buffers()}
        save_file(tensors, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.load_weights(Path(resume_from_checkpoint))

    def load_weights(self, checkpoint: Path) -> None:
        """Takes the weights of a checkpoint over, strictly."""
        tensors = load_file(checkpoint / WEIGHTS)
        named = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        with torch.no_grad():
            for name, tensor in named.items():
                tensor.copy_(tensors[name])


def train_stage(
    module: nn.Module,
    stage: Stage,
    make_batch: MakeBatch,
    folder: Path,
    *,
    seed: int,
    resume: bool,
    on_progress: Listener,
) -> list[dict[str, float]]:
    """Trains `module` in place as the stage says and gives the curve; checkpoints lie in `folder`."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch,
        learning_rate=stage.rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(stage.warmup, max(1, stage.steps // 5)),
        max_grad_norm=1.0,
        logging_steps=max(1, min(50, stage.steps // 5)),
        save_steps=stage.save_every,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        dataloader_pin_memory=False,
    )
    trainer = StageTrainer(
        model=module,
        args=arguments,
        optimizers=(
            make_optimizer(module, stage.optimizer, stage.rate, stage.matrix_rate, stage.weight_decay),
            None,
        ),
        train_dataset=Numbers(stage.steps * stage.batch),
        data_collator=make_batch,
        callbacks=[Telling(stage.name, on_progress)],
    )
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(folder)) if resume and folder.is_dir() else None
    end = stage.until or stage.steps
    trainer.add_callback(Until(end))
    if last is not None and int(last.rpartition("-")[2]) >= end:
        trainer.load_weights(Path(last))  # killed between the last step and the model folder
    else:
        trainer.train(resume_from_checkpoint=last)
    return [entry for entry in trainer.state.log_history if "loss" in entry]
