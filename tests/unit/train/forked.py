"""Work done in two processes that know of each other, as `crab train --processes 2` starts them."""

import os
import socket
import sys
import traceback
from collections.abc import Callable

from crab_core.errors import CrabError
from crab_core.train import processes


def in_two_processes(work: Callable[..., object], *, joined: bool = False) -> list[int]:
    """The exit codes of two forks of this process that do the work, 0 without an error;
    `joined` gives it their group."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(door.getsockname()[1])}
    children = [_forked(work, {**common, "RANK": str(rank)}, joined) for rank in range(2)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _forked(work: Callable[..., object], place: dict[str, str], joined: bool) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.environ |= place
        if joined:
            with processes.joined() as group:
                work(group)
        else:
            work()
        os._exit(0)
    except CrabError as err:
        os._exit(err.exit_code)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        os._exit(99)
