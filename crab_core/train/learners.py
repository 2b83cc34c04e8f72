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
from crab_core.train.lessons import MASK_TASKS, Lesson
from crab_core.train.looking import Looked
from crab_core.train.plus_stage import PlusStage, PlusWriter

if TYPE_CHECKING:
    from crab_core.train.settings import Stage
    from crab_core.train.start import Start
    from crab_core.weights.folder import Header

ENCODERS = ("visual_encoder", "audio_encoder")


class Writer(Protocol):
    """Writes lessons as rows."""

    def piece(self, looked: Sequence[Looked], of_masks: bool) -> Any:
        """The lessons as one batch, with its `tokens` and `masks`; raises UsageError for a text that is too long."""


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


def check_lessons(header: Header, lessons: Sequence[Lesson]) -> None:
    """Raises UsageError for masks without words, where a model tells a mask by words alone."""
    if header.family != "crab-plus":
        return
    mute = next((one for one in lessons if one.task in MASK_TASKS and not all(text.target for text in one.texts)), None)
    if mute is not None:
        raise UsageError(
            f"model '{header.name}' tells a mask by a box and points: '{mute.ids[0]}' has no text for '{mute.task}'",
            hint="Give it in 'targets', or leave the task out of the stage's tasks.",
        )
