"""Records of AV-UIE and of Crab+'s AV-UIE v2 as lines of our own schema.

The field names are those of the released code's readers; where a release keeps media is a pattern, such as
`AVE/{vid}.mp4`, which the caller may replace. A record may give several lines: a video of ten annotated pictures is
ten lines, one a picture.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crab_core.data.convert_plus import PLUS_READERS
from crab_core.data.layout import Layout, Line, Values, filled, media_of, target_of, targets_of
from crab_core.data.lines import BadLine
from crab_core.data.places import inside
from crab_core.data.records import Record, read_records
from crab_core.data.sample import SCHEMA, SampleError, read_sample
from crab_core.errors import CrabError, InputError, ResourceError, UsageError
from crab_core.registry import TASKS
from crab_core.types import Canvas

SIDE = (224, 224)  # boxes of AV-UIE are in this picture
NOTHING_X = 1000  # the corner that says that nothing sounds


@dataclass(frozen=True, slots=True)
class Converted:
    """How many records became how many lines, and what was wrong with the others."""

    records: int
    lines: int
    problems: tuple[BadLine, ...]


def convert(source: Path, task: str, out: Path, layout: Layout | None = None) -> Converted:
    """Write the records of a file as JSON lines; the file is there when all is written, or not at all.

    Raises UsageError for a task without a reader, InputError for a file that cannot be read or without one usable
    record, ResourceError if the disk does not take it.
    """
    if task not in READERS:
        raise UsageError(f"records of task '{task}' cannot be read", hint=f"Tasks: {', '.join(READERS)}.")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"'{out}' is the file to convert", hint="Name another file with --out.")
    records = lines = 0
    problems: list[BadLine] = []
    unfinished = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8") as file:
            for record in read_records(source):
                records += 1
                try:
                    made = _lines(record, task, layout or Layout())
                except SampleError as err:
                    problems.append(BadLine(record.line, err.mistakes))
                    continue
                for line in made:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    lines += 1
        if not lines:
            first = f"; line {problems[0].line}: {problems[0].mistakes[0]}" if problems else ""
            raise InputError(f"'{source}' has no record of task '{task}'{first}", hint="Is --task right?")
        unfinished.replace(out)
    except OSError as err:
        if isinstance(err, CrabError):
            raise
        raise ResourceError(f"cannot write '{out}': {err.strerror}", hint="Choose another --out.") from err
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return Converted(records, lines, tuple(problems))


def _lines(record: Record | BadLine, task: str, layout: Layout) -> list[Line]:
    """The lines of a record, each checked; raises SampleError."""
    if isinstance(record, BadLine):
        raise SampleError(record.mistakes)
    try:
        made = [_whole(line, record, layout) for line in READERS[task](record.values, layout)]
    except KeyError as err:
        held = ", ".join(f"'{key}'" for key in list(record.values)[:8])
        raise SampleError([f"the record has no {err}, only {held}"]) from err
    except (TypeError, ValueError, AttributeError, IndexError) as err:
        raise SampleError([str(err) or type(err).__name__]) from err
    for line in made:
        read_sample(line, record.line)
        for name in (line["file"], line.get("audio")):
            if name is not None:
                _check_path(name)
    return made


def _whole(line: Line, record: Record, layout: Layout) -> Line:
    split = str(record.values.get("split") or layout.split)
    return {"schema": SCHEMA, **line} | ({"split": split} if split else {})


def _check_path(name: str) -> None:
    try:
        inside(Path(), name)
    except CrabError as err:
        raise SampleError([f"the path '{name}' leads out of the data root; take its front off with --strip"]) from err


def _avqa(values: Values, layout: Layout) -> Iterator[Line]:
    kind = values.get("type", "")
    kinds = json.loads(kind) if isinstance(kind, str) and kind.startswith("[") else kind
    modality, name = (kinds[0], kinds[-1]) if isinstance(kinds, list) and kinds else ("", str(kinds or ""))
    question = {"question": values["question"], "answer": str(values["answer"])}
    question |= {"type": str(name), "modality": str(modality)} | target_of(values, "label")
    yield {
        "id": str(values["question_id"]),
        **media_of(values, layout, "{video_path}", "{audio_path}"),
        "questions": [question],
    }


def _ave(values: Values, layout: Layout) -> Iterator[Line]:
    times = {"start_s": float(values["start_time"]), "end_s": float(values["end_time"])}
    yield {
        "id": str(values["vid"]),
        **media_of(values, layout, "AVE/{vid}.mp4", "audio_data/{vid}.mp3"),
        "seconds": 10,
        "events": [{"label": values["event"], **times, "track": "both"}],
        **targets_of(values, "ave", "label_content"),
    }


def _avvp(values: Values, layout: Layout) -> Iterator[Line]:
    read = TASKS["avvp"].load().read
    texts = [str(values[key]) for key in ("event", "label", "label_content") if values.get(key)]
    found = next((events for text in texts if (events := read(text, Canvas(10.0)).events)), None)
    if found is None:
        raise ValueError(f"no event can be read from {' or '.join(repr(text[:60]) for text in texts) or 'no text'}")
    yield {
        "id": str(values["vid"]),
        **media_of(values, layout, "llp_videos/{vid}.mp4", "audio_data/{vid}.mp3"),
        "seconds": 10,
        "events": [{"label": e.label, "start_s": e.start_s, "end_s": e.end_s, "track": e.track} for e in found],
        **targets_of(values, "avvp", "label_content", "label"),
    }


def _avcap(values: Values, layout: Layout) -> Iterator[Line]:
    caption = str(values["desc"] if "desc" in values else values["label_content"])
    media = media_of(values, layout, "video_data/{video_id}.mp4", "audio_data/{video_id}.mp3")
    yield {"id": str(values["video_id"]), **media, "captions": [caption]}


def _arig(values: Values, layout: Layout) -> Iterator[Line]:
    if "top_left" in values:
        x0, y0 = _corner(values["top_left"])
        x1, y1 = _corner(values["bottom_right"])
        boxes = [] if x0 == NOTHING_X or x1 == NOTHING_X else [{"label": values["a_obj"], "box": [x0, y0, x1, y1]}]
    else:
        reading = TASKS["arig"].load().read(str(values["label_content"]), Canvas(5.0))
        if reading.problems:
            raise ValueError(reading.problems[0])
        boxes = [{"label": values["a_obj"], "box": [b.x0, b.y0, b.x1, b.y1]} for b in reading.boxes]
    media = media_of(values, layout, _picture(values), "{audio_path}")
    second = int(Path(media["file"]).stem) if Path(media["file"]).stem.isdigit() else 0
    yield {
        "id": media["file"],
        **media,
        "seconds": 5,
        "size": list(SIDE),
        "frames": [{"time_s": second, "boxes": boxes}],
        **targets_of(values, "arig", "label_content"),
    }


def _masks(task: str) -> Callable[[Values, Layout], Iterator[Line]]:
    """The reader of S4 or MS3: a record is a video of 5 pictures, or one picture (Crab+)."""

    def read(values: Values, layout: Layout) -> Iterator[Line]:
        for second, media, mask in _pictures(values, layout, 5):
            frame = {"time_s": second, "masks": [{"label": str(values["a_obj"]), "file": mask}]}
            targets = targets_of(values, task, "label_content")
            yield {"id": media["file"], **media, "tasks": [task], "seconds": 5, "frames": [frame], **targets}

    return read


def _avss(values: Values, layout: Layout) -> Iterator[Line]:
    seconds = 10 if values.get("label") == "v2" else 5
    label = {"label": str(values["a_obj"])} if values.get("a_obj") else {}
    for second, media, mask in _pictures(values, layout, seconds, "labels_rgb"):
        frame = {"time_s": second, "classes": mask, **label}
        targets = targets_of(values, "avss", "label_content")
        yield {"id": media["file"], **media, "tasks": ["avss"], "seconds": seconds, "frames": [frame], **targets}


def _ref_avs(values: Values, layout: Layout) -> Iterator[Line]:
    is_null = values.get("split") == "test_n"
    named = [key for key in ("exp", "description", "object") if key in values]
    text = str(values[named[0] if named else "exp"])
    if "fid" in values and not _picture(values):
        vid = str(values["uid"]).rsplit("_", 2)[0]
        folder = {**values, "vid": vid}
        pictures = [(i, "media/{vid}/frames/{i}.jpg", "media/{vid}/audio.wav") for i in range(10)]
        mask = "gt_mask/{vid}/fid_{fid}/0000{i}.png"
    else:
        folder, second = dict(values), int(values.get("idx", values.get("frame_idx", 0)))
        pictures = [(second, _picture(values), "{audio_path}")]
        mask = str(values[_picture(values)[1:-1]]).replace("media/", "gt_mask/", 1)
        mask = mask.replace("/frames/", "/fid_{fid}/0000").replace(".jpg", ".png")
    for second, picture, sound in pictures:
        fields = {**folder, "i": second}
        shown = None if is_null else {"file": filled(layout.mask or mask, fields, layout)}
        yield {
            "id": f"{values['uid']}/{second}",
            **media_of(fields, layout, picture, sound),
            "seconds": 10,
            "expressions": [{"text": text, "time_s": second, "mask": shown}],
            **targets_of(values, "ref-avs", "output"),
        }


READERS: Mapping[str, Callable[[Values, Layout], Iterator[Line]]] = MappingProxyType(
    {
        "avqa": _avqa,
        "ave": _ave,
        "avvp": _avvp,
        "avcap": _avcap,
        "arig": _arig,
        "s4": _masks("s4"),
        "ms3": _masks("ms3"),
        "avss": _avss,
        "ref-avs": _ref_avs,
        **PLUS_READERS,
    }
)


def _pictures(
    values: Values, layout: Layout, seconds: int, folder: str = "labels_semantic"
) -> Iterator[tuple[int, Line, str]]:
    """The second, the media and the mask of each annotated picture; S4's training videos have only the first."""
    picture = _picture(values)
    if picture:
        mask = str(values[picture[1:-1]]).replace("/frames/", "/labels_rgb/").replace(".jpg", ".png")
        fields = {**values, "i": int(values.get("frame_idx", 0))}
        yield (
            fields["i"],
            media_of(fields, layout, picture, "{audio_path}"),
            filled(layout.mask or mask, fields, layout),
        )
        return
    if values.get("label") == "v1s" and values.get("split") == "train":
        seconds = 1
    for second in range(seconds):
        fields = {**values, "i": second}
        media = media_of(fields, layout, "{label}/{uid}/frames/{i}.jpg", "{label}/{uid}/audio.wav")
        yield second, media, filled(layout.mask or f"{{label}}/{{uid}}/{folder}/{{i}}.png", fields, layout)


def _picture(values: Values) -> str:
    """The pattern of the field with the picture's path, "" if there is none."""
    return next((f"{{{key}}}" for key in ("frame_path", "image_path", "visual_path") if values.get(key)), "")


def _corner(value: Any) -> tuple[float, float]:
    """`[3, 9]`, `"(3,9)"` or `"3 9"` as two numbers."""
    import re

    numbers = value if isinstance(value, list | tuple) else re.findall(r"-?\d+(?:\.\d+)?", str(value))
    if len(numbers) != 2:
        raise ValueError(f"'{value}' is no corner of two numbers")
    return float(numbers[0]), float(numbers[1])
