"""Several processes in one folder: a lock around every write, and claims on clips that die with their process.

Both are the operating system's record locks on two small files, so that nothing is left behind by a killed process.
They hold between processes, not between threads of one; one run schedules from one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crab_core.errors import ResourceError

WRITING, CLAIMS = ".lock", ".claims"
_RUNNING = 0  # the byte of the claims file that every run shares


class Locks:
    """The locks of one output folder; raises ResourceError if the folder's disk cannot lock."""

    def __init__(self, folder: Path) -> None:
        self._files = {name: os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666) for name in (WRITING, CLAIMS)}
        self._lock(CLAIMS, _RUNNING, shared=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else writes into the folder meanwhile; waits for its turn."""
        self._lock(WRITING, 0)
        try:
            yield
        finally:
            self._free(WRITING, 0)

    def claim(self, work: str) -> bool:
        """True if this process may do the work now; False while another one has claimed it."""
        return self._lock(CLAIMS, _place(work), wait=False)

    def release(self, work: str) -> None:
        """Let go of a claim."""
        self._free(CLAIMS, _place(work))

    def alone(self) -> bool:
        """True if no other run is in the folder now, and none gets in until `close`."""
        return self._lock(CLAIMS, _RUNNING, wait=False)

    def close(self) -> None:
        """Let go of everything."""
        for file in self._files.values():
            os.close(file)
        self._files = {}

    def _lock(self, name: str, place: int, *, shared: bool = False, wait: bool = True) -> bool:
        import fcntl

        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.lockf(self._files[name], how, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as err:
            raise ResourceError(
                f"the output folder's disk cannot lock files: {err.strerror}", hint="Choose an --out on another disk."
            ) from err
        return True

    def _free(self, name: str, place: int) -> None:
        import fcntl

        fcntl.lockf(self._files[name], fcntl.LOCK_UN, 1, place)


def _place(work: str) -> int:
    return 1 + int(work[:15], 16)  # below 2**60, inside the offsets of every file system
