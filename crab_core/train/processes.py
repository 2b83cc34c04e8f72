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
    """This process is number `rank` of `size`; alone it is 0 of 1. Sums are made on `device`."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_shared(self) -> bool:
        """True if there are others."""
        return self.size > 1

    @property
    def is_first(self) -> bool:
        """True for the one that writes and speaks."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        if not self.is_shared:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor)
        return [float(one) for one in tensor.tolist()]

    def most(self, value: int) -> int:
        """The largest of all processes' values."""
        if not self.is_shared:
            return value
        tensor = torch.tensor(value, device=self.device)
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
        return int(tensor)

    def sum_gradients(self, parameters: Sequence[nn.Parameter], *, shared: bool = False) -> None:
        """Every gradient becomes the sum over all processes; one that none has stays None.

        `shared` leaves out those of which each process holds a part: the backward pass has summed them.
        """
        if shared:
            from crab_core.train.sharding import is_sharded

            parameters = [one for one in parameters if not is_sharded(one)]
        if not self.is_shared or not parameters:
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

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """A block that the others begin when the first process has left it: it makes what they find."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.is_shared:
            torch.distributed.barrier()


@contextmanager
def joined(*, on_gpus: bool = False) -> Iterator[Group]:
    """The group that the environment tells of, alone if it tells of none; left when the block ends.

    `on_gpus` gives each process of a machine one of its GPUs.

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
    device = "cpu"
    if on_gpus:
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', rank)) % torch.cuda.device_count()}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if on_gpus else "gloo", rank=rank, world_size=size)
    try:
        yield Group(rank, size, device)
    finally:
        torch.distributed.destroy_process_group()
