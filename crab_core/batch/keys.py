"""What makes a piece of work the same work: the clip's content and everything that can change its answer.

A key has two parts. The first 24 letters hash the content of the clip (and of a sound file beside it), the task, the
question and the options; the 16 after the dash hash the item's name. Renaming the folder changes neither, so nothing
is done again. A copy of a clip under another name has the first part of its original: its row is copied, not computed.

Content is the size and, for files up to 1 MiB, every byte; of larger files 16 pieces of 64 KiB, evenly spread from the
first byte to the last. That reads 1 MiB a file however long the clip. Two files of equal size that differ only between
the pieces look the same: where that can happen, `full=True` reads everything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from crab_core.registry import TASKS
from crab_core.types import Request

PIECES, PIECE_BYTES = 16, 64 << 10
WORK_LETTERS, NAME_LETTERS = 24, 16
CHUNK_BYTES = 1 << 20


class Key(NamedTuple):
    """`work` says what is computed, `name` for which item; as text `work-name`."""

    work: str
    name: str

    def __str__(self) -> str:
        return f"{self.work}-{self.name}"


def key_of(request: Request, options: Mapping[str, object], *, full: bool = False) -> Key:
    """The key of a request under options; reads the clip. Raises OSError if the clip cannot be read."""
    files = [path for path in (request.clip, request.audio_path) if path is not None]
    if compares(request.task):
        files += map(Path, request.choices)
    contents = [content(path, full=full) for path in files]
    return _key(contents, request, options)


def compares(task: str) -> bool:
    """True if the choices of a task of that name are files."""
    return task in TASKS and bool(TASKS[task].load().compares)


def unread_key_of(request: Request, options: Mapping[str, object]) -> Key:
    """The key of a request whose clip cannot be read: it holds until the clip can."""
    return _key(["unread", request.id or request.clip.name], request, options)


def name_of(item: str) -> str:
    """The second part of the keys of an item with that id."""
    return _hashed(item, NAME_LETTERS)


def content(path: Path, *, full: bool = False) -> str:
    """Size and hash of a file's content, of all of it or of pieces; raises OSError if it cannot be read."""
    hasher = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if full or size <= PIECES * PIECE_BYTES:
            while piece := file.read(CHUNK_BYTES):
                hasher.update(piece)
        else:
            for i in range(PIECES):
                file.seek(i * (size - PIECE_BYTES) // (PIECES - 1))
                hasher.update(file.read(PIECE_BYTES))
    return f"{size}:{hasher.hexdigest()}"


def _key(contents: list[str], request: Request, options: Mapping[str, object]) -> Key:
    asked: list[object] = [request.task, request.question, request.require_audio, request.reasoning]
    if request.at_s or request.every_s != 1.0:  # named only where they differ, so that older folders are resumed
        asked += [request.at_s, request.every_s]
    if request.window_s is not None or request.stride_s is not None:
        asked += ["windows", request.window_s, request.stride_s]
    if request.where:
        asked += ["where"]
    if request.track_s is not None:
        asked += ["track", request.track_s]
    if request.choices:
        asked += ["choices", *([] if compares(request.task) else request.choices)]
    document = json.dumps([contents, asked, dict(sorted(options.items()))], default=str)
    return Key(_hashed(document, WORK_LETTERS), name_of(request.id or request.clip.name))


def _hashed(text: str, letters: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=letters // 2).hexdigest()
