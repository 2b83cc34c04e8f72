"""Checkpoints of a run: ordinary model folders `step-N` that also hold what is needed to go on exactly there.

A checkpoint is made aside and renamed when it is complete, and older ones go only after that: a run that is killed at
any moment, or whose disk is full, leaves the last good one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crab_core.errors import ResourceError
from crab_core.progress import Listener, Note, ignore
from crab_core.weights.folder import HEADER

STATE = "resume.pt"
ASIDE = ".saving"
_NAME = re.compile(r"step-(\d+)")

State = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in the folder of a run; steps are counted over all stages."""

    out: Path
    keep: int = 1
    on_progress: Listener = ignore

    def folder(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.out / f"step-{step}"

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, ascending."""
        found = [(_NAME.fullmatch(one.name), one) for one in self.out.iterdir()] if self.out.is_dir() else []
        return sorted(int(match[1]) for match, one in found if match and (one / HEADER).is_file())

    def last(self, after: int, until: int) -> State | None:
        """What the newest checkpoint with `after` < step <= `until` kept, None without one; a damaged one is told.

        Its `step` is counted over all stages.
        """
        for step in reversed([one for one in self.steps() if after < one <= until]):
            try:
                state: State = torch.load(self.folder(step) / STATE, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, ValueError, EOFError, KeyError) as err:
                told = f"the checkpoint '{self.folder(step)}' cannot be gone on from: {err}"
                self.on_progress(Note(told.splitlines()[0], seen=True))
                continue
            return {**state, "step": step}
        return None

    def save(self, step: int, write_model: Callable[[Path], None], state: State) -> None:
        """Writes one checkpoint and drops those beyond `keep`.

        Raises ResourceError if the disk does not take it; what was there before is still there then.
        """
        aside = self.out / ASIDE
        self.clean()
        try:
            fresh = aside / self.folder(step).name
            write_model(fresh)
            with (fresh / STATE).open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            if self.folder(step).exists():  # one that could not be gone on from
                shutil.rmtree(self.folder(step))
            fresh.rename(self.folder(step))
        except (OSError, RuntimeError, ResourceError) as err:
            why = err.__cause__ if isinstance(err, ResourceError) and err.__cause__ is not None else err
            raise ResourceError(
                f"cannot write the checkpoint '{self.folder(step)}': {_why(why)}", hint=self.last_told()
            ) from err
        finally:
            self.clean()
        for old in self.steps()[: -self.keep]:
            _drop(self.folder(old), aside)
        self.clean()

    def last_told(self) -> str:
        """A sentence about the last good checkpoint, for the advice of an error."""
        steps = self.steps()
        if not steps:
            return "There is no checkpoint yet: the run begins again at its first step."
        return f"The last good checkpoint is '{self.folder(steps[-1])}'; the same command goes on from it."

    def clean(self) -> None:
        """Removes what a killed run left half written."""
        shutil.rmtree(self.out / ASIDE, ignore_errors=True)


def _drop(folder: Path, aside: Path) -> None:
    """Removes a folder so that no half of it is ever seen under its name."""
    aside.mkdir(exist_ok=True)
    folder.rename(aside / folder.name)


def _why(err: BaseException) -> str:
    text = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
    return text.splitlines()[0] if text else type(err).__name__
