"""Many clips from the command line: what is asked of a folder, a list or a table, and what is said meanwhile."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from crab_cli.bars import bars
from crab_cli.files import Target, writers_of
from crab_cli.output import Output, event_row, table
from crab_core.errors import UsageError
from crab_core.types import Failure, Request, Result

if TYPE_CHECKING:
    from crab_core.batch.plan import Item, Plan
    from crab_core.batch.run import Summary
    from crab_core.batch.worker import WorkerSpec

STDIN = "-"


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The options that only many clips have."""

    glob: str | None = None
    fail_fast: bool = False
    retry_failed: bool = False
    overwrite: bool = False
    full_hash: bool = False
    workers: int = 1
    shard: str | None = None
    engine: str = "local"
    address: str | None = None
    gpus_per_worker: float | None = None

    def refuse_single(self, clip: Path) -> None:
        """Raise UsageError if one of them was given for a single clip; replacing files is for one clip too."""
        for name, value in asdict(self).items():
            if name != "overwrite" and value != getattr(BatchOptions(), name):
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} is for many clips, got '{clip}'", hint="Give a folder, a list or a table.")


def is_many(source: Path) -> bool:
    """True for a folder, a list or table by its suffix, and `-`, which is a list on stdin."""
    from crab_core.batch.manifest import LISTS, TABLES

    if str(source) == STDIN or source.suffix.lower() in (*LISTS, *TABLES):
        return True
    try:
        return source.is_dir()
    except OSError:
        return False


def infer_many(
    source: Path,
    asked: Request,
    spec: WorkerSpec,
    options: BatchOptions,
    out: Path | None,
    formats: Sequence[str] | None,
    output: Output,
) -> None:
    """Work a source off into the folder `out`; raises typer.Exit with 1 if some clips failed and 3 if all did."""
    from crab_core.batch.engine import EngineOptions, start_engine
    from crab_core.batch.journal import Journal
    from crab_core.batch.record import model_hash, write_run
    from crab_core.batch.run import Run, Settings
    from crab_core.registry import ENGINES, TASKS, lookup
    from crab_core.weights.folder import read_header

    if output.stats:
        raise UsageError(f"--stats is for one clip, got '{source}'", hint="Measure many with: crab bench")
    if out is None:
        raise UsageError(f"'{source}' is many clips, and no folder was given", hint="Say where to: --out DIR")
    lookup(ENGINES, options.engine, kind="engine")
    items = _sharded(plan_of(source, asked, options.glob, out, spec.model), options.shard, output)
    writers = writers_of(formats) if formats else []

    def save(item: Item, result: Result) -> None:
        for writer in writers:
            if writer.needs and writer.needs not in TASKS[result.task].load().produces:
                continue
            path = out / item.place / f"{result.task}{writer.suffix}"
            _make_folder(path.parent)
            Target(path, writer).write(result, item.request.clip)

    settings = Settings(options.fail_fast, options.retry_failed, options.overwrite, options.full_hash)
    engine = EngineOptions(options.workers, options.address, options.gpus_per_worker)
    stdout = None if sys.stdout.isatty() else sys.stdout  # bars put a stdout of their own in its place
    with closing(Journal(out)) as journal, bars(output) as listen, _stoppable():
        key_options = _key_options(spec, model_hash(spec.model))
        tell = _Teller(output, stdout)
        run = Run(items, journal, key_options, settings, save=save, tell=tell, note=output.note, listen=listen)
        arguments = {"source": str(source), **_asked(asked), **asdict(spec), **asdict(options)}
        try:
            run.work(lambda: start_engine(options.engine, spec, engine, listen))
        finally:
            write_run(out, arguments, spec.model, run.summary)
            _sum_up(run.summary, out, output)
            if tell.strange:
                output.note(f"pictures unlike those of the training in {tell.strange} results: see their 'notes'")
            if note := read_header(spec.model).note:  # of the model, which rows hold too
                output.note(note)
    if run.summary.exit_code:
        raise typer.Exit(run.summary.exit_code)


def plan_of(source: Path, asked: Request, glob: str | None, out: Path | None, model: Path | None = None) -> Plan:
    """The items of a folder, list or table, as far as the model of that folder, if one is named, can be asked.

    Raises UsageError for what cannot be asked, ModelError for what the model cannot be, InputError for no clips.
    """
    from crab_core.batch import manifest, plan
    from crab_core.engine.checks import check_able, task_of
    from crab_core.weights.folder import read_header

    header = None if model is None else read_header(model)

    def check(request: Request) -> None:
        task = task_of(request)
        if header is not None:
            check_able(header, task)

    if glob is not None and not source.is_dir():
        raise UsageError(f"--glob '{glob}' needs a folder, got '{source}'", hint="Leave --glob out.")
    if source.is_dir():
        check(replace(asked, clip=source / "clip.mp4"))
        return plan.of_folder(source, asked, glob=glob, leave_out=out)
    if source.suffix.lower() not in manifest.TABLES:
        check(asked)  # a list brings no questions: what is lacking is lacking for all
    if str(source) == STDIN:
        data = sys.stdin.buffer.read()
        return manifest.of_bytes(data, ".txt", asked, check, where="stdin", folder=Path())
    return manifest.of_file(source, asked, check)


def _sharded(plan: Plan, shard: str | None, output: Output) -> Sequence[Item]:
    from crab_core.batch.shard import shard_of

    for note in plan.notes:
        output.note(note)
    if shard is None:
        return plan.items
    share = shard_of(shard)
    items = share.of(plan.items)
    output.note(f"shard {share.index}/{share.count} has {len(items)} of {len(plan.items)} clips")
    return items


def _make_folder(folder: Path) -> None:
    from crab_core.errors import ResourceError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ResourceError(f"cannot make the folder '{folder}': {err.strerror}", hint="Choose another --out.") from err


def _key_options(spec: WorkerSpec, model: str) -> dict[str, object]:
    """What can change an answer; where it is computed and in which company cannot."""
    names = ("dtype", "quantize", "max_new_tokens", "temperature", "top_p", "seed")
    drawn = {} if spec.masks == "auto" and spec.sam2 is None else {"masks": spec.masks, "sam2": spec.sam2}
    return {"model": model, **{name: getattr(spec, name) for name in names}, **drawn}


def _asked(asked: Request) -> dict[str, Any]:
    """What was asked of every clip; how events are looked for only where it was said."""
    names = ["task", "question", "audio_path", "require_audio", "reasoning"]
    names += [name for name in ("window_s", "stride_s", "where", "at_s", "choices", "track_s") if getattr(asked, name)]
    return {name: getattr(asked, name) for name in names}


@dataclass(slots=True)
class _Teller:
    """A result as a line of stdout: JSON, or the clip's name and its answer or events, separated by tabs.

    `strange` counts those about pictures that are unlike the training's.
    """

    output: Output
    stdout: TextIO | None
    strange: int = 0

    def __call__(self, outcome: Result | Failure) -> None:
        from crab_core.engine.notes import STRANGE

        if isinstance(outcome, Failure):
            self.output.note(f"'{outcome.request.id}' failed ({outcome.stage}): {outcome.message}")
            return
        self.strange += any(told in note for told in STRANGE.values() for note in outcome.notes)
        if self.output.as_json:
            typer.echo(json.dumps(outcome.to_dict(), ensure_ascii=False), file=self.stdout)
            return
        rows = [(outcome.id, *event_row(event)) for event in outcome.events]
        answer = outcome.answer.text if outcome.answer is not None else ""
        for line in table((), rows or [(outcome.id, answer)], aligned=False):
            typer.echo(line, file=self.stdout)


def _sum_up(summary: Summary, out: Path, output: Output) -> None:
    failed = f", {summary.failed} failed: see '{out / 'errors.jsonl'}'" if summary.failed else ""
    rate = f", {summary.rate:.2f} clips/s" if summary.computed else ""
    output.note(f"{summary.done}/{summary.total} done in '{out}'{failed}{rate}")
    if summary.state == "interrupted":
        output.note("run the same command again to go on")


@contextmanager
def _stoppable() -> Iterator[None]:
    """A scheduler's SIGTERM ends a run as ctrl-c does: what is done is kept, and the exit code is 130."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
