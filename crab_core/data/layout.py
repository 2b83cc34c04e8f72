"""Where a release keeps media and texts: patterns filled with the fields of a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where media are: patterns with the fields of a record in braces, `{i}` being the picture's second.

    `split` is for records that do not tell theirs; `strip` is taken off the front of every path that has it.
    """

    video: str = ""
    audio: str = ""
    mask: str = ""
    split: str = ""
    strip: str = ""


def media_of(values: Values, layout: Layout, video: str, audio: str) -> Line:
    """`file` and `audio` of a line; a record without a field of sound has no `audio`, unless the caller names one."""
    made = {"file": filled(layout.video or video, values, layout)}
    if layout.audio or "{audio_path}" not in audio or values.get("audio_path"):
        made["audio"] = filled(layout.audio or audio, values, layout)
    return made


def filled(pattern: str, values: Values, layout: Layout) -> str:
    """The pattern with the record's fields, without the front that is to be stripped."""
    name = re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), pattern)
    return name.removeprefix(layout.strip).lstrip("/") if layout.strip and name.startswith(layout.strip) else name


def targets_of(values: Values, task: str, *keys: str) -> Line:
    """`targets` of the first of these fields that the record has."""
    text = next((values[key] for key in keys if isinstance(values.get(key), str) and values[key].strip()), None)
    return {} if text is None else {"targets": {task: text}}


def target_of(values: Values, key: str) -> Line:
    """`target` of a question, if the record has a text in that field."""
    return {"target": values[key]} if isinstance(values.get(key), str) and values[key].strip() else {}
