"""The formats in which models write where something is: boxes and mask tokens, and the readers of both.

What a writer writes, the reader of the same task reads back. A reader never raises: what it cannot use becomes a
problem of the reading. Sources of the formats: the AV-UIE targets and labels of the Crab release, `(x0,y0)` and
`(x1,y1)` with or without `<obj>`, and those of Crab+, `[x0,y0,x1,y1]`. Numbers in texts are of the picture that the
model saw (`Canvas.model_size`); boxes of a reading are in pixels of the original frame. Several boxes, and saying that
nothing is there, are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from crab_core.tasks.pictures import is_nothing
from crab_core.tasks.tags import one_line
from crab_core.types import Answer, Box, Canvas, Reading

NOTHING = "nothing"
MASK = "<mask_start>" + "".join(f"<mask_{index}>" for index in range(6)) + "<mask_end>"

_NUMBER = r"\s*(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*"
_PAIR = rf"[(\[]{_NUMBER},{_NUMBER}[)\]]"
_CORNERS = re.compile(rf"{_PAIR}([^()\[\]]*){_PAIR}|\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
BETWEEN = 2  # the group of what stands between two corners
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NAME = re.compile(
    r"(?:sounding|sound-making)\s+objects?\s+(?:is|are)\s+(.+?)\s*(?=\.|,?\s*(?:its|and its|with)\b|<|[(\[]|$)", re.I
)
_MAKING = re.compile(
    r"objects?\s+(?:that\s+(?:is|are)\s+)?making\s+(?:the|a)\s+sound\b.*?\b(?:is|are)\s+(.+?)\s*(?=\.|<|$)", re.I
)
_LIST = re.compile(r",\s*(?:and\s+)?|\s+and\s+")
_TOKENS = re.compile(r"\s*<mask_(?:start|end|[0-9]+)>\s*")
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
        for numbers in _corners(sentence):
            box = _placed(label or "object", numbers, canvas, problems)
            boxes += [box] if box is not None else []
    names = list(dict.fromkeys(box.label for box in boxes)) or ([label] if label else [])
    if not boxes and not problems and not (names and is_nothing(names[0])):
        problems.append("the text has no box" if said else "the model wrote nothing")
    told = ", ".join(names) if names else said
    return Reading(Answer(NOTHING if is_nothing(told) and said else told), boxes=tuple(boxes), problems=tuple(problems))


def read_mask(text: str, canvas: Canvas) -> Reading:
    """What makes the sound, of a text that tells its mask: the label as the answer, `nothing` if nothing does."""
    said = one_line(text)
    named = _MAKING.search(_TOKENS.sub(" ", said)) or _NAME.search(_TOKENS.sub(" ", said))
    return _told(said, named[1] if named else "")


def read_referred(text: str, canvas: Canvas) -> Reading:
    """What an expression means, of a text that tells its mask: the label, `nothing` if nothing matches.

    Crab+ says `<answer>true</answer>` or `<answer>false</answer>`; the latter is nothing.
    """
    said = one_line(text)
    truth = _TRUTH.search(said)
    if truth:
        return Reading(Answer("object" if truth[1].lower() == "true" else NOTHING))
    first = _SENTENCE.split(_TOKENS.sub(" ", said).strip())[0]
    _, verb, label = re.sub(r"\s*its mask is\s*$", "", first, flags=re.I).rpartition(" is ")
    if not verb and first.lower().endswith(" is"):  # the published evaluation label: `{expression} is <mask_start>...`
        label = first[:-3]
    return _told(said, label)


def _told(said: str, label: str) -> Reading:
    label = " ".join(label.split()).strip(" .,;")
    if not label:
        told = _TOKENS.sub(" ", said).strip() if said else ""
        problem = "the text names nothing" if said else "the model wrote nothing"
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


def _corners(sentence: str) -> Iterator[tuple[float, float, float, float]]:
    for match in _CORNERS.finditer(sentence):
        groups = match.groups()  # two pairs around what stands between them, or four numbers
        numbers = [float(one) for index, one in enumerate(groups) if one is not None and index != BETWEEN]
        yield numbers[0], numbers[1], numbers[2], numbers[3]


def _placed(label: str, numbers: tuple[float, float, float, float], canvas: Canvas, problems: list[str]) -> Box | None:
    """The box in pixels of the original frame, cut to it; None, and a problem, if nothing of it is inside."""
    (width, height), (across, down) = canvas.size, canvas.model_size
    x0, y0, x1, y1 = numbers
    told = f"({x0:g},{y0:g})({x1:g},{y1:g})"
    if x0 >= x1 or y0 >= y1:
        problems.append(f"the box {told} of '{label}' has no area")
        return None
    inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(across)), min(y1, float(down))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        problems.append(f"the box {told} of '{label}' lies outside the picture of {across} x {down}")
        return None
    if inside != numbers:
        problems.append(f"the box {told} of '{label}' was cut to the picture of {across} x {down}")
    scale_x, scale_y = width / across, height / down
    return Box(label, inside[0] * scale_x, inside[1] * scale_y, inside[2] * scale_x, inside[3] * scale_y)


def _corner(x: float, y: float) -> str:
    return f"({x:.0f},{y:.0f})"
