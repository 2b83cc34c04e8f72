"""Which model is asked and how it computes and writes, as the options say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crab_core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from crab_cli.output import Output
    from crab_core.batch.worker import WorkerSpec
    from crab_core.engine.session import Model
    from crab_core.progress import Listener
    from crab_core.types import Request, Result


@dataclass(frozen=True, slots=True)
class Asked:
    """Which model is asked and how it computes and writes, as the options say."""

    model: str
    device: str
    dtype: str
    quantize: str
    max_new_tokens: int | None
    temperature: float
    top_p: float
    seed: int
    max_memory: str | None = None
    masks: str = "auto"
    sam2: Path | None = None
    draws: bool = False
    compiled: bool = False

    def folder(self) -> Path:
        """The model's folder; raises UsageError for a bad device, dtype or quantisation, ModelError for no model."""
        from crab_core.engine.device import check_names
        from crab_core.engine.memory import parse_bytes
        from crab_core.engine.resolve import folder_of

        check_names(self.device, self.dtype, self.quantize)
        if self.max_memory is not None:
            parse_bytes(self.max_memory)
        return folder_of(self.model)

    def load(self, listen: Listener) -> Model:
        """The model, ready to be asked; raises what `engine.session.load` raises."""
        return self.spec().load(listen)

    def spec(self, batch: int = 0, decoders: int = 2) -> WorkerSpec:
        """What a worker for many clips needs; raises what `folder` raises."""
        from crab_core.batch.worker import WorkerSpec

        return WorkerSpec(
            model=self.folder(),
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            batch=batch,
            decoders=decoders,
            max_memory=self.max_memory,
            masks=self.masks,
            sam2=self.sam2,
            draws=self.draws,
            compiled=self.compiled,
        )


def answered(model: Model, output: Output, answer: Callable[[], Result]) -> Result:
    """The result, with what it cost if that was asked for."""
    if not output.stats:
        return answer()
    from crab_core.engine.measuring import measured

    with measured(model) as stats:
        result = answer()
    return replace(result, stats=stats.to_dict())


def check_drawn(asked: Asked, request: Request) -> None:
    """Refuse masks that nobody can draw, before anything is loaded.

    Raises ModelError for a model that has not learnt the task, or tells no boxes for SAM 2, or if SAM 2 is not there;
    UsageError for options that do not go together.
    """
    from crab_core.engine.checks import untrained
    from crab_core.engine.drawing import check_masks, check_source, sam2_folder
    from crab_core.registry import TASKS
    from crab_core.weights.folder import read_header

    folder = asked.folder()
    header = read_header(folder)
    if check_masks(header, TASKS[request.task].load(), check_source(asked.masks, asked.sam2)):
        sam2_folder(asked.sam2, header, folder, is_needed=True)
        return
    if request.track_s is not None:
        raise UsageError(f"--track {request.track_s:g} is for masks by SAM 2", hint="Add --masks sam2")
    if header.tasks and request.task not in header.tasks:
        raise ModelError(
            untrained(header, request.task), hint="Choose one that was: --model NAME, see crab models list"
        )
