"""The whole result as one JSON document, which `Result.from_dict` reads back."""

from __future__ import annotations

import json
from pathlib import Path

from crab_core.render.writers._base import TextWriter
from crab_core.types import Result


def write(result: Result, clip: Path) -> str:
    """The document, indented; a text that is no Unicode keeps its odd halves as escapes."""
    text = json.dumps(result.to_dict(), ensure_ascii=False, indent=2)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(result.to_dict(), indent=2)
    return text + "\n"


WRITER = TextWriter(".json", write)
