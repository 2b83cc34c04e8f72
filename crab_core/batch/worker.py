"""The one worker: loads the model once, takes requests and gives a `Result` or a `Failure` for each, raising nothing.

Engines only schedule it. Requests come in chunks; while the network is busy with one chunk, threads decode the next, so
that at most two chunks of clips are in memory, however many there are to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from crab_core.engine.session import Model, Seen, load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import CrabError, ModelError
from crab_core.progress import Listener, ignore
from crab_core.tasks._base import Task
from crab_core.types import Decoding, Failure, Request, Result

if TYPE_CHECKING:
    from crab_core.families._base import Generated

Outcome = Result | Failure
Chunk = Sequence[Request]  # what is computed together; an empty one says that no more comes for a while
BATCH = 8  # clips that are answered together where the answer does not depend on it


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that a worker must know; plain values, so that it can be sent to another machine.

    `max_new_tokens` None means what the task says. `batch` 0 chooses. `threads` 0 leaves torch's own number.
    """

    model: Path
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = "none"
    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    batch: int = 0
    decoders: int = 2
    threads: int = 0
    max_memory: str | None = None
    masks: str = "auto"
    sam2: Path | None = None
    draws: bool = False
    compiled: bool = False

    def load(self, on_progress: Listener = ignore) -> Model:
        """The model, ready to be asked; raises what `engine.session.load` raises."""
        return load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            max_memory=self.max_memory,
            masks=self.masks,
            sam2=self.sam2,
            draws=self.draws,
            compiled=self.compiled,
            on_progress=on_progress,
        )

    def decoding(self, task: Task) -> Decoding:
        """How an answer of a task is written."""
        return Decoding(self.max_new_tokens or task.max_new_tokens, self.temperature, self.top_p, self.seed)


@dataclass
class _Prepared:
    """A request on its way through the worker: decoded, or failed.

    One that is not `is_whole` is decoded piece by piece while it is answered, alone, so that memory holds few pieces.
    """

    request: Request
    watch: Stopwatch = field(default_factory=Stopwatch)
    seen: Seen | None = None
    task: Task | None = None
    is_whole: bool = True
    outcome: Outcome | None = None


class Worker:
    """A loaded model that works requests off."""

    def __init__(self, spec: WorkerSpec, on_progress: Listener = ignore) -> None:
        if spec.threads:
            import torch

            torch.set_num_threads(spec.threads)
        self.spec = spec
        self.model = spec.load(on_progress)
        self._seen: WeakValueDictionary[tuple[object, ...], Seen] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(max(1, spec.decoders), thread_name_prefix="decode")

    @property
    def batch(self) -> int:
        """How many clips are answered together.

        Rounding in half precision and in few bits depends on who is in the batch; there each clip is answered alone
        unless the user asks otherwise, so that a resumed run gives what an uninterrupted one does.
        """
        is_exact = self.model.is_exact and self.spec.temperature == 0
        return self.spec.batch or (BATCH if is_exact else 1)

    def work(self, chunks: Iterable[Chunk]) -> Iterator[list[Outcome]]:
        """The outcomes of each chunk, in order; a chunk is computed when the next was taken or an empty one came."""
        ahead: deque[list[Future[_Prepared]]] = deque()
        try:
            for chunk in chunks:
                if chunk:
                    ahead.append(self._submit(chunk))
                while ahead and (len(ahead) > 1 or not chunk):
                    yield self._compute(ahead.popleft())
            while ahead:
                yield self._compute(ahead.popleft())
        finally:
            for future in (future for futures in ahead for future in futures):
                future.cancel()

    def do(self, chunk: Chunk, alone: AbstractContextManager[object]) -> list[Outcome]:
        """The outcomes of one chunk, for callers with threads: decoded at once, computed inside `alone`."""
        futures = self._submit(chunk)
        wait(futures)
        with alone:
            return self._compute(futures)

    def close(self) -> None:
        """Let the decoding threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, chunk: Chunk) -> list[Future[_Prepared]]:
        return [self._threads.submit(self._prepare, request, self._seen_of(request)) for request in chunk]

    def _seen_of(self, request: Request) -> Seen:
        """The clip of a request; requests about one clip that are in memory together look at it once."""
        key = (request.clip, request.audio_path, request.require_audio)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = Seen(self.model, request)
        return seen

    def _prepare(self, request: Request, seen: Seen) -> _Prepared:
        """The request with its clip decoded; runs in a thread."""
        prepared = _Prepared(request)

        def decode() -> None:
            task, _ = seen.prompt(request, prepared.watch)
            prepared.is_whole = seen.is_whole(request, task, prepared.watch)
            if prepared.is_whole:
                seen.decode(task, prepared.watch)
            prepared.task, prepared.seen = task, seen

        _attempt(prepared, decode)
        return prepared

    def _compute(self, futures: list[Future[_Prepared]]) -> list[Outcome]:
        everyone = [future.result() for future in futures]
        for task in dict.fromkeys(one.task for one in everyone if one.task is not None):
            self._answer(task, [one for one in everyone if one.task is task])
        return [_outcome(one) for one in everyone]

    def _answer(self, task: Task, group: list[_Prepared]) -> None:
        """Answer the clips of one task together, or one by one if that fails, so that each failure is its own."""
        whole = [one for one in group if one.is_whole]
        for one in whole:
            _attempt(one, lambda one=one: one.seen.encode(task, one.watch))  # type: ignore[misc]
        whole = [one for one in whole if one.outcome is None]
        if len(whole) > 1:
            self._together(task, whole)
        for one in (one for one in group if one.outcome is None):
            _attempt(one, lambda one=one: self._alone(task, one))  # type: ignore[misc]

    def _together(self, task: Task, group: list[_Prepared]) -> None:
        """Answer all at once if the network can; the time it took is shared out evenly."""
        watch = Stopwatch()
        try:
            with watch("generate"):
                asked = [one.seen.prompt(one.request, one.watch)[1] for one in group if one.seen]
                encoded = [one.seen.encode(task, one.watch)[2] for one in group if one.seen]
                texts = self.model.network.generate_batch(encoded, asked, self.spec.decoding(task))
        except Exception:  # whose fault it is shows when each is asked alone
            return
        for one, text in zip(group, texts, strict=True):
            one.watch.spent_s["generate"] = watch.spent_s["generate"] / len(group)
            _attempt(one, lambda one=one, text=text: self._read(task, one, text))  # type: ignore[misc]

    def _alone(self, task: Task, one: _Prepared) -> None:
        assert one.seen is not None
        result = one.seen.answer(one.request, self.spec.decoding(task), None, one.watch)
        one.outcome = _spoken(result)

    def _read(self, task: Task, one: _Prepared, text: Generated) -> None:
        assert one.seen is not None
        one.outcome = _spoken(one.seen.read(one.request, task, text, self.spec.decoding(task), one.watch))


def _spoken(result: Result) -> Result:
    """The result, unless the model wrote nothing."""
    if not result.raw_text.strip():
        raise ModelError(f"model '{result.model}' wrote nothing about '{result.id}'")
    return result


def _attempt(one: _Prepared, step: Callable[[], object]) -> None:
    """Take a step; what goes wrong becomes the outcome, so that one clip's surprise does not cost the others."""
    try:
        step()
    except CrabError as err:
        one.outcome = Failure(one.request, one.watch.stage, type(err).__name__, err.message)
    except Exception as err:
        one.outcome = Failure(one.request, one.watch.stage, type(err).__name__, str(err) or type(err).__name__)


def _outcome(one: _Prepared) -> Outcome:
    assert one.outcome is not None
    return one.outcome
