"""Which model is asked and how it computes and writes, as the options say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from crab_cli.output import Output
    from crab_core.batch.worker import WorkerSpec
    from crab_core.engine.session import Model
    from crab_core.progress import Listener
    from crab_core.types import Result


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
        )


def answered(model: Model, output: Output, answer: Callable[[], Result]) -> Result:
    """The result, with what it cost if that was asked for."""
    if not output.stats:
        return answer()
    from crab_core.engine.measuring import measured

    with measured(model) as stats:
        result = answer()
    return replace(result, stats=stats.to_dict())
