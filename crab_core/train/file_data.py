"""Data files of a run become lessons; everything wrong with them is told before a model is loaded."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crab_core.data.convert import convert
from crab_core.data.lines import BadLine, Located, read_objects, sample_of
from crab_core.data.places import inside
from crab_core.data.sample import Sample
from crab_core.errors import ConfigError, CrabError, InputError, UsageError
from crab_core.progress import Listener, Note, ignore
from crab_core.train.lesson_index import LessonIndex, SecondsOf, Source, Teaching
from crab_core.train.lessons import TAUGHT
from crab_core.train.settings import FileData

MOST_TOLD = 8


def read_lessons(
    data: FileData,
    tasks: Mapping[str, float],
    canvas_px: int,
    most: int,
    second_s: SecondsOf,
    taught: Sequence[str] = TAUGHT,
) -> LessonIndex:
    """The lessons of all files for these tasks, all that are `taught` if none is named.

    `second_s(task, seconds)` is how long one of the network's seconds is for a clip of that length. Raises ConfigError
    for wrong lines and paths that leave the data root, InputError for a file that cannot be read, UsageError for a task
    without a lesson.
    """
    made = tuple(task for task in (tuple(tasks) or taught) if tasks.get(task, 1.0) > 0)
    index, mistakes = LessonIndex(Teaching(made, canvas_px, most, second_s)), _Mistakes()
    for source, problems in _sources(data):
        for bad in problems:
            mistakes.add(source, bad)
        for found in read_objects(source.lines):
            sample = sample_of(found)
            try:
                if isinstance(sample, BadLine):
                    mistakes.add(source, sample)
                elif not data.split or sample.split == data.split:
                    _check_places(sample, source.root)
                    assert isinstance(found, Located)
                    index.add(sample, source, found.offset)
            except (ValueError, CrabError) as err:
                mistakes.tell(f"{source.path}: {err.message if isinstance(err, CrabError) else err}")
    mistakes.end(str(_files(data)[0]))
    lacking = [one for one, weight in tasks.items() if weight > 0 and one not in index.counts]
    if lacking or not len(index):
        kept = f" in split '{data.split}'" if data.split else ""
        files = ", ".join(f"'{one}'" for one in _files(data))
        raise UsageError(
            f"{files} has no sample for {', '.join(lacking) or 'any task'}{kept}",
            hint="Leave the task out of the stage's tasks, or see what each line holds: crab data check FILE",
        )
    return index


def note_lessons(lessons: LessonIndex, on_progress: Listener = ignore) -> None:
    """Tells how much there is to learn from."""
    parts = ", ".join(f"{task} {count}" for task, count in lessons.counts.items())
    on_progress(Note(f"{lessons.texts} texts in {len(lessons)} rows: {parts}", seen=True))


@dataclass
class _Mistakes:
    """The first mistakes, and how many more there are."""

    first: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, source: Source, bad: BadLine) -> None:
        self.tell(f"{source.path}: line {bad.line}: {'; '.join(bad.mistakes)}")

    def tell(self, mistake: str) -> None:
        if len(self.first) < MOST_TOLD:
            self.first.append(mistake)
        else:
            self.more += 1

    def end(self, file: str) -> None:
        """Raises ConfigError if there was any."""
        if self.first:
            raise ConfigError(file, [*self.first, *([f"and {self.more} more"] if self.more else [])])


def _files(data: FileData) -> list[Path]:
    return [*data.files, *data.av_uie.values()]


def _sources(data: FileData) -> Iterator[tuple[Source, tuple[BadLine, ...]]]:
    """Each file, with what is wrong with records of AV-UIE, which become lines in a folder that goes with the lines."""
    for path in data.files:
        yield Source(path, path, data.root or path.parent), ()
    for task, path in data.av_uie.items():
        parking = tempfile.TemporaryDirectory(prefix="crab-lines-")
        lines = Path(parking.name) / "lines.jsonl"
        done = convert(path, task, lines)
        source = Source(path, lines, data.root or path.parent, task)
        weakref.finalize(source, parking.cleanup)
        yield source, done.problems


def _check_places(sample: Sample, root: Path) -> None:
    masks = [mask for frame in sample.frames or () for mask in frame.masks or ()]
    masks += [one.mask for one in sample.expressions or () if one.mask is not None]
    maps = [frame.classes for frame in sample.frames or ()]
    for name in (sample.file, sample.audio, *(mask.file for mask in masks), *maps):
        if name is not None:
            try:
                inside(root, name)
            except InputError as err:
                raise ValueError(f"line {sample.line}: {err.message}") from err
