"""Records of AV-UIE v2 for the tasks that only Crab+ has. Field names are those of the released code's readers.

Media lie in `video` and `audio` below the folder of each set, so that `--root` is that folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from crab_core.data.layout import Layout, Line, Values, filled, media_of, target_of, targets_of
from crab_core.registry import TASKS
from crab_core.types import Canvas

VIDEO, AUDIO = "video/{video_path}", "audio/{audio_path}"
EMOTIONS = ("emotion", "Emotion", "discrete")  # in CREMA-D, MAFW and DFEW; in MELD; in MER24
LONGEST_S = 100_000.0  # UnAV's records do not tell how long a video lasts


def _emotion(values: Values, layout: Layout) -> Iterator[Line]:
    key = next((key for key in EMOTIONS if values.get(key)), EMOTIONS[0])
    yield _labelled("emotion", str(values[key]), values, layout, "label")


def _action(values: Values, layout: Layout) -> Iterator[Line]:
    """Kinetics-Sounds names the class `action`; UCF `label`, and its target `new_label`."""
    if "new_label" in values:
        yield _labelled("action", str(values["label"]).lower(), values, layout, "new_label")
    else:
        yield _labelled("action", str(values["action"]), values, layout, "label")


def _labelled(task: str, label: str, values: Values, layout: Layout, key: str) -> Line:
    shown = media_of(values, layout, VIDEO, AUDIO)
    return {"id": shown["file"], **shown, "tasks": [task], "labels": {task: label}, **targets_of(values, task, key)}


def _options(values: Values, layout: Layout) -> Iterator[Line]:
    """The answer is one of the options, or its place among them counted from 0."""
    told = values["multi_choice"]
    options = [str(one) for one in (json.loads(told) if isinstance(told, str) else told)]
    answer = str(values["answer"])
    if answer not in options and answer.isdigit() and int(answer) < len(options):
        answer = options[int(answer)]
    if answer not in options:
        raise ValueError(f"the answer '{answer}' is none of the options {options}")
    question = {"question": values["question_text"], "answer": answer, "options": options}
    question |= {"type": str(values.get("question_type", "")), "modality": str(values.get("question_relation", ""))}
    yield {
        "id": str(values["id"]),
        **media_of(values, layout, VIDEO, AUDIO),
        "tasks": ["avqa-options"],
        "questions": [{**question, **target_of(values, "label")}],
    }


def _match(task: str, own: str, other: str) -> Callable[[Values, Layout], Iterator[Line]]:
    """The reader of a task that compares two files of kind `other` with one of kind `own`."""

    def read(values: Values, layout: Layout) -> Iterator[Line]:
        true = str(values[f"correct_{other}"])
        found = TASKS[task].load().read(f"<answer>{true}</answer>", Canvas(10.0))
        if found.problems or found.answer is None:
            raise ValueError(f"'correct_{other}' is '{true}', not 1 or 2")
        pattern = (layout.video if other == "video" else layout.audio) or f"{other}/{{{other}_path}}"
        files = [filled(pattern, {**values, f"{other}_path": values[f"{other}{n}_path"]}, layout) for n in (1, 2)]
        clip = filled((layout.video if own == "video" else layout.audio) or f"{own}/{{{own}_path}}", values, layout)
        yield {
            "id": f"{clip}: {', '.join(files)}",
            "file": clip,
            "tasks": [task],
            "choices": files,
            "labels": {task: found.answer.text},
            **targets_of(values, task, "label"),
        }

    return read


def _unav(values: Values, layout: Layout) -> Iterator[Line]:
    text = str(values["label_content"])
    events = TASKS["unav"].load().read(text, Canvas(LONGEST_S, int(LONGEST_S))).events
    if not events:
        raise ValueError(f"no event can be read from '{text[:60]}'")
    yield {
        "id": str(values["vid"]),
        **media_of(values, layout, VIDEO, AUDIO),
        "tasks": ["unav"],
        "events": [{"label": e.label, "start_s": e.start_s, "end_s": e.end_s, "track": "both"} for e in events],
        **targets_of(values, "unav", "label_content"),
    }


PLUS_READERS: Mapping[str, Callable[[Values, Layout], Iterator[Line]]] = MappingProxyType(
    {
        "emotion": _emotion,
        "action": _action,
        "avqa-options": _options,
        "a2v": _match("a2v", "audio", "video"),
        "v2a": _match("v2a", "video", "audio"),
        "unav": _unav,
    }
)
