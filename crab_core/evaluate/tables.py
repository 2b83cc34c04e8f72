"""Rows become tables: every score of a task with its interval, and the same score of each baseline beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from crab_core.evaluate import answers, localization, parsing
from crab_core.evaluate.bootstrap import Counts, score
from crab_core.evaluate.report import Line, Table
from crab_core.evaluate.rows import EventRow, QaRow, check_pairs
from crab_core.types import Track

R = TypeVar("R", QaRow, EventRow)
Metric = Callable[[Sequence[R]], Counts]
TRACKS: tuple[Track, ...] = ("audio", "visual")


def score_answers(rows: Sequence[QaRow], baselines: Mapping[str, Sequence[QaRow]], title: str = "AVQA") -> Table:
    """Accuracy over all questions, per type, modality, both, and template.

    `baselines` holds other answers to the same questions by name, for example `{"majority": ..., "blind": ...}`.
    Raises UsageError if there are no rows or a baseline answers other questions.
    """
    _check(rows, baselines)
    lines = []
    for name, numbers in answers.groups(rows).items():
        mine = [rows[number] for number in numbers]
        others = {key: [value[number] for number in numbers] for key, value in baselines.items()}
        lines.append(_line(name, answers.accuracy, mine, others))
    return Table(title, tuple(lines))


def score_localization(
    rows: Sequence[EventRow], baselines: Mapping[str, Sequence[EventRow]], title: str = "AVE"
) -> Table:
    """Class accuracy, per-second accuracy and the share of clips that are right in every second.

    Raises UsageError as `score_answers` does.
    """
    metrics: dict[str, Metric[EventRow]] = {
        "event class": localization.class_accuracy,
        "per-second accuracy": localization.second_accuracy,
        "class, start and end exact": localization.exact_rate,
    }
    return _table(title, metrics, rows, baselines)


def score_parsing(rows: Sequence[EventRow], baselines: Mapping[str, Sequence[EventRow]], title: str = "AVVP") -> Table:
    """Per-second F1 of each track over all clips, the official per-video F, and the share of lists that are exact.

    Raises UsageError as `score_answers` does.
    """
    metrics: dict[str, Metric[EventRow]] = {}
    for track in TRACKS:
        metrics[f"{track}: per-second F1"] = partial(parsing.segment_f1, track=track)
        metrics[f"{track}: whole list exact"] = partial(parsing.exact_rate, track=track)
    levels: tuple[parsing.Level, ...] = ("segment", "event")
    aspects: tuple[parsing.Aspect, ...] = ("audio", "visual", "both", "type", "event")
    shown = {"both": "audio-visual", "type": "Type@AV", "event": "Event@AV"}
    for level in levels:
        for aspect in aspects:
            name = f"{shown.get(aspect, aspect)}: official F, {level} level"
            metrics[name] = partial(parsing.video_f, aspect=aspect, level=level)
    return _table(title, metrics, rows, baselines)


def _table(
    title: str,
    metrics: Mapping[str, Metric[EventRow]],
    rows: Sequence[EventRow],
    baselines: Mapping[str, Sequence[EventRow]],
) -> Table:
    _check(rows, baselines)
    return Table(title, tuple(_line(name, metric, rows, baselines) for name, metric in metrics.items()))


def _line(name: str, metric: Metric[R], rows: Sequence[R], baselines: Mapping[str, Sequence[R]]) -> Line:
    return Line(name, score(metric(rows)), {key: score(metric(others)) for key, others in baselines.items()})


def _check(rows: Sequence[R], baselines: Mapping[str, Sequence[R]]) -> None:
    for others in baselines.values():
        check_pairs(rows, others)
