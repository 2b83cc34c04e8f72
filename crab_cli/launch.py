"""The same command in several processes that share the steps of a training, told of each other by the environment.

The variables are those of torchrun, so that an outer launcher may stand in its place.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

LOOK_S = 0.1
PATIENCE_S = 10.0  # for a process that was told to end


def launch(words: Sequence[str], processes: int) -> int:
    """Runs `crab WORDS` that often and gives the exit code: the first that is not 0, which ends the others.

    Only the first process speaks and prints.
    """
    common = {**os.environ, "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            silent = None if rank == 0 else subprocess.DEVNULL
            command = [sys.executable, "-m", "crab_cli", *words]
            started.append(subprocess.Popen(command, env={**common, **place}, stdout=silent))
        return _first_failure(started)
    finally:
        _end(started)


def _first_failure(started: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        codes = [one.poll() for one in started]
        for code in codes:
            if code:
                return code if code > 0 else 128 - code
        if all(code == 0 for code in codes):
            return 0
        time.sleep(LOOK_S)


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for one in started:
        if one.poll() is None:
            one.terminate()
    for one in started:
        try:
            one.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
