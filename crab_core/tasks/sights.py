"""The formats in which models write where something is: boxes, points and mask tokens, and their readers.

What a writer writes, the reader of the same task reads back. A reader never raises: what it cannot use becomes a
problem of the reading. Sources of the formats: the AV-UIE targets and labels of the Crab release, `(x0,y0)` and
`(x1,y1)` with or without `<obj>`, and those of Crab+, `[x0,y0,x1,y1]` and points `[x,y]`. Numbers in
texts are of the picture that the model saw (`Canvas.model_size`); those of a reading are in pixels of the original
frame. Several boxes, and saying that nothing is there, are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from crab_core.tasks.pictures import is_nothing
from crab_core.tasks.places import corners_in, placed, points_in, without_places
from crab_core.tasks.tags import one_line
from crab_core.types import Answer, Box, Canvas, Reading

NOTHING = "nothing"
MASK = "<mask_start>" + "".join(f"<mask_{index}>" for index in range(6)) + "<mask_end>"

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NAME = re.compile(
    r"(?:sounding|sound-making)\s+objects?\s+(?:is|are)\s+(.+?)\s*(?=\.|,?\s*(?:its|and its|with)\b|<|[(\[]|$)", re.I
)
_MAKING = re.compile(
    r"objects?\s+(?:that\s+(?:is|are)\s+)?(?:making|producing)\s+(?:the|a)\s+sound\b.*?\b(?:is|are)\s+(.+?)\s*(?=\.|<|\[|$)",
    re.I,
)
_LIST = re.compile(r",\s*(?:and\s+)?|\s+and\s+")
_TOKENS = re.compile(r"\s*<mask_(?:start|end|[0-9]+)>\s*")
_MEANT = re.compile(
    r"\bis\s+(?:an?\s+|the\s+)?([a-z][a-z '-]*?)\s*(?=[.,;\[(]|\b(?:with|and|at|whose|in|on)\b|$)", re.I
)
_TRUTH = re.compile(r"<answer>\s*(true|false)\s*</answer>\.?", re.I)


def write_box(box: Box | None) -> str:
    """The target of one sounding object: `The sounding object is dog. Its coordinates are <obj>(3,9)(40,60)</obj>.`"""
    if box is None:
        return f"The sounding object is {NOTHING}."
    corners = f"{_corner(box.x0, box.y0)}{_corner(box.x1, box.y1)}"
    return f"The sounding object is {box.label}. Its coordinates are <obj>{corners}</obj>."


def write_boxes(boxes: Sequence[Box]) -> str:
    """The same sentences for every box, one after another; one sentence if there are none."""
    return " ".join(write_box(box) for box in boxes) or write_box(None)


def write_mask(label: str, ordinal: str | None = None) -> str:
    """The target of a mask, with the picture's second where the prompt names it; nothing has no mask tokens."""
    if ordinal is not None:
        lead = f"The object making the sound in the video is {label}."
        mask = f" The mask of the object that makes the sound at the {ordinal} second is {MASK}"
    else:
        lead, mask = f"The object making the sound is {label}.", f" Its mask is {MASK}"
    return lead if is_nothing(label) else lead + mask


def write_referred(expression: str, label: str, ordinal: str | None = None) -> str:
    """The target of an expression and what it means: `In the image, the silent object is tree. Its mask is ...`"""
    where = "In the image" if ordinal is None else f"At the {ordinal} second in the video"
    lead = f"{where}, {expression} is {label}."
    return lead if is_nothing(label) else f"{lead} Its mask is {MASK}"


def read_boxes(text: str, canvas: Canvas) -> Reading:
    """`The sounding object is dog. Its coordinates are <obj>(3,9)(40,60)</obj>.` gives a box with the label dog.

    Any number of boxes; without names before them they are called `object`.
    """
    said = one_line(text)
    boxes: list[Box] = []
    problems: list[str] = []
    label = ""
    for sentence in _SENTENCE.split(said):
        label = _named(sentence) or label
        boxes += _boxes(sentence, label or "object", canvas, problems)
    points = points_in(said, canvas, label or "object", problems)
    names = list(dict.fromkeys(box.label for box in boxes)) or ([label] if label else [])
    if not boxes and not problems and not (names and is_nothing(names[0])):
        problems.append("the text has no box" if said else "the model wrote nothing")
    told = ", ".join(names) if names else said
    answer = Answer(NOTHING if is_nothing(told) and said else told)
    return Reading(answer, boxes=tuple(boxes), problems=tuple(problems), points=points)


def read_mask(text: str, canvas: Canvas) -> Reading:
    """What makes the sound, of a text that tells its mask: the label as the answer, `nothing` if nothing does.

    Where a text tells a box or points instead of a mask, as Crab+'s do, the reading has them.
    """
    said = one_line(text)
    named = _MAKING.search(_TOKENS.sub(" ", said)) or _NAME.search(_TOKENS.sub(" ", said))
    return _with_places(said, named[1] if named else "", canvas)


def read_referred(text: str, canvas: Canvas) -> Reading:
    """What an expression means, of a text that tells its mask: the label, `nothing` if nothing matches.

    Crab+ says `<answer>true</answer>` or `<answer>false</answer>`; the latter is nothing.
    """
    said = one_line(text)
    truth = _TRUTH.search(said)
    if truth:
        if truth[1].lower() == "false":
            return Reading(Answer(NOTHING))
        told = _TRUTH.sub(" ", said)
        named = _MEANT.search(told)
        return _with_places(told, named[1] if named else "object", canvas)
    first = _SENTENCE.split(_TOKENS.sub(" ", said).strip())[0]
    _, verb, label = re.sub(r"\s*its mask is\s*$", "", first, flags=re.I).rpartition(" is ")
    if not verb and first.lower().endswith(" is"):  # the published evaluation label: `{expression} is <mask_start>...`
        label = first[:-3]
    return _with_places(said, label, canvas)


def _with_places(said: str, label: str, canvas: Canvas) -> Reading:
    """What was told with its boxes and points; something that is placed and not named is an `object`."""
    problems: list[str] = []
    name = " ".join(without_places(label).split()).strip(" .,;")
    placed_somewhere = any(corners_in(said))
    reading = _told(said, name or ("object" if placed_somewhere else ""))
    if reading.answer is None or is_nothing(reading.answer.text):
        return reading
    called = reading.answer.text if not reading.problems else "object"
    boxes = tuple(_boxes(said, called, canvas, problems))
    points = points_in(said, canvas, called, problems)
    return replace(reading, boxes=boxes, points=points, problems=(*reading.problems, *problems))


def _boxes(text: str, label: str, canvas: Canvas, problems: list[str]) -> list[Box]:
    found = [placed(label, numbers, canvas, problems) for numbers in corners_in(text)]
    return [box for box in found if box is not None]


def _told(said: str, label: str) -> Reading:
    label = " ".join(label.split()).strip(" .,;")
    if not label:
        told = _TOKENS.sub(" ", said).strip() if said else ""
        problem = "the text names no object" if said else "the model wrote nothing"
        return Reading(Answer(told), problems=(problem,))
    return Reading(Answer(NOTHING if is_nothing(label) else _once(label)))


def _once(label: str) -> str:
    """`dog and dog` is `dog`: small models repeat themselves in lists."""
    told = _LIST.split(label)
    *first, last = dict.fromkeys(told)
    if len(first) + 1 == len(told):
        return label
    return f"{', '.join(first)} and {last}" if first else last


def _named(sentence: str) -> str:
    found = _NAME.search(sentence) or _MAKING.search(sentence)
    return " ".join(found[1].split()).strip(" .,;") if found else ""


def _corner(x: float, y: float) -> str:
    return f"({x:.0f},{y:.0f})"
