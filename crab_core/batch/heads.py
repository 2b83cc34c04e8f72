"""The heads of many clips: one row a clip and task in `heads.jsonl`, each on disk before the next answer begins.

Rows carry the keys of `batch/keys.py`, so that a run that was cut off goes on where it ended. What fails becomes a row
of `errors.jsonl` and is tried again by the next run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from crab_core.batch.journal import ERRORS, append, error_row, line, rows_of
from crab_core.batch.keys import Key, key_of, unread_key_of
from crab_core.batch.locks import Locks
from crab_core.engine.heads_row import HeadRow
from crab_core.engine.session import Model, Seen
from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import CrabError, ResourceError
from crab_core.files import replace_file
from crab_core.progress import Listener, Progress, ignore
from crab_core.types import Decoding, Failure, Request

ROWS = "heads.jsonl"


@dataclass(frozen=True, slots=True)
class HeadsSurvey:
    """What a run found: rows and failures in the order of the requests; `resumed` rows were there before."""

    rows: tuple[HeadRow, ...]
    failures: tuple[Failure, ...]
    resumed: int = 0


def survey(
    requests: Sequence[Request],
    out: Path,
    load: Callable[[], Model],
    options: Mapping[str, object],
    *,
    decoding: Callable[[Request], Decoding],
    ablate: bool = True,
    on_progress: Listener = ignore,
) -> HeadsSurvey:
    """Look at the heads for each request; requests about one clip stand together, so that it is read once.

    `options` are what can change a row beside the request; `load` is called only if something is to be computed.
    Raises ResourceError if the folder cannot be written, and what `load` raises; nothing for a bad clip.
    """
    keys = [_key(request, {**options, "ablate": ablate}) for request in requests]
    found: list[HeadRow | Failure] = []
    with closing(_alone(out)):
        known = _known(out / ROWS)
        run = _Run(out, load, decoding, ablate)
        for done, (request, key) in enumerate(zip(requests, keys, strict=True), start=1):
            found.append(known[str(key)] if str(key) in known else run.one(request, key))
            on_progress(Progress("heads", done, len(requests), "answers", request.id or request.clip.name))
        failures = [(key, one) for key, one in zip(keys, found, strict=True) if isinstance(one, Failure)]
        replace_file(out / ERRORS, b"".join(error_row(key, one) for key, one in failures))
    return HeadsSurvey(
        tuple(one for one in found if isinstance(one, HeadRow)),
        tuple(one for _, one in failures),
        sum(str(key) in known for key in keys),
    )


@dataclass
class _Run:
    """The model, loaded when first needed, and the clip that was looked at last."""

    out: Path
    load: Callable[[], Model]
    decoding: Callable[[Request], Decoding]
    ablate: bool
    model: Model | None = None
    seen: Seen | None = None

    def one(self, request: Request, key: Key) -> HeadRow | Failure:
        from crab_core.engine.heads import capture_heads
        from crab_core.engine.heads_row import head_row

        self.model, watch = self.model or self.load(), Stopwatch()
        seen = self.seen
        if seen is None or (seen.request.clip, seen.request.audio_path) != (request.clip, request.audio_path):
            seen = self.seen = Seen(self.model, request)
        seen.request = request
        try:
            row = head_row(capture_heads(seen, request, self.decoding(request), watch), ablate=self.ablate)
        except CrabError as err:
            return Failure(request, watch.stage, type(err).__name__, err.message)
        except Exception as err:  # the batch boundary: one clip's surprise must not cost the others
            return Failure(request, watch.stage, type(err).__name__, str(err) or type(err).__name__)
        append(self.out / ROWS, line({"key": str(key), **row.to_dict()}))
        return row


def _alone(out: Path) -> Locks:
    """The folder's locks; raises ResourceError if it cannot be written, or if another run is in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        locks = Locks(out)
    except OSError as err:
        raise ResourceError(f"cannot write into '{out}': {err.strerror}", hint="Choose another --out.") from err
    if not locks.alone():
        locks.close()
        raise ResourceError(f"another run is writing into '{out}'", hint="Let it end, or choose another --out.")
    return locks


def _known(path: Path) -> dict[str, HeadRow]:
    return dict(_read(path))


def _read(path: Path) -> Iterator[tuple[str, HeadRow]]:
    """Key and row of each line; lines that are no rows are passed over."""
    for _, text in rows_of(path):
        try:
            row = json.loads(text)
            yield row.pop("key"), HeadRow.from_dict(row)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _key(request: Request, options: Mapping[str, object]) -> Key:
    try:
        return key_of(request, options)
    except (OSError, ValueError):
        return unread_key_of(request, options)
