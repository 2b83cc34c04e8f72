"""What learns in a run from files, by family: the module that gives a step's loss, and what writes its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from crab_core.errors import UsageError
from crab_core.nn.plus import PlusModel
from crab_core.train.file_rows import RowWriter
from crab_core.train.file_stage import FileStage
from crab_core.train.lesson_index import LessonIndex
from crab_core.train.lessons import SEMANTIC_TASKS, TAUGHT
from crab_core.train.looking import Looked
from crab_core.train.network import ENCODERS
from crab_core.train.plus_stage import PlusStage, PlusWriter

if TYPE_CHECKING:
    from crab_core.train.settings import Stage
    from crab_core.train.start import Start
    from crab_core.weights.folder import Header


class Writer(Protocol):
    """Writes lessons as rows."""

    def piece(self, looked: Sequence[Looked], tables: str) -> Any:
        """The lessons as one batch, with its `tokens` and `masks`, read and written by the tables of a capability.

        Raises UsageError for a text that is too long.
        """


@dataclass(frozen=True)
class Learner:
    """The module of a stage and its writer; `keeps_encodings` if its encoders stay as they are."""

    module: FileStage | PlusStage
    writer: Writer
    keeps_encodings: bool


def learner_of(start: Start, stage: Stage, dtype: torch.dtype) -> Learner:
    """How the network of a start learns; the stage has been made to learn before."""
    model, chat = start.model, start.network.chat
    if isinstance(model, PlusModel):
        places = int(model.text.config.max_position_embeddings)
        writer = PlusWriter(chat, stage.answer_weight, places)
        return Learner(PlusStage(model, chat, chat.pad_id, dtype), writer, keeps_encodings=False)
    config = model.config
    rows = RowWriter(
        chat,
        {"video": config.vl.queries, "image": config.vl.queries, "audio": config.al.queries},
        stage.answer_weight,
        int(model.llm.config.max_position_embeddings),
        draws="masks" in stage.train,
        classes=config.mask.decoder.classes if config.mask is not None else 0,
    )
    module = FileStage(model, stage.train, stage.answer_weight, stage.mask_weight, dtype)
    return Learner(module, rows, keeps_encodings=not set(ENCODERS) & set(stage.train))


def scale_of(header: Header) -> tuple[int, int]:
    """The seconds that a model looks at, and in how many parts of a side it tells boxes.

    Raises ValueError for a bad header.
    """
    if header.family == "crab-plus":
        from crab_core.nn.plus_config import PlusConfig

        media = PlusConfig.from_dict(header.config).media
        return media.frames, media.frame_px
    from crab_core.nn.crab_config import CrabConfig

    of_crab = CrabConfig.from_dict(header.config).media
    return of_crab.seconds, of_crab.box_px


def taught_by(header: Header) -> tuple[str, ...]:
    """The tasks that a model can learn if none is named: maps of classes only with a decoder for them."""
    known = dict(header.config.get("mask") or {}).get("capabilities", ())
    return tuple(task for task in TAUGHT if task not in SEMANTIC_TASKS or "avss" in known)


def check_lessons(header: Header, lessons: LessonIndex) -> None:
    """Raises UsageError for lessons that the model has no decoder or no words for."""
    semantic = next((task for task in lessons.counts if task in SEMANTIC_TASKS), None)
    if semantic is not None and semantic not in taught_by(header):
        raise UsageError(
            f"model '{header.name}' has no decoder for maps of classes, which '{semantic}' needs",
            hint="Import it with --avss FILE, or leave the task out of the stage's tasks.",
        )
    if header.family == "crab-plus" and lessons.mute is not None:
        raise UsageError(
            f"model '{header.name}' tells a mask by a box and points: "
            f"'{lessons.mute[0]}' has no text for '{lessons.mute[1]}'",
            hint="Give it in 'targets', or leave the task out of the stage's tasks.",
        )
