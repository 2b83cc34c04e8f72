"""Several processes that share the rows of every step: sums over them, and who may write.

An outer launcher (torchrun, accelerate) tells a process its place by the environment; `crab train --processes N` starts
N of them itself. Gradients are summed once a step, in one buffer: only what learns travels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from crab_core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Group:
    """This process is number `rank` of `size`; alone it is 0 of 1."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True for the one that writes and speaks."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=_device())
        torch.distributed.all_reduce(tensor)
        return [float(one) for one in tensor.tolist()]

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every gradient becomes the sum over all processes; one that none has stays None."""
        if self.size == 1 or not parameters:
            return
        has = self.sums([float(one.grad is not None) for one in parameters])
        chosen = [one for one, count in zip(parameters, has, strict=True) if count]
        for one in chosen:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        flat = torch.cat([one.grad.flatten().float() for one in chosen if one.grad is not None])
        torch.distributed.all_reduce(flat)
        at = 0
        for one in chosen:
            assert one.grad is not None
            one.grad.copy_(flat[at : at + one.numel()].view_as(one))
            at += one.numel()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            torch.distributed.barrier()


@contextmanager
def joined() -> Iterator[Group]:
    """The group that the environment tells of, alone if it tells of none; left when the block ends.

    Raises UsageError if the environment is half set.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if lacking:
        raise UsageError(f"WORLD_SIZE is {size} and {', '.join(lacking)} not set", hint="Start it by torchrun.")
    rank = int(os.environ["RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", rank=rank, world_size=size)
    try:
        yield Group(rank, size)
    finally:
        torch.distributed.destroy_process_group()


def _device() -> str:
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
