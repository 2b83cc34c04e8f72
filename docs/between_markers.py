"""The part of a page between two markers is written by a script; what stands around it by hand.

<!-- scores:mini -->
written
<!-- /scores:mini -->
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path


def put_between(page: str, mark: str, text: str) -> str:
    """The page with the text between its markers; raises ValueError unless it has one pair of them."""
    between = re.compile(rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- /{re.escape(mark)} -->)", re.DOTALL)
    done, places = between.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if places != 1:
        raise ValueError(f"the page needs one pair of {mark} markers, and has {places}")
    return done


def rewrite(path: Path, filled: Callable[[str], str]) -> None:
    """Writes a page anew from what it holds."""
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
