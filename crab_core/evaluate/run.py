"""A data file and a source of predictions become a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.data.lines import BadLine, read_samples
from crab_core.data.places import inside
from crab_core.data.sample import Sample
from crab_core.errors import ConfigError, InputError, UsageError
from crab_core.evaluate.asks import EVAL_TASKS, Ask, asks
from crab_core.evaluate.journal import Journal
from crab_core.evaluate.predictions import Prediction, Source, check_found, of_result
from crab_core.evaluate.protocols import Scored
from crab_core.evaluate.report import Report
from crab_core.progress import Listener, Note, Progress, ignore
from crab_core.registry import suggest
from crab_core.types import Request, Result

if TYPE_CHECKING:
    from crab_core.engine.session import Model, Seen

_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The tables, and what the user should know about them."""

    report: Report
    notes: tuple[str, ...]


def evaluate(
    task: str, data: Path, source: Source, root: Path, *, split: str = "", on_progress: Listener = ignore
) -> Evaluated:
    """The scores of a task on a data file; `split` keeps the lines of one split.

    Raises UsageError for a task that cannot be scored, for data without a sample of the task, or if no prediction
    belongs to the data; ConfigError for wrong lines; InputError for files that cannot be read.
    """
    check_task(task)
    scored, missing, clips, first = Scored(task), 0, set(), ""
    for done, ask in enumerate(_asks(task, data, root, split)):
        told = source.find(task, ask)
        scored.add(ask, told)
        missing += told is None
        clips.add(ask.sample.file)
        first = first or ask.own_id or ask.sample.id
        on_progress(Progress("eval", done + 1, 0, "samples"))
    if not scored.rows:
        kept = f" in split '{split}'" if split else ""
        raise UsageError(
            f"'{data}' has no sample for task '{task}'{kept}", hint=f"What each line holds: crab data check {data}"
        )
    check_found(source, len(scored.rows) - missing, len(scored.rows), first)
    about = list(source.notes())
    tables = scored.tables()
    facts = {"task": task, "data": str(data), "predictions": source.name, "samples": str(len(scored.rows))}
    facts |= {"clips": str(len(clips)), "without prediction": str(missing)} | ({"split": split} if split else {})
    notes = [*scored.notes, *about]
    if missing:
        notes.insert(0, f"{missing} of {len(scored.rows)} samples have no prediction and count as nothing told")
    return Evaluated(Report(f"{task} on {data.name}", facts, tables), tuple(notes))


def check_task(task: str) -> None:
    """Raises UsageError for a task without a scorer."""
    if task not in EVAL_TASKS:
        raise UsageError(f"task '{task}' has no scores", hint=suggest(task, list(EVAL_TASKS), kind="task"))


def _asks(task: str, data: Path, root: Path, split: str) -> Iterator[Ask]:
    bad: list[BadLine] = []
    for sample in read_samples(data):
        if isinstance(sample, BadLine):
            bad.append(sample)
        elif not bad and (not split or sample.split == split):
            yield from asks(task, sample, root)
    if bad:
        told = [f"line {one.line}: {'; '.join(one.mistakes)}" for one in bad[:_MOST_TOLD]]
        more = [f"and {len(bad) - _MOST_TOLD} more lines"] if len(bad) > _MOST_TOLD else []
        raise ConfigError(str(data), [*told, *more])


@dataclass
class ModelSource:
    """A model that is asked now. A clip that cannot be used has no prediction, which is told at the end.

    With a `journal` what was said before a kill is not asked again.
    """

    model: Model
    results: list[Result] = field(default_factory=list)
    on_progress: Listener = ignore
    journal: Journal | None = None
    _seen: tuple[tuple[str, str | None], Seen] | None = None
    _failed: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def find(self, task: str, ask: Ask) -> Prediction | None:
        """What the model says; None where the clip cannot be used. Raises what is no clip's fault."""
        from crab_core.engine.stopwatch import Stopwatch

        if self.journal is not None and (before := self.journal.find(ask)) is not None:
            self.results.append(before)
            return of_result(before)
        request = self._request(task, ask)
        try:
            result = self._look(ask.sample, request).answer(request, None, None, Stopwatch())
        except InputError as err:
            self._failed.append(f"'{ask.sample.file}': {err.message}")
            self.on_progress(Note(f"'{ask.sample.file}' cannot be used: {err.message}"))
            return None
        if self.journal is not None:
            self.journal.add(ask, result)
        self.results.append(result)
        return of_result(result)

    def notes(self) -> Iterator[str]:
        """Clips that could not be used, and what the model noted of most of them; raises InputError if none could."""
        if self._failed and not self.results:
            raise InputError(f"no clip could be used; the first: {self._failed[0]}", hint="Check --root.")
        for text in self._failed[:_MOST_TOLD]:
            yield f"{text}"
        noted = Counter(text for result in self.results for text in set(result.notes))
        for text, count in noted.most_common(_MOST_TOLD):
            if 2 * count > len(self.results):
                yield f"{count} of {len(self.results)} results: {text}"

    def _request(self, task: str, ask: Ask) -> Request:
        sample = ask.sample
        return Request(
            clip=inside(ask.root, sample.file),
            task=task,
            question=ask.question,
            audio_path=inside(ask.root, sample.audio) if sample.audio else None,
            id=ask.own_id or sample.id,
            at_s=() if ask.time_s is None else (ask.time_s,),
            choices=ask.choices(task),
        )

    def _look(self, sample: Sample, request: Request) -> Seen:
        """The clip, kept while the questions are about it."""
        from crab_core.engine.session import Seen

        if self._seen is None or self._seen[0] != (sample.file, sample.audio):
            self._seen = (sample.file, sample.audio), Seen(self.model, request)
        return self._seen[1]
