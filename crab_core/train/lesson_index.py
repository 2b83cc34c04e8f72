"""The lessons of annotated files by number: where each stands, and not what it says, so that a file may be of any size.

A lesson is read from its line when it is asked for. What is kept of each takes some 25 bytes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crab_core.data.lines import BadLine, Located, object_at, sample_of
from crab_core.data.sample import Sample
from crab_core.errors import InputError
from crab_core.train.lessons import MASK_TASKS, Lesson, lessons_of

SecondsOf = Callable[[str, float], float]


@dataclass(frozen=True)
class Source:
    """A file as it is named, the JSON lines that hold its samples, and where its media are.

    Its lines are for `task` alone, if one is named.
    """

    path: Path
    lines: Path
    root: Path
    task: str = ""


@dataclass(frozen=True, slots=True)
class Teaching:
    """How a line becomes lessons: of these tasks, at most `most` texts each, boxes in `canvas_px`ths.

    `second_s(task, seconds)` is how long one of the network's seconds is for a clip of that length.
    """

    tasks: tuple[str, ...]
    canvas_px: int
    most: int
    second_s: SecondsOf

    def lessons(self, sample: Sample, source: Source) -> list[Lesson]:
        """The lessons of a line, always in the same order; raises ValueError for boxes in an unknown frame."""
        own = replace(sample, tasks=(source.task,)) if source.task else sample
        timed = _in_model_seconds(own, self.second_s)
        return list(lessons_of(timed, source.root, self.tasks, self.canvas_px, self.most))


@dataclass
class LessonIndex:
    """Lessons by number, in the order of the files and lines.

    `texts` counts all of their texts, `clips` the files of media, `letters_in_all` is about how long the texts are.
    `mute` is the first text for a mask that is without words, by its name and its task.
    """

    teaching: Teaching
    texts: int = 0
    letters_in_all: int = 0
    mute: tuple[str, str] | None = None
    sources: list[Source] = field(default_factory=list)
    _source: array[int] = field(default_factory=lambda: array("H"), repr=False)
    _offset: array[int] = field(default_factory=lambda: array("q"), repr=False)
    _line: array[int] = field(default_factory=lambda: array("q"), repr=False)
    _nth: array[int] = field(default_factory=lambda: array("I"), repr=False)
    _task: array[int] = field(default_factory=lambda: array("B"), repr=False)
    _letters: array[int] = field(default_factory=lambda: array("I"), repr=False)
    _clip: array[int] = field(default_factory=lambda: array("Q"), repr=False)

    def add(self, sample: Sample, source: Source, offset: int) -> None:
        """Puts the lessons of a line that begins at a byte behind the others; raises what making them raises."""
        if not self.sources or self.sources[-1] is not source:
            self.sources.append(source)
        for nth, lesson in enumerate(self.teaching.lessons(sample, source)):
            self._source.append(len(self.sources) - 1)
            self._offset.append(offset)
            self._line.append(sample.line)
            self._nth.append(nth)
            self._task.append(self.teaching.tasks.index(lesson.task))
            self._letters.append(min(lesson.letters, 0xFFFFFFFF))
            self._clip.append(_signature(lesson.file))
            self.texts += len(lesson.texts)
            self.letters_in_all += lesson.letters
            if lesson.task in MASK_TASKS and self.mute is None:
                self.mute = next(((text.id, lesson.task) for text in lesson.texts if not text.target), None)

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, number: int) -> Lesson:
        """A lesson, read from its line; raises InputError if the file has changed since it was read first."""
        source = self.sources[self._source[number]]
        try:
            found = sample_of(_located(object_at(source.lines, self._offset[number], self._line[number])))
            assert isinstance(found, Sample)
            lesson = self.teaching.lessons(found, source)[self._nth[number]]
        except (ValueError, IndexError) as err:
            raise _changed(source, self._line[number]) from err
        if lesson.task != self.teaching.tasks[self._task[number]] or _signature(lesson.file) != self._clip[number]:
            raise _changed(source, self._line[number])
        return lesson

    def places(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """The numbers of each task's lessons, for tasks that have any, in the order of their first lessons."""
        tasks = np.frombuffer(self._task, np.uint8) if len(self) else np.zeros(0, np.uint8)
        numbers, first = np.unique(tasks, return_index=True)
        return {self.teaching.tasks[numbers[at]]: np.flatnonzero(tasks == numbers[at]) for at in np.argsort(first)}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many lessons each task has."""
        return {task: len(found) for task, found in self.places().items()}

    @property
    def letters(self) -> npt.NDArray[np.int64]:
        """About how long each lesson's texts are."""
        return np.array(self._letters, np.int64)

    @property
    def clips(self) -> int:
        """How many files of media there are."""
        return len(np.unique(np.frombuffer(self._clip, np.uint64))) if len(self) else 0


def _in_model_seconds(sample: Sample, second_s: SecondsOf) -> Sample:
    """Events in the seconds that the network counts, where a long clip is sampled more sparsely."""
    if sample.seconds is None or not sample.events:
        return sample
    one = second_s("ave", sample.seconds)
    if one == 1.0:
        return sample
    events = tuple(replace(event, start_s=event.start_s / one, end_s=event.end_s / one) for event in sample.events)
    return replace(sample, events=events)


def _located(found: Located | BadLine) -> Located:
    if isinstance(found, BadLine):
        raise ValueError(found.mistakes[0])
    return found


def _signature(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _changed(source: Source, line: int) -> InputError:
    return InputError(
        f"'{source.path}' has changed since the run began, at line {line}", hint="Bring the file back, and go on."
    )
