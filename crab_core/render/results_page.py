"""The report about a folder of results: what was asked, what was found, what failed, and each result with pictures.

A pure function of what was gathered: `Facts` for the whole, `Shown` for each result that is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from crab_core.render.charts import bars_chart
from crab_core.render.events_chart import events_chart
from crab_core.render.marks import colours_of
from crab_core.render.overlays import Picture, data_uri
from crab_core.render.page import heading, page, paragraph, picture, table
from crab_core.types import Box, Event, Mask, Result

SHARED_NOTE = 0.5  # a note that more than this part of all results have stands once at the top
MOST_LABELS, MOST_TEXT = 25, 2000
QUALITY = 82


@dataclass(frozen=True)
class Facts:
    """The whole in numbers; counts are of all results, also of those that are not listed. Pairs keep their order."""

    source: str
    total: int
    failed: int
    tasks: Mapping[str, int]
    models: Mapping[str, int]
    audio: Mapping[str, int]
    labels: Mapping[str, int]
    notes: Mapping[str, int]
    doubtful: int
    runs: Sequence[str] = ()
    failures: Sequence[Mapping[str, str]] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True)
class Shown:
    """One result as it is listed: its pictures with their times, `colours` of its labels are those of its pictures."""

    result: Result
    pictures: Sequence[tuple[float, Picture]] = field(default_factory=tuple)


def results_page(facts: Facts, shown: Sequence[Shown], more: Sequence[str] = ()) -> str:
    """The self-contained page; `more` are parts that are HTML already, and stand before the results."""
    body = [*_head(facts), *_found(facts), *more, *_failures(facts), *_listed(facts, shown)]
    return page(f"Results: {facts.source}", body)


def _head(facts: Facts) -> list[str]:
    tasks = _counted(facts.tasks)
    parts = [heading(f"Results in {facts.source}", 1)]
    if facts.models:
        several = len(facts.models) > 1
        parts.append(paragraph(f"models {_counted(facts.models)}" if several else f"model {next(iter(facts.models))}"))
    if facts.total or facts.failed:
        parts.append(paragraph(f"{_several(facts.total)} ({tasks or 'none'}), {facts.failed} failed.", "answer"))
    parts += [paragraph(run, "dim") for run in facts.runs]
    odd = {state: number for state, number in facts.audio.items() if state != "used"}
    if odd:
        parts.append(paragraph(f"Sound: {_counted(facts.audio)}.", "dim"))
    if facts.doubtful:
        parts.append(paragraph(f"{facts.doubtful} of them contradict themselves or the sound.", "dim"))
    parts += [paragraph(f"Note: {note}", "dim") for note in _shared(facts)]
    return [*parts, *(paragraph(f"Not read: {problem}", "dim") for problem in facts.problems)]


def _found(facts: Facts) -> list[str]:
    if not facts.labels:
        return []
    most = sorted(facts.labels.items(), key=lambda one: (-one[1], one[0]))
    shown = dict(most[:MOST_LABELS])
    rest = len(most) - len(shown)
    told = f" The {MOST_LABELS} most frequent of {len(most)} names." if rest else ""
    return [
        heading("What was found"),
        paragraph(f"Answers in which a name stands, as an event, a box or a mask.{told}"),
        f'<div class="wide">{bars_chart(shown, "answers by name")}</div>',
    ]


def _failures(facts: Facts) -> list[str]:
    if not facts.failures:
        return []
    rows = [(one["id"], one["task"], one["stage"], one["error"], _short(one["message"])) for one in facts.failures]
    left = facts.failed - len(rows)
    return [
        heading("What failed"),
        table(("clip", "task", "stage", "error", "message"), rows),
        *([paragraph(f"And {left} more, in errors.jsonl.", "dim")] if left > 0 else []),
    ]


def _listed(facts: Facts, shown: Sequence[Shown]) -> list[str]:
    if not shown:
        return []
    left = facts.total - len(shown)
    told = [paragraph(f"The first {len(shown)} of {facts.total}.", "dim")] if left > 0 else []
    shared = set(_shared(facts))
    return [heading("Answers"), *told, *(_card(one, shared) for one in shown)]


def _card(shown: Shown, shared: set[str]) -> str:
    result = shown.result
    about = f"{result.task} · {result.duration_s:.1f} s · sound {result.audio}"
    parts = [heading(result.id, 3), paragraph(about, "dim")]
    if result.question:
        parts.append(paragraph(result.question))
    answer = result.answer
    if answer is not None and answer.reasoning:
        parts.append(paragraph(_short(answer.reasoning), "dim"))
    if answer is None or not answer.text:
        parts.append(paragraph("(no answer)", "said"))
    elif not result.events or result.task == "scan":
        parts.append(paragraph(_short(answer.text), "said"))
    parts += _timeline(result)
    parts += _pictures(shown)
    parts += [paragraph(f"Contradiction: {_short(doubt)}", "doubt") for doubt in result.consistency]
    parts += [paragraph(f"Note: {note}", "dim") for note in result.notes if note not in shared]
    return f'<section class="card">{"".join(parts)}</section>'


def _timeline(result: Result) -> list[str]:
    if not result.events:
        return []
    return [f'<div class="wide">{events_chart(result.events, result.duration_s, label_colours(result))}</div>']


def label_colours(result: Result) -> dict[str, str]:
    """`#rrggbb` a label, the same in the pictures and in the lanes."""
    named: list[Mask | Box | Event] = [*_there(result), *result.events]
    colours = colours_of(one.label for one in named)
    return {label: "#{:02x}{:02x}{:02x}".format(*colour) for label, colour in colours.items()}


def _there(result: Result) -> list[Mask | Box]:
    """Boxes, and masks that are not empty."""
    return [*(mask for mask in result.masks if mask.area_px), *result.boxes]


def _pictures(shown: Shown) -> list[str]:
    if not shown.pictures:
        return []
    figures = [
        f"<figure>{picture(data_uri(pixels, '.jpg', QUALITY), f'{shown.result.id}, {time_s:g} s')}"
        f"<figcaption>{time_s:.1f} s</figcaption></figure>"
        for time_s, pixels in shown.pictures
    ]
    marked = {one.label for one in _there(shown.result)}
    keys = [
        f'<span class="mark"><span class="key" style="background:{colour}"></span>{escape(label)}</span>'
        for label, colour in label_colours(shown.result).items()
        if label in marked
    ]
    return [f'<div class="thumbs">{"".join(figures)}</div>', *([f"<p>{''.join(keys)}</p>"] if keys else [])]


def _shared(facts: Facts) -> list[str]:
    return [note for note, number in facts.notes.items() if number > SHARED_NOTE * facts.total]


def _several(answers: int) -> str:
    return "1 answer" if answers == 1 else f"{answers} answers"


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
