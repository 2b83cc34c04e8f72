"""A share of the work, the same on every machine: items are dealt by a hash of their names, without reading a clip."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crab_core.batch.plan import Item
from crab_core.errors import UsageError

_HINT = "Write --shard 2/8 for the second of eight, or --shard auto in a Slurm array, under srun or torchrun."


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `index` of `count`; the first is 1."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"there is no shard '{self.index}/{self.count}'", hint=_HINT)

    def of(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items of this share, in their order."""
        return tuple(item for item in items if _dealt(item.id, self.count) == self.index)


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The share that `2/8` or `auto` names.

    `auto` reads what a scheduler sets: SLURM_ARRAY_TASK_ID with _MIN, _MAX and _STEP; SLURM_PROCID of SLURM_NTASKS;
    RANK of WORLD_SIZE. Raises UsageError for anything else.
    """
    if text == "auto":
        return _of_environment(environment)
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found:
        raise UsageError(f"'{text}' is no shard", hint=_HINT)
    return Shard(int(found[1]), int(found[2]))


def _of_environment(environment: Mapping[str, str]) -> Shard:
    def number(name: str, default: int | None = None) -> int:
        value = environment.get(name, "")
        if value == "" and default is not None:
            return default
        if not value.isdecimal():
            raise UsageError(f"--shard auto cannot use {name}='{value}'", hint=_HINT)
        return int(value)

    if "SLURM_ARRAY_TASK_ID" in environment:
        first, step = number("SLURM_ARRAY_TASK_MIN", 0), max(1, number("SLURM_ARRAY_TASK_STEP", 1))
        count = (number("SLURM_ARRAY_TASK_MAX") - first) // step + 1
        return Shard((number("SLURM_ARRAY_TASK_ID") - first) // step + 1, count)
    for rank, size in (("SLURM_PROCID", "SLURM_NTASKS"), ("RANK", "WORLD_SIZE")):
        if rank in environment:
            return Shard(number(rank) + 1, number(size))
    raise UsageError("--shard auto finds no SLURM_ARRAY_TASK_ID, SLURM_PROCID or RANK", hint=_HINT)


def _dealt(name: str, count: int) -> int:
    """1 to count, evenly and for ever the same."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1
