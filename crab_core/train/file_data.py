"""Data files of a run become lessons; everything wrong with them is told before a model is loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crab_core.data.convert import convert
from crab_core.data.lines import BadLine, read_samples
from crab_core.data.places import inside
from crab_core.data.sample import Sample
from crab_core.errors import ConfigError, CrabError, InputError, UsageError
from crab_core.progress import Listener, Note, ignore
from crab_core.train.lessons import TAUGHT, Lesson, counted, lessons_of
from crab_core.train.settings import FileData

MOST_TOLD = 8
SecondsOf = Callable[[str, float], float]


def read_lessons(
    data: FileData, tasks: Mapping[str, float], canvas_px: int, most: int, second_s: SecondsOf
) -> list[Lesson]:
    """The lessons of all files for these tasks, all that can be taught if none is named.

    `second_s(task, seconds)` is how long one of the network's seconds is for a clip of that length. Raises ConfigError
    for wrong lines and paths that leave the data root, InputError for a file that cannot be read, UsageError for a task
    without a lesson.
    """
    found: list[Lesson] = []
    mistakes: list[str] = []
    wanted = tuple(tasks) or TAUGHT
    for path, root, sample in _samples(data):
        try:
            if isinstance(sample, BadLine):
                raise ValueError(f"line {sample.line}: {'; '.join(sample.mistakes)}")
            if data.split and sample.split != data.split:
                continue
            _check_places(sample, root)
            made = [one for one in wanted if tasks.get(one, 1.0) > 0]
            found += lessons_of(_in_model_seconds(sample, second_s), root, made, canvas_px, most)
        except (ValueError, CrabError) as err:
            mistakes.append(f"{path}: {err.message if isinstance(err, CrabError) else err}")
    if mistakes:
        more = [f"and {len(mistakes) - MOST_TOLD} more"] if len(mistakes) > MOST_TOLD else []
        raise ConfigError(str(_files(data)[0]), [*mistakes[:MOST_TOLD], *more])
    lacking = [one for one, weight in tasks.items() if weight > 0 and one not in counted(found)]
    if lacking or not found:
        kept = f" in split '{data.split}'" if data.split else ""
        files = ", ".join(f"'{one}'" for one in _files(data))
        raise UsageError(
            f"{files} has no sample for {', '.join(lacking) or 'any task'}{kept}",
            hint="Leave the task out of the stage's tasks, or see what each line holds: crab data check FILE",
        )
    return found


def note_lessons(lessons: Sequence[Lesson], on_progress: Listener = ignore) -> None:
    """Tells how much there is to learn from."""
    parts = ", ".join(f"{task} {count}" for task, count in counted(lessons).items())
    texts = sum(len(one.texts) for one in lessons)
    on_progress(Note(f"{texts} texts in {len(lessons)} rows: {parts}", seen=True))


def _files(data: FileData) -> list[Path]:
    return [*data.files, *data.av_uie.values()]


def _samples(data: FileData) -> Iterator[tuple[Path, Path, Sample | BadLine]]:
    for path in data.files:
        for one in read_samples(path):
            yield path, data.root or path.parent, one
    for task, path in data.av_uie.items():
        with tempfile.TemporaryDirectory() as parking:
            lines = Path(parking) / "lines.jsonl"
            done = convert(path, task, lines)
            for bad in done.problems:
                yield path, data.root or path.parent, bad
            for one in read_samples(lines):
                yield path, data.root or path.parent, one if isinstance(one, BadLine) else replace(one, tasks=(task,))


def _check_places(sample: Sample, root: Path) -> None:
    masks = [mask for frame in sample.frames or () for mask in frame.masks or ()]
    masks += [one.mask for one in sample.expressions or () if one.mask is not None]
    for name in (sample.file, sample.audio, *(mask.file for mask in masks)):
        if name is not None:
            try:
                inside(root, name)
            except InputError as err:
                raise ValueError(f"line {sample.line}: {err.message}") from err


def _in_model_seconds(sample: Sample, second_s: SecondsOf) -> Sample:
    """Events in the seconds that the network counts, where a long clip is sampled more sparsely."""
    if sample.seconds is None or not sample.events:
        return sample
    one = second_s("ave", sample.seconds)
    if one == 1.0:
        return sample
    events = tuple(replace(event, start_s=event.start_s / one, end_s=event.end_s / one) for event in sample.events)
    return replace(sample, events=events)
