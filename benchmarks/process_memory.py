"""Peak memory of another process while it runs, as Linux tells it, apart for its own memory and for mapped files.

`rss_mib` is the largest resident set that the kernel recorded (`ru_maxrss`): it counts pages of files that the process
has mapped, which the kernel takes back when memory is short. `own_mib` is the largest of samples, one every 10 ms, of
what it cannot take back (`RssAnon` and `RssShmem` in /proc/PID/status).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SAMPLED_S = 0.01
OWN = ("RssAnon:", "RssShmem:")


@dataclass(frozen=True, slots=True)
class Peak:
    """What a process took; `samples` tells how often it was looked at."""

    own_mib: int
    rss_mib: int
    samples: int
    wall_s: float
    cpu_s: float

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


def watched(words: Sequence[str], output: Path, environment: Mapping[str, str] | None = None) -> Peak:
    """Runs a program to its end, its streams in a file; raises SystemExit with that file's end if it fails."""
    began, own, samples = time.perf_counter(), 0, 0
    with output.open("wb") as stream:
        process = subprocess.Popen(
            words, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        while True:
            done, status, used = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            own, samples = max(own, _own_kib(process.pid)), samples + 1
            time.sleep(SAMPLED_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{output.read_text()[-2000:]}")
    wall_s, cpu_s = time.perf_counter() - began, used.ru_utime + used.ru_stime
    return Peak(own >> 10, used.ru_maxrss >> 10, samples, round(wall_s, 1), round(cpu_s, 1))


def _own_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(OWN))
