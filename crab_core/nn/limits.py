"""Bounds of a network's numbers: a damaged or hostile header is refused before anything is built from it.

They are far above every known network (70B: 80 layers of width 8192); they stop sizes that no machine holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

DEEPEST = 512  # layers
WIDEST = 1 << 16  # widths, sizes in pixels, counts of queries
LARGEST = 1 << 24  # vocabularies, positions

LLM_LIMITS: Mapping[str, int] = {
    "num_hidden_layers": DEEPEST,
    "hidden_size": WIDEST,
    "intermediate_size": 1 << 20,
    "num_attention_heads": 1024,
    "num_key_value_heads": 1024,
    "head_dim": 4096,
    "vocab_size": LARGEST,
    "max_position_embeddings": LARGEST,
}


def check_limits(where: str, values: Mapping[str, Any], limits: Mapping[str, int]) -> None:
    """Raises ValueError for the first number above its limit; what is lacking or no number is not judged here."""
    for name, limit in limits.items():
        value = values.get(name)
        if isinstance(value, int | float) and not value <= limit:
            raise ValueError(f"{where}.{name} must be at most {limit}, got {value}")


def check_counts(where: str, values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises ValueError for the first of these that is there and is no whole number of at least 1."""
    for name in names:
        value = values.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{where}.{name} must be a whole number of at least 1, got {value!r}")


def check_options(where: str, options: Mapping[str, Any]) -> None:
    """The same for an encoder's options of any name, numbers or rows of numbers; `layers` counts or names layers."""
    for name, value in options.items():
        limit = DEEPEST if name == "layers" else WIDEST
        for number in value if isinstance(value, list | tuple) else (value,):
            check_limits(where, {name: number}, {name: limit})
            if isinstance(number, int | float) and number < 0:
                raise ValueError(f"{where}.{name} must not be negative, got {number}")
