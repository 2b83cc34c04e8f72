"""Events as a Label Studio task with a prediction: regions of the tag `clip`, each with its track as a choice.

The labelling interface that shows them is in docs/localize.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crab_core.render.writers._base import TextWriter, in_order, plain
from crab_core.types import Event, Result


def write(result: Result, clip: Path) -> str:
    """A list of one task; `data.clip` is the clip's name, to be made the address at which Label Studio finds it."""
    regions = [
        part
        for number, event in enumerate(in_order(result), start=1)
        for part in _region(event, f"event{number}", result.duration_s)
    ]
    task = {
        "data": {"clip": plain(clip.name)},
        "predictions": [{"model_version": plain(result.model), "result": regions}],
    }
    return json.dumps([task], ensure_ascii=False, indent=2) + "\n"


def _region(event: Event, name: str, duration_s: float) -> list[dict[str, Any]]:
    """The region with its label, and the same region with its track."""
    shared = {"id": name, "to_name": "clip", "original_length": duration_s}
    times = {"start": event.start_s, "end": event.end_s, "channel": 0}
    return [
        {**shared, "from_name": "label", "type": "labels", "value": {**times, "labels": [plain(event.label)]}},
        {**shared, "from_name": "track", "type": "choices", "value": {**times, "choices": [event.track]}},
    ]


WRITER = TextWriter(".labelstudio.json", write, needs="events")
