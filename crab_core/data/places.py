"""Where the files of a data set are: names in an annotation file are relative to a root and never lead out of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from crab_core.errors import InputError


def inside(root: Path, name: str) -> Path:
    """The path of a name under the root, without asking whether it is there.

    An annotation file is untrusted: absolute names and such with `..` raise InputError. Links that the user made
    inside the root are followed.
    """
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise InputError(
            f"the path '{name}' leads out of the data root '{root}'", hint="Name files relative to it, or give --root."
        )
    return root / name
