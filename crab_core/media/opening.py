"""Opening media files safely, and saying in the user's words what is wrong with one.

A name is always a file on this machine: never a protocol, a playlist on the network or a pattern of picture names.
"""

from __future__ import annotations

import difflib
import errno
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import av

from crab_core.errors import CrabError, InputError, ResourceError

# Text is not a clip, though FFmpeg can draw it as a video of a terminal.
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf", "artworx"})
OPTIONS: Mapping[str, str] = {"protocol_whitelist": "file", "pattern_type": "none"}


def shown(path: Path | str) -> str:
    """The name in quotes on one line: what does not print, such as a newline, is escaped."""
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path)) + "'"


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """The open container of a media file; whatever goes wrong inside the `with` is told as one of our errors.

    Raises InputError if the file is missing, a directory, empty, unreadable or not media, ResourceError if memory
    runs out.
    """
    check_file(path)
    with telling(path), av.open(f"file:{path}", options=dict(OPTIONS), metadata_errors="replace") as container:
        if container.format.name in _TEXT_FORMATS:
            raise _not_media(path)
        yield container


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Translate what PyAV and the system raise about a file into InputError and ResourceError."""
    try:
        yield
    except CrabError:
        raise
    except MemoryError as err:
        raise _out_of_memory(path) from err
    except av.error.PermissionError as err:
        raise _unreadable(path) from err
    except av.error.FFmpegError as err:
        if err.errno == errno.ENOMEM:
            raise _out_of_memory(path) from err
        raise _not_media(path) from err
    except (OSError, ValueError) as err:
        raise InputError(f"{shown(path)} cannot be read: {err}", hint=_look(path)) from err


def check_file(path: Path) -> None:
    """Check all that can be known without reading: raises InputError unless the path is a readable, non-empty file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as err:
        raise InputError(f"no such file {shown(path)}", hint=_near_name(path)) from err
    except PermissionError as err:
        raise _unreadable(path) from err
    except (OSError, ValueError) as err:  # a name that is too long, or has a zero byte
        why = getattr(err, "strerror", None) or err  # without the name, which stands before it already
        raise InputError(f"{shown(path)} is not a usable file name: {why}", hint="Give the path of a file.") from err
    if path.is_dir():
        raise InputError(f"{shown(path)} is a directory, not a clip", hint=f"Choose a file in it: ls {_shell(path)}")
    if not path.is_file():
        raise InputError(f"{shown(path)} is not a regular file", hint="Save the clip as a file first, and give that.")
    if not os.access(path, os.R_OK):
        raise _unreadable(path)
    if status.st_size == 0:
        raise InputError(f"{shown(path)} is empty (0 bytes)", hint="Download or copy it again.")


def _near_name(path: Path) -> str:
    """A hint with the file of the same folder whose name is nearest, or where to look."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"There is no directory {shown(path.parent)}: check the path."
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {shown(path.parent / near[0])}?" if near else f"See what is there: ls {_shell(path.parent)}"


def _not_media(path: Path) -> InputError:
    if _lacks_index(path):
        return InputError(
            f"{shown(path)} is cut off: its index, which MP4 files keep at their end, is missing",
            hint="Download or copy it again; a recording that was interrupted has to be made again.",
        )
    return InputError(f"{shown(path)} is not a video, a picture or a sound that can be read", hint=_look(path))


def _lacks_index(path: Path) -> bool:
    """True for the MP4 family (its first box is `ftyp`): such a file fails to open when its `moov` box is missing."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == b"ftyp"
    except OSError:
        return False


def _unreadable(path: Path) -> InputError:
    return InputError(f"{shown(path)} may not be read (permission denied)", hint=f"Allow it: chmod u+r {_shell(path)}")


def _out_of_memory(path: Path) -> ResourceError:
    return ResourceError(
        f"memory ran out while decoding {shown(path)}",
        hint="Close other programs, or make the pictures smaller: ffmpeg -i IN -vf scale=1280:-2 OUT.mp4",
    )


def _look(path: Path) -> str:
    return f"See what it is: file {_shell(path)}"


def _shell(path: Path) -> str:
    """The path as a shell takes it, on one line."""
    text = str(path)
    return shlex.quote(text) if text.isprintable() else "$" + shown(path)
