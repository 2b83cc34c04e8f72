"""What a run is to do: the items of a folder, a list or a manifest, in a stable order, each with a name of its own.

An item's name (`Request.id`) is its path below the folder, with `/`. Names that are there twice get `#2`, `#3`.
`place` is where its files go below the output folder; names that differ only in case get places that differ in more.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from crab_core.batch.journal import ERRORS, RESULTS, RUN
from crab_core.errors import InputError
from crab_core.types import Request

_PICTURES = ("gif", "jpeg", "jpg", "png", "webp")
_SOUNDS = ("aac", "flac", "m4a", "mka", "mp3", "oga", "ogg", "opus", "wav", "wma")
_VIDEOS = (
    "3gp",
    "avi",
    "flv",
    "m2ts",
    "m4v",
    "mkv",
    "mov",
    "mp4",
    "mpeg",
    "mpg",
    "mts",
    "ogv",
    "ts",
    "vob",
    "webm",
    "wmv",
)
MEDIA = frozenset(f".{suffix}" for suffix in (*_PICTURES, *_SOUNDS, *_VIDEOS))
_TAKEN = (RESULTS, ERRORS, RUN)


@dataclass(frozen=True, slots=True)
class Item:
    """One request with its place below the output folder."""

    request: Request
    place: PurePosixPath

    @property
    def id(self) -> str:
        """The item's name, never empty."""
        return self.request.id or self.request.clip.name


@dataclass(frozen=True, slots=True)
class Plan:
    """The items of a run and what is odd about their source."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def of_folder(folder: Path, asked: Request, *, glob: str | None = None, leave_out: Path | None = None) -> Plan:
    """Every clip below a folder, sorted by name; `asked` says what is asked of each.

    Without `glob`, files whose suffix is that of a video, sound or picture; hidden ones are left out, so is the folder
    `leave_out`. A pattern without `/` is compared with the file's name, one with `/` with its path below the folder,
    where `*` also crosses folders. Links are followed, each folder once. Raises InputError if there is no clip.
    """
    notes: list[str] = []
    found = [path for path in _walk(folder, leave_out, notes) if _is_wanted(path.relative_to(folder), glob)]
    if not found:
        what = f"matches --glob '{glob}'" if glob else "is a video, a sound or a picture by its suffix"
        raise InputError(f"no file in '{folder}' {what}", hint="Choose the files by a pattern: --glob '*.mkv'")
    requests = [replace(asked, clip=path, id=path.relative_to(folder).as_posix()) for path in found]
    return Plan(placed(sorted(requests, key=lambda request: request.id or "")), tuple(notes))


def placed(requests: list[Request]) -> tuple[Item, ...]:
    """Items with names and places that no two share; the order of the requests decides who keeps the plain one."""
    names, places = _Names("#"), _Names("~")
    for name in _TAKEN:
        places.free(name)
    items = []
    for request in requests:
        name = names.free(request.id or request.clip.name)
        place = PurePosixPath(places.free(_inside(name), fold=True))
        items.append(Item(replace(request, id=name), place))
    return tuple(items)


class _Names:
    """Gives out names, none twice; `mark` stands before the number of those that were taken."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.given: dict[str, int] = {}  # name -> the highest number tried for it

    def free(self, name: str, *, fold: bool = False) -> str:
        """The name, or the name with the lowest number that makes it free; `fold` lets case make no difference."""
        tried, key = name, name.casefold() if fold else name
        number = self.given.get(key, 0) + 1
        while number > 1 and self._is_given(tried := f"{name}{self.mark}{number}", fold):
            number += 1
        self.given[key] = number
        self.given.setdefault(tried.casefold() if fold else tried, 1)
        return tried

    def _is_given(self, name: str, fold: bool) -> bool:
        return (name.casefold() if fold else name) in self.given


def _walk(folder: Path, leave_out: Path | None, notes: list[str]) -> Iterator[Path]:
    """Every file that is not hidden; a folder that a link leads back to is not entered again."""
    seen: set[tuple[int, int]] = set()
    out = leave_out.resolve() if leave_out is not None else None

    def cannot(err: OSError) -> None:
        notes.append(f"cannot list '{err.filename}': {err.strerror}")

    for top, folders, files in os.walk(folder, followlinks=True, onerror=cannot):
        try:
            facts = Path(top).stat()
        except OSError as err:
            cannot(err)
            continue
        if (facts.st_dev, facts.st_ino) in seen or (out is not None and Path(top).resolve() == out):
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(top, name) for name in files if not name.startswith("."))


def _is_wanted(path: Path, glob: str | None) -> bool:
    if glob is None:
        return path.suffix.lower() in MEDIA
    whole = path.as_posix() if "/" in glob else path.name
    return fnmatch.fnmatchcase(whole, glob) or fnmatch.fnmatchcase(whole, glob.removeprefix("**/"))


def _inside(name: str) -> str:
    """The name as a relative path that stays below the output folder."""
    parts = [part for part in name.replace("\\", "/").replace("\0", "").split("/") if part not in ("", ".", "..")]
    return "/".join(part.rstrip(" .") or "_" for part in parts) or "_"
