"""The nouns that every room shares: clips, prompts, answers, events, boxes, masks and results.

Frozen dataclasses without torch. Times are seconds of the clip, positions are pixels of the original frame with its
rotation applied. A value is checked where it is born.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

AudioState = Literal["used", "absent", "silent", "replaced"]
Track = Literal["audio", "visual", "both"]
Medium = Literal["video", "image", "audio", "text"]

SCHEMA = "crab.result/1"
SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Clip:
    """What a plan took from one file: frames, sound and when they are.

    `frames` is (N, H, W, 3) uint8 RGB with rotation applied, `frame_times_s` (N,) the time at which each frame was
    asked for, `waveform` (S,) float32 mono at 16 kHz: the windows of `sound_windows_s` laid end to end, each padded
    with zeros where the sound track has none. A clip without pictures has N = 0; one without sound has S = 0.
    """

    path: Path
    duration_s: float
    frame_times_s: npt.NDArray[np.float64]
    frames: npt.NDArray[np.uint8]
    waveform: npt.NDArray[np.float32]
    sound_windows_s: tuple[tuple[float, float], ...]
    size: tuple[int, int]
    audio: AudioState
    audio_path: Path | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.duration_s < 0:
            raise ValueError(f"a clip cannot last {self.duration_s} s")
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            raise ValueError(f"frames must be (N, H, W, 3), got {self.frames.shape}")
        if len(self.frame_times_s) != len(self.frames):
            raise ValueError(f"{len(self.frames)} frames but {len(self.frame_times_s)} frame times")

    @property
    def has_frames(self) -> bool:
        """True if at least one picture was decoded."""
        return len(self.frames) > 0

    @property
    def has_sound(self) -> bool:
        """True if there is a sound track, silent or not."""
        return self.audio != "absent"


@dataclass(frozen=True, slots=True)
class View:
    """What a network wants to see and hear of a clip: frame times and sound windows, in true seconds.

    `second_s` is how many true seconds one of the model's own seconds stands for: 1.0 for a clip of the trained
    length or shorter, more for a longer clip that is sampled.
    """

    frame_times_s: tuple[float, ...]
    sound_windows_s: tuple[tuple[float, float], ...]
    second_s: float = 1.0

    def __post_init__(self) -> None:
        if self.second_s <= 0:
            raise ValueError(f"a model second must be longer than 0 s, got {self.second_s}")
        if any(end <= start for start, end in self.sound_windows_s):
            raise ValueError(f"sound windows need start < end, got {self.sound_windows_s}")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a prompt: a text, or the place of a medium."""

    kind: Medium
    text: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said to the model, in order, before the chat template is put around it."""

    parts: tuple[Part, ...]

    @property
    def media(self) -> tuple[Medium, ...]:
        """The media that are asked for, in order."""
        return tuple(part.kind for part in self.parts if part.kind != "text")


@dataclass(frozen=True, slots=True)
class Canvas:
    """The frame of reference in which a model's numbers are read.

    `seconds` is the number of seconds that the model saw, `second_s` how long one of them is in truth, `model_size`
    (width, height) of the picture that the model saw, `size` that of the original frame.
    """

    duration_s: float
    seconds: int = 10
    second_s: float = 1.0
    size: tuple[int, int] = (224, 224)
    model_size: tuple[int, int] = (224, 224)


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer and the reasoning that led to it (empty if the model gave none)."""

    text: str
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is heard, seen or both between two times of the clip, in seconds."""

    label: str
    start_s: float
    end_s: float
    track: Track = "both"

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"an event needs 0 <= start < end, got {self.start_s} to {self.end_s} s")


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle in pixels of the original frame."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float
    time_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError(f"a box needs x0 < x1 and y0 < y1, got {self.x0, self.y0, self.x1, self.y1}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a task's reader found in the model's text; `problems` says what could not be read and why."""

    answer: Answer | None = None
    events: tuple[Event, ...] = ()
    boxes: tuple[Box, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the next token is chosen; temperature 0 is greedy."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a number from 0 on, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to do: a clip, a task by name and, for tasks that need one, a question.

    `audio_path` replaces the clip's sound. `reasoning` asks for the reasons before a short answer.
    """

    clip: Path
    task: str = "avqa"
    question: str | None = None
    audio_path: Path | None = None
    id: str | None = None
    require_audio: bool = False
    reasoning: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What a model said of one clip, with everything needed to trust or doubt it."""

    id: str
    model: str
    task: str
    question: str | None
    answer: Answer | None
    events: tuple[Event, ...]
    boxes: tuple[Box, ...]
    raw_text: str
    audio: AudioState
    duration_s: float
    seconds: float
    timings_s: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seed: int = 0
    schema: str = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, keys in reading order."""
        from dataclasses import asdict

        document = asdict(self)
        document["timings_s"] = {stage: round(spent, 4) for stage, spent in self.timings_s.items()}
        document["seconds"] = round(self.seconds, 4)
        return {"schema": document.pop("schema"), **document}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Result:
        """The result that `to_dict` wrote; raises ValueError for another schema or an unknown key."""
        values = dict(document)
        if values.get("schema") != SCHEMA:
            raise ValueError(f"schema {values.get('schema')!r} is not {SCHEMA!r}")
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"unknown keys {unknown} in a result")
        values["answer"] = Answer(**values["answer"]) if values["answer"] else None
        values["events"] = tuple(Event(**event) for event in values["events"])
        values["boxes"] = tuple(Box(**box) for box in values["boxes"])
        values["notes"] = tuple(values.get("notes", ()))
        return cls(**values)

    def with_notes(self, notes: Sequence[str]) -> Result:
        """The same result with more notes at the end."""
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one request of a batch has no result."""

    request: Request
    stage: str
    error_type: str
    message: str
