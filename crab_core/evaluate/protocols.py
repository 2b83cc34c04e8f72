"""How each task is scored: asks with their predictions become rows, rows become tables, papers' numbers stand beside.

Where published code and a right formula differ, both are lines of the table; `docs/eval.md` says which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from crab_core.data.sample import label_key
from crab_core.errors import MissingExtra, UsageError
from crab_core.evaluate import boxes, captions, classes, masks, parsing, published, semantic, unread
from crab_core.evaluate.asks import LABEL_TASKS, Ask, seconds_of
from crab_core.evaluate.baselines import fit_majority, nothing, whole_clip
from crab_core.evaluate.bootstrap import Counts, score
from crab_core.evaluate.predictions import Prediction
from crab_core.evaluate.report import Line, Table
from crab_core.evaluate.rows import EventRow, LabelRow, QaRow
from crab_core.evaluate.sights import box_row, mask_row, semantic_row
from crab_core.evaluate.tables import score_answers, score_localization, score_parsing

# what the Crab paper (arXiv 2503.13068) reports of its 7B model on the test sets of the data's own makers
PAPER: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("avqa", "all"): 0.7894,
        ("avqa", "modality Audio"): 0.7658,
        ("avqa", "modality Visual"): 0.9073,
        ("avqa", "modality Audio-Visual"): 0.7413,
        ("ave", "per-second accuracy"): 0.8015,
        ("arig", "cIoU >= 0.5"): 0.4178,
        ("arig", "AUC"): 0.42,
        ("ms3", "mIoU"): 0.5821,
    }
)
PLACED = ("s4", "ms3", "ref-avs")  # tasks whose masks may be drawn from places in a text
Metrics = Mapping[str, Callable[[Sequence[Any]], Counts]]


@dataclass
class Scored:
    """The rows of a task so far: of our own metrics, and texts for the scorers that read texts."""

    task: str
    rows: list[Any] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)
    told: list[unread.Told] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_generated: bool = False

    def add(self, ask: Ask, told: Prediction | None) -> None:
        """Take one ask with its prediction; raises UsageError or InputError for what cannot be scored."""
        self.rows.append(_row(self.task, ask, told or Prediction()))
        if self.task in ("avqa", "ave"):
            self.texts.append(_text(self.task, ask, told or Prediction()))
        if self.task in PLACED and ask.time_s is not None:
            self.told.append(unread.told_by(self.task, told.text if told else "", ask.time_s))
        self.splits.append(ask.sample.split)
        self.is_generated |= ask.sample.is_generated

    @property
    def is_placed(self) -> bool:
        """True if masks were drawn from places in texts: then what texts could not be read is told.

        A model that tells places and fails at all of them is one whose texts are lost and that has no mask at all.
        """
        is_all_lost = any(one.is_lost for one in self.told) and not any(row.told for row in self.rows)
        return any(one.has_place for one in self.told) or is_all_lost

    def tables(self) -> tuple[Table, ...]:
        """The task's tables, with a paper's numbers unless clips were generated; raises UsageError without a row."""
        made = tuple(_TABLES[self.task](self))
        if self.is_generated:
            return made
        return tuple(replace(one, lines=tuple(_beside_paper(self.task, line) for line in one.lines)) for one in made)


def _row(task: str, ask: Ask, told: Prediction) -> Any:
    clip = ask.sample.file
    if ask.asked is not None:
        asked = ask.asked
        return QaRow(clip, asked.template, asked.type, asked.modality, told.answer, asked.answer)
    if task in LABEL_TASKS:
        return LabelRow(clip, told.answer, (ask.sample.labels or {})[task])
    if task in ("ave", "avvp", "unav"):
        true = tuple(event for event in ask.sample.events or () if task == "avvp" or event.track == "both")
        return EventRow(clip, seconds_of(ask.sample), told.events, true)
    if task == "avcap":
        return captions.CaptionRow(clip, told.answer or told.text, ask.sample.captions or ())
    if task in ("arig", "ssl"):
        return box_row(ask, told)
    return semantic_row(ask, told) if task == "avss" else mask_row(ask, told)


def _text(task: str, ask: Ask, told: Prediction) -> Any:
    """What the published scorers of texts read; a prediction without a text is written as one."""
    clip = ask.sample.file
    if ask.asked is not None:
        written = told.text if "<answer>" in told.text else f"<answer>{told.answer}</answer>" if told.answer else ""
        return published.AnswerText(clip, written, ask.asked.answer)
    true = next(event for event in ask.sample.events or () if event.track == "both")
    ranges = "".join(f"<range>{event.start_s:.0f},{event.end_s:.0f}</range>" for event in told.events)
    written = f"<event>{told.events[0].label}</event>{ranges}" if told.events and not told.text else told.text
    return published.EventText(clip, written, true.label, round(true.start_s), round(true.end_s))


def _answers(scored: Scored) -> Iterator[Table]:
    majority = fit_majority((_kind(row), row.truth) for row in scored.rows)
    told = [replace(row, predicted=majority.answer(_kind(row))) for row in scored.rows]
    table = score_answers(scored.rows, {"majority": told}, "AVQA")
    lines = [*_named(table.lines)]
    if all(row.truth.strip().lower() in published.ANSWERS for row in scored.texts):
        try:
            lines.append(_line("all, published scorer", published.answer_accuracy, scored.texts))
        except UsageError as err:
            scored.notes.append(err.message)
    yield Table(table.title, tuple(lines))


def _named(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines of groups that have a name."""
    return tuple(line for line in lines if not line.name.endswith((" ", ", ")) and not line.name.startswith(", "))


def _kind(row: QaRow) -> str:
    """Within what the most frequent answer is looked for: the template, else the type."""
    return row.template or f"{row.modality}, {row.type}"


def _localization(scored: Scored) -> Iterator[Table]:
    table = score_localization(scored.rows, _without_senses(scored), "AVE")
    known = {label_key(name) for name in published.AVE_CLASSES}
    if not all(label_key(row.label) in known and seconds == 10 for row, seconds in _with_seconds(scored)):
        yield table
        return
    line = _line("per-second accuracy, published scorer", published.event_accuracy, scored.texts)
    yield Table(table.title, (*table.lines, line))


def _with_seconds(scored: Scored) -> Iterator[tuple[published.EventText, int]]:
    return zip(scored.texts, (row.seconds for row in scored.rows), strict=True)


def _parsing(scored: Scored) -> Iterator[Table]:
    yield score_parsing(scored.rows, _without_senses(scored), "AVVP")


def _without_senses(scored: Scored) -> Mapping[str, Sequence[EventRow]]:
    return {"whole clip": whole_clip(scored.rows), "nothing": nothing(scored.rows)}


def _options(scored: Scored) -> Iterator[Table]:
    majority = fit_majority((_kind(row), row.truth) for row in scored.rows)
    told = [replace(row, predicted=majority.answer(_kind(row))) for row in scored.rows]
    table = score_answers(scored.rows, {"majority": told}, "AVQA with options")
    yield Table(table.title, _named(table.lines))


def _classes(scored: Scored) -> Iterator[Table]:
    metrics: Metrics = {"accuracy": classes.accuracy, "mean recall of classes": classes.mean_recall}
    yield Table(scored.task.capitalize(), _lines(metrics, scored.rows, {"majority": classes.majority(scored.rows)}))


def _matches(scored: Scored) -> Iterator[Table]:
    metrics: Metrics = {"accuracy": classes.accuracy}
    yield Table(scored.task.upper(), _lines(metrics, scored.rows, {"majority": classes.majority(scored.rows)}))


def _dense(scored: Scored) -> Iterator[Table]:
    metrics: Metrics = {
        "per-second F1": partial(parsing.segment_f1, track="both"),
        "F of events at IoU 0.5, mean over clips": partial(parsing.video_f, aspect="both", level="event"),
        "F of seconds, mean over clips": partial(parsing.video_f, aspect="both", level="segment"),
    }
    yield Table("UnAV", _lines(metrics, scored.rows, _without_senses(scored)))


def _captions(scored: Scored) -> Iterator[Table]:
    lines = [_line("CIDEr-D", captions.cider, scored.rows)]
    try:
        lines.append(_line("BLEU-4", captions.bleu, scored.rows))
    except MissingExtra as err:
        scored.notes.append(f"{err.message}; {err.hint}")
    yield Table("Captions", tuple(lines))


def _boxes(scored: Scored) -> Iterator[Table]:
    metrics: Metrics = {
        "cIoU >= 0.5": boxes.success_rate,
        "AUC": boxes.area_under_curve,
        "pointing game": boxes.pointing,
        "class-aware cIoU >= 0.5": boxes.class_aware_rate,
        "box IoU": boxes.mean_iou,
    }
    silent = [replace(row, predicted=()) for row in scored.rows]
    yield Table(scored.task.upper(), _lines(metrics, scored.rows, {"nothing": silent}))


MASKS: Metrics = MappingProxyType(
    {
        "mIoU": masks.mean_iou,
        "mIoU, an empty truth all or nothing": partial(masks.mean_iou, strict=True),
        "F, best of 255 per frame (Crab)": masks.frame_f,
        "F, best of 255 per clip (AVSBench)": masks.video_f,
        "F at 0.5": masks.binary_f,
    }
)


def _masks(scored: Scored) -> Iterator[Table]:
    rows = _failed(scored)
    left_out = _left_out(scored, range(len(rows)), "mIoU")
    yield Table(scored.task.upper(), (*_lines(MASKS, rows, _trivial(rows)), *left_out))


def _failed(scored: Scored) -> Sequence[masks.MaskRow]:
    """The rows, in which a text that cannot be read is wrong; how many there are is told."""
    if not scored.is_placed:
        return scored.rows
    if count := sum(not one.is_read for one in scored.told):
        scored.notes.append(f"{count} of {len(scored.told)} texts tell no place that can be read and count as wrong")
    return unread.failed(scored.rows, scored.told)


def _left_out(scored: Scored, numbers: Sequence[int], name: str) -> tuple[Line, ...]:
    """What Crab+'s published scorer gives: the mean over the samples whose texts it can read."""
    kept = [scored.rows[number] for number in numbers if scored.told[number].is_kept] if scored.is_placed else []
    if scored.is_placed and numbers and not kept:
        scored.notes.append("Crab+'s published scorer leaves all of them out: no score with unread texts left out")
    metrics: Metrics = {
        f"{name}, unread left out (Crab+)": partial(masks.mean_iou, strict=True),
        "F at 0.5, unread left out (Crab+)": masks.binary_f,
    }
    return _lines(metrics, kept) if kept else ()


def _trivial(rows: Sequence[masks.MaskRow]) -> Mapping[str, Sequence[masks.MaskRow]]:
    return {"everything": [masks.everything(row) for row in rows], "nothing": [masks.nothing(row) for row in rows]}


def _semantic(scored: Scored) -> Iterator[Table]:
    over: Mapping[semantic.Over, str] = {
        "published": "all 71 classes",
        "no_background": "70 classes without background",
        "published_no_background": "published noBg, which drops the last class",
        "present": "classes that occur",
        "present_no_background": "classes that occur, without background",
    }
    measures: Mapping[semantic.Measure, str] = {"iou": "mIoU", "f": "F"}
    metrics: Metrics = {
        f"{name}, {words}": partial(semantic.over_classes, what=what, over=which)
        for what, name in measures.items()
        for which, words in over.items()
    }
    yield Table("AVSS", _lines(metrics, scored.rows))


def _referred(scored: Scored) -> Iterator[Table]:
    """J and F where an expression means something, S where it means nothing; a table a split if there are several."""
    rows = _failed(scored)
    for split in dict.fromkeys(scored.splits):
        numbers = [number for number, other in enumerate(scored.splits) if other == split]
        chosen = [rows[number] for number in numbers]
        meant, null = [row for row in chosen if row.true], [row for row in chosen if not row.true]
        lines = (
            [replace(line, name=line.name.replace("mIoU", "J")) for line in _lines(MASKS, meant, _trivial(meant))]
            if meant
            else []
        )
        lines += _left_out(scored, [number for number in numbers if rows[number].true], "J")
        if null:
            lines.append(_line("S on null, root of told / all (Crab), lower is better", masks.null_size, null))
        if any(row.told < row.pixels for row in null):
            lines.append(_line("S on null, root of told / rest (Crab+), lower is better", masks.null_ratio, null))
        yield Table(f"Ref-AVS {split}".strip(), tuple(lines))


_TABLES: Mapping[str, Callable[[Scored], Iterator[Table]]] = MappingProxyType(
    {
        "avqa": _answers,
        "avqa-options": _options,
        "emotion": _classes,
        "action": _classes,
        "a2v": _matches,
        "v2a": _matches,
        "unav": _dense,
        "ave": _localization,
        "avvp": _parsing,
        "avcap": _captions,
        "arig": _boxes,
        "ssl": _boxes,
        "s4": _masks,
        "ms3": _masks,
        "avss": _semantic,
        "ref-avs": _referred,
    }
)


def _lines(
    metrics: Metrics, rows: Sequence[Any], baselines: Mapping[str, Sequence[Any]] = MappingProxyType({})
) -> tuple[Line, ...]:
    return tuple(_line(name, metric, rows, baselines) for name, metric in metrics.items())


def _line(
    name: str,
    metric: Callable[[Sequence[Any]], Counts],
    rows: Sequence[Any],
    baselines: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> Line:
    return Line(name, score(metric(rows)), {key: score(metric(others)) for key, others in baselines.items()})


def _beside_paper(task: str, line: Line) -> Line:
    return replace(line, paper=PAPER.get((task, line.name)))
