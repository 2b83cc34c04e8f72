"""A run: the items that are not finished go to an engine, and what comes back is on disk before it is told.

Each item is claimed before it is computed, so that several runs share one output folder; one that another run works on
is looked at again at the end. A clip whose content was finished under another name is copied, not computed.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from crab_core.batch.engine import Engine
from crab_core.batch.journal import Journal, copied_row, error_row, result_row
from crab_core.batch.keys import Key, key_of, name_of, unread_key_of
from crab_core.batch.plan import Item
from crab_core.batch.worker import Chunk, Outcome
from crab_core.progress import Listener, Progress, ignore
from crab_core.types import Failure, Result

_READERS, _AHEAD = 4, 64  # threads that read contents for keys, and how many items they are ahead
_POLL_S = 0.3
Save = Callable[[Item, Result], None]
Tell = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run meets failures and what was there before it."""

    fail_fast: bool = False
    retry_failed: bool = False
    overwrite: bool = False
    full_hash: bool = False


@dataclass
class Summary:
    """How far a run came: of `total` items `done` have a result and `failed` have none; `resumed` were done before."""

    total: int
    done: int = 0
    failed: int = 0
    resumed: int = 0
    copied: int = 0
    computed: int = 0
    seconds: float = 0.0
    state: str = "running"
    stages_s: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 3 all failed."""
        return 0 if not self.failed else 1 if self.done else 3

    @property
    def rate(self) -> float:
        """Computed clips a second."""
        return self.computed / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Work:
    """An item with its key; `unread` says why its clip could not be read."""

    item: Item
    key: Key
    unread: str | None = None


class Run:
    """One run over a plan into a journal; `work` does it and returns the summary, which is right at any time."""

    def __init__(
        self,
        items: Sequence[Item],
        journal: Journal,
        options: Mapping[str, object],
        settings: Settings,
        *,
        save: Save = lambda item, result: None,
        tell: Tell = lambda outcome: None,
        note: Callable[[str], None] = lambda text: None,
        listen: Listener = ignore,
    ) -> None:
        self.items, self.journal, self.options, self.settings = items, journal, options, settings
        self.save, self.tell, self.note, self.listen = save, tell, note, listen
        self.summary = Summary(len(items))
        self._flying: dict[str, _Work] = {}  # id -> what is with the engine
        self._began = 0.0
        self._is_stopped = False

    def work(self, start: Callable[[], Engine]) -> Summary:
        """Do what is not done; `start` loads the model, and is called only if something is to be computed.

        Raises what `start` raises, ResourceError if the disk is full, KeyboardInterrupt; what is done stays done.
        """
        self._began = time.monotonic()
        try:
            taken = self._taken(self._resumed())
            for first in taken:  # the model is loaded once it is known that something is to be computed
                self._compute(start, itertools.chain([first], taken))
            self.summary.state = "stopped" if self._is_stopped else "finished"
        except KeyboardInterrupt:
            self.summary.state = "interrupted"
            raise
        except Exception as err:
            self.summary.state = f"ended by {type(err).__name__}"
            raise
        finally:
            self.summary.seconds = time.monotonic() - self._began
        return self.summary

    def _compute(self, start: Callable[[], Engine], taken: Iterable[_Work | None]) -> None:
        with closing(start()) as engine:
            self._began = time.monotonic()
            for outcomes in engine.work(self._grouped(taken, engine.batch)):
                self._record(outcomes)
                self.summary.seconds = time.monotonic() - self._began
                self._show()
                if self._is_stopped:
                    return

    def _resumed(self) -> Iterable[_Work]:
        """Every item with its key; if the folder was used before, what is finished is counted and told first."""
        if self.settings.overwrite:
            self.journal.clear()
        if self.journal.damaged:
            self.note(f"{self.journal.damaged} lines in '{self.journal.folder}' are no rows and were passed over")
        if self.settings.retry_failed:
            self.journal.drop_errors({name_of(item.id) for item in self.items})
        if not (self.journal.finished or self.journal.failed):
            return self._keyed()
        works = []
        for work in self._keyed():
            works.append(work)
            self.listen(Progress("check", len(works), len(self.items), "clips"))
        finished = sum(self.journal.is_finished(work.key) for work in works)
        self.note(f"resumed {finished}/{len(works)}")
        return works

    def _keyed(self) -> Iterator[_Work]:
        """Every item with its key, in order; threads read the contents ahead."""
        with ThreadPoolExecutor(_READERS, thread_name_prefix="key") as threads:
            ahead: deque[Future[_Work]] = deque()
            try:
                for item in self.items:
                    ahead.append(threads.submit(self._key, item))
                    if len(ahead) > _AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _key(self, item: Item) -> _Work:
        try:
            return _Work(item, key_of(item.request, self.options, full=self.settings.full_hash))
        except (OSError, ValueError) as err:
            why = getattr(err, "strerror", None) or str(err)
            return _Work(item, unread_key_of(item.request, self.options), why)

    def _taken(self, works: Iterable[_Work]) -> Iterator[_Work | None]:
        """What this run must compute, claimed; None where it can only wait for what others or the engine have."""
        waiting: list[_Work] = []
        for work in works:
            if self._is_stopped:
                return
            if self._is_mine(work, waiting):
                yield work
        while waiting and not self._is_stopped:
            again, waiting = waiting, []
            yield from (work for work in again if self._is_mine(work, waiting))
            if waiting:
                if not self._flying:
                    time.sleep(_POLL_S)
                yield None

    def _is_mine(self, work: _Work, waiting: list[_Work]) -> bool:
        """True if the work is to be computed here now; else it is counted, copied, or put with the waiting."""
        if self._is_known(work):
            return False
        if any(work.key.work == other.key.work for other in self._flying.values()):
            waiting.append(work)
            return False
        if not self.journal.locks.claim(work.key.work):
            waiting.append(work)
            return False
        self.journal.refresh()
        if not self._is_known(work) and not self._is_settled(work):
            self._flying[work.item.id] = work
            return True
        self.journal.locks.release(work.key.work)
        return False

    def _is_known(self, work: _Work) -> bool:
        """True, and counted, if the journal has the item's result or failure."""
        is_finished, is_failed = self.journal.is_finished(work.key), self.journal.is_failed(work.key)
        self.summary.done += is_finished
        self.summary.resumed += is_finished
        self.summary.failed += is_failed
        return is_finished or is_failed

    def _is_settled(self, work: _Work) -> bool:
        """True if the item needs no network: its clip cannot be read, or its content was answered before."""
        if work.unread is not None:
            message = f"cannot read '{work.item.request.clip}': {work.unread}"
            self._keep(work, Failure(work.item.request, "open", "InputError", message))
            return True
        row = self.journal.copy_of(work.key)
        if row is None:
            return False
        row = {**row, "id": work.item.id}
        result = Result.from_dict({"seconds": 0.0, **{name: value for name, value in row.items() if name != "key"}})
        self.save(work.item, result)
        self.journal.record([copied_row(work.key, row, work.item.id)])
        self.summary.done += 1
        self.summary.copied += 1
        self.tell(result)
        return True

    def _keep(self, work: _Work, failure: Failure) -> None:
        self.journal.record(errors=[error_row(work.key, failure)])
        self._count(failure)

    def _grouped(self, taken: Iterable[_Work | None], size: int) -> Iterator[Chunk]:
        """Requests in chunks; whatever is there goes when nothing more is."""
        chunk: list[_Work] = []
        for work in taken:
            if work is not None:
                chunk.append(work)
            if chunk and (work is None or len(chunk) == size):
                yield [one.item.request for one in chunk]
                chunk = []
            if work is None:
                yield []
        if chunk:
            yield [one.item.request for one in chunk]

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Write files, then rows, then tell; one wait for the disk for all of a chunk."""
        results, errors = [], []
        works = [self._flying[_id(outcome)] for outcome in outcomes]
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Result):
                self.save(work.item, outcome)
                results.append(result_row(work.key, outcome))
            else:
                errors.append(error_row(work.key, outcome))
        self.journal.record(results, errors)
        for work, outcome in zip(works, outcomes, strict=True):
            del self._flying[work.item.id]
            self.journal.locks.release(work.key.work)
            self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Result):
            self.summary.done += 1
            self.summary.computed += 1
            for stage, spent_s in outcome.timings_s.items():
                self.summary.stages_s[stage] = self.summary.stages_s.get(stage, 0.0) + spent_s
        else:
            self.summary.failed += 1
            self._is_stopped = self._is_stopped or self.settings.fail_fast
        self.tell(outcome)

    def _show(self) -> None:
        summary = self.summary
        words = f"{summary.rate:.1f}/s" + (f", {summary.failed} failed" if summary.failed else "")
        self.listen(Progress("infer", summary.done + summary.failed, summary.total, "clips", words))


def _id(outcome: Outcome) -> str:
    return outcome.id if isinstance(outcome, Result) else outcome.request.id or outcome.request.clip.name
