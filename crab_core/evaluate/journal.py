"""What a model has said so far, on disk before the next question is asked: a scoring that was killed goes on.

    {"run": {...}}                               the first line: task, data, model and options
    {"asked": ["a1", "", "How many?", null], "result": {...}}     each answer

Answers of another run are not taken, and a line that was half written is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from crab_core.errors import ResourceError
from crab_core.evaluate.asks import Ask
from crab_core.types import Result

NAME = "journal.jsonl"


@dataclass
class Journal:
    """The answers of one scoring in a folder; `run` tells everything that they depend on."""

    folder: Path
    run: Mapping[str, Any]
    _said: dict[str, Result] = field(default_factory=dict)
    _file: IO[str] | None = None

    def __post_init__(self) -> None:
        path = self.folder / NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = self._read(path) if path.is_file() else 0
            self._file = path.open("a", encoding="utf-8")
            self._file.truncate(kept)
            if not kept:
                self._write({"run": dict(self.run)})
        except OSError as err:
            raise self._full(err) from err

    def __len__(self) -> int:
        return len(self._said)

    def find(self, ask: Ask) -> Result | None:
        """What was said before."""
        return self._said.get(_key(ask))

    def add(self, ask: Ask, result: Result) -> None:
        """Puts an answer on disk; raises ResourceError if it does not take it."""
        try:
            self._write({"asked": json.loads(_key(ask)), "result": result.to_dict()})
        except OSError as err:
            raise self._full(err) from err

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()

    def _read(self, path: Path) -> int:
        """Takes the answers over; gives the bytes that are good, 0 if they are of another run."""
        good = 0
        with path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    document = json.loads(line)
                    if number == 0:
                        if document["run"] != json.loads(json.dumps(self.run)):
                            return 0
                    else:
                        self._said[json.dumps(document["asked"])] = Result.from_dict(document["result"])
                except (ValueError, KeyError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                good += len(line)
        return good

    def _write(self, document: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(document, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _full(self, err: OSError) -> ResourceError:
        return ResourceError(f"cannot write into '{self.folder}': {err.strerror}", hint="Choose another --out.")


def _key(ask: Ask) -> str:
    """The line, its clip, the question's own id and words, and the time that is asked about."""
    sample = ask.sample
    return json.dumps([sample.line, sample.id, ask.own_id, ask.question, ask.time_s])
