"""The nouns that every room shares: clips, prompts, answers, events, boxes, points, masks, results.

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

    def holds(self, x: float, y: float) -> bool:
        """True for a place inside or on the border."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


@dataclass(frozen=True, slots=True)
class Point:
    """A place that belongs to something, in pixels of the original frame."""

    label: str
    x: float
    y: float
    time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Mask:
    """The pixels of the original frame that belong to something at a time; none of them if nothing does.

    `size` is (width, height) of the frame, `counts` COCO's compressed run lengths of the pixels, column by column, so
    that a mask takes little memory however large the frame. `score` is the mean probability inside, 0 of an empty mask.
    `class_index` is the place of a semantic class in its palette, None for other masks. `heat` holds how likely each
    place of a coarse grid is inside, as `56x56:` and base64 of compressed bytes (255 is certain); empty if unknown.
    """

    label: str
    time_s: float
    size: tuple[int, int]
    counts: str
    score: float = 0.0
    class_index: int | None = None
    heat: str = ""

    def __post_init__(self) -> None:
        width, height = self.size
        if min(width, height) < 1 or sum(_runs(self.counts)) != width * height:
            raise ValueError(f"the run lengths '{self.counts[:20]}' are no mask of {width} x {height} pixels")

    @classmethod
    def of(
        cls,
        label: str,
        time_s: float,
        pixels: npt.NDArray[np.bool_],
        score: float = 0.0,
        class_index: int | None = None,
    ) -> Mask:
        """The mask of pixels (H, W) that are true inside."""
        import numpy as np
        from pycocotools import mask as coco

        counts = coco.encode(np.asfortranarray(pixels, dtype=np.uint8))["counts"].decode("ascii")
        return cls(label, time_s, (pixels.shape[1], pixels.shape[0]), counts, score, class_index)

    @property
    def likelihood(self) -> npt.NDArray[np.uint8] | None:
        """(h, w) of the coarse grid, 0 to 255; None if it is not known. Raises ValueError for a torn one."""
        return _heat_grid(self.heat) if self.heat else None

    @property
    def pixels(self) -> npt.NDArray[np.bool_]:
        """(H, W), true inside."""
        from pycocotools import mask as coco

        inside: npt.NDArray[np.bool_] = coco.decode(self.to_rle()).astype(bool)
        return inside

    @property
    def area_px(self) -> int:
        """How many pixels are inside."""
        return sum(_runs(self.counts)[1::2])

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The smallest (x0, y0, x1, y1) that holds all pixels, ends exclusive; None of an empty mask."""
        from pycocotools import mask as coco

        x, y, width, height = (int(number) for number in coco.toBbox(self.to_rle()))
        return (x, y, x + width, y + height) if self.area_px else None

    def to_rle(self) -> dict[str, Any]:
        """The mask as pycocotools and other readers of COCO take it: `{"size": [H, W], "counts": "..."}`."""
        return {"size": [self.size[1], self.size[0]], "counts": self.counts}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `rle` is what `to_rle` gives."""
        return {
            "label": self.label,
            "time_s": self.time_s,
            "score": self.score,
            "class_index": self.class_index,
            "area_px": self.area_px,
            "rle": self.to_rle(),
            "heat": self.heat,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Mask:
        """The mask that `to_dict` wrote; raises ValueError if the run lengths do not fill the frame."""
        rle = document["rle"]
        height, width = (int(side) for side in rle["size"])
        values = (document["label"], document["time_s"], (width, height), rle["counts"])
        return cls(*values, document.get("score", 0.0), document.get("class_index"), document.get("heat", ""))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a task's reader found in the model's text; `problems` says what could not be read and why."""

    answer: Answer | None = None
    events: tuple[Event, ...] = ()
    boxes: tuple[Box, ...] = ()
    problems: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()


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

    `audio_path` replaces the clip's sound. `reasoning` asks for the reasons before a short answer. A task about single
    pictures is done at the seconds `at_s`, else every `every_s` seconds. A task that tells events looks at clips that
    are longer than `window_s` in windows of that length, one every `stride_s` seconds; None for the length that the
    model was trained on, and for half a window. With `where` it also finds boxes of what sounds, at the
    seconds `at_s`, else once an event. `choices` are what is to be chosen from: answers, or files for a task that
    matches sounds and videos. `track_s`: between the seconds that are asked about, masks are tracked at this step; it
    needs a masker, such as SAM 2.
    """

    clip: Path
    task: str = "avqa"
    question: str | None = None
    audio_path: Path | None = None
    id: str | None = None
    require_audio: bool = False
    reasoning: bool = True
    at_s: tuple[float, ...] = ()
    every_s: float = 1.0
    window_s: float | None = None
    stride_s: float | None = None
    where: bool = False
    choices: tuple[str, ...] = ()
    track_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.every_s < float("inf"):
            raise ValueError(f"every_s must be a number above 0, got {self.every_s}")
        if self.track_s is not None and not 0 < self.track_s < float("inf"):
            raise ValueError(f"track_s must be a number above 0, got {self.track_s}")


@dataclass(frozen=True, slots=True)
class Result:
    """What a model said of one clip, with everything needed to trust or doubt it.

    `consistency` lists what in it contradicts something else in it, or the sound; empty if nothing was found. `stats`
    is what it cost, as `crab_core.stats` tells it, if that was asked for.
    """

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
    masks: tuple[Mask, ...] = ()
    consistency: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    stats: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, keys in reading order."""
        from dataclasses import asdict

        document = asdict(replace(self, masks=()))
        document["masks"] = [mask.to_dict() for mask in self.masks]
        document["timings_s"] = {stage: round(spent, 4) for stage, spent in self.timings_s.items()}
        document["seconds"] = round(self.seconds, 4)
        if not self.stats:
            del document["stats"]
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
        values["points"] = tuple(Point(**point) for point in values.get("points", ()))
        values["masks"] = tuple(Mask.from_dict(mask) for mask in values.get("masks", ()))
        values["notes"] = tuple(values.get("notes", ()))
        values["consistency"] = tuple(values.get("consistency", ()))
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


def heat_of(grid: npt.NDArray[np.uint8]) -> str:
    """A grid (h, w) as `Mask.heat` holds it."""
    import base64
    import zlib

    return f"{grid.shape[0]}x{grid.shape[1]}:{base64.b64encode(zlib.compress(grid.tobytes(), 9)).decode('ascii')}"


def _heat_grid(heat: str) -> npt.NDArray[np.uint8]:
    import base64
    import binascii
    import zlib

    import numpy as np

    head, _, body = heat.partition(":")
    try:
        height, width = (int(side) for side in head.split("x"))
        if not (0 < height <= _WIDEST_HEAT and 0 < width <= _WIDEST_HEAT):
            raise ValueError(f"a grid of {head} is not between 1 and {_WIDEST_HEAT} wide")
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(body, validate=True), height * width + 1)
        if not unpacking.eof:
            raise ValueError("it is cut short, or too long")
        return np.frombuffer(data, np.uint8).reshape(height, width)
    except (ValueError, binascii.Error, zlib.error) as err:
        raise ValueError(f"'{heat[:20]}' is no grid of likelihoods: {err}") from err


_WIDEST_HEAT = 4096


def _runs(counts: str) -> list[int]:
    """COCO's run lengths: 5 bits a letter from 48 on, from the third run on its difference to the last but one."""
    runs: list[int] = []
    number = shift = 0
    for letter in counts:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            return [-1]
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        if runs[-1] < 0:
            return [-1]
        number = shift = 0
    return runs if not shift else [-1]
