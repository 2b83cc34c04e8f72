"""The checks of `crab doctor`: each is one function that says what it found or raises."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util
from typing import Any, Literal

from crab_core import __version__
from crab_core.errors import CrabError

PACKAGES = ("torch", "transformers", "peft", "av", "numpy", "typer", "rich", "safetensors", "tokenizers")
DECODERS = ("h264", "hevc", "vp9", "av1", "aac", "mp3", "opus", "flac")
ENCODERS = ("libx264", "aac")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `exit_code` is that of `crab doctor` if this is the first failure."""

    state: Literal["ok", "warn", "fail"]
    name: str
    found: str
    exit_code: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {"state": self.state, "check": self.name, "found": self.found}


class Warn(Exception):
    """Found something that only some uses need."""


def checkup(model: str, device: str, dtype: str, *, full: bool = False) -> Iterator[Finding]:
    """Every finding, cheap ones first."""
    checks: list[tuple[str, int, Callable[[], str]]] = [
        ("crab", 2, _crab),
        *((package, 2, partial(_package, package)) for package in PACKAGES),
        ("bitsandbytes", 2, partial(_bitsandbytes, full)),
        ("ffmpeg", 3, _ffmpeg),
        (f"model {model}", 4, partial(_model, model)),
        ("device", 5, partial(_device, device, dtype)),
        ("memory", 5, partial(_memory, model, device, dtype)),
        ("threads", 5, _threads),
    ]
    for name, code, check in checks:
        yield _found(name, code, check)


def _found(name: str, code: int, check: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", name, check())
    except Warn as err:
        return Finding("warn", name, str(err))
    except CrabError as err:
        hint = f" - {err.hint}" if err.hint else ""
        return Finding("fail", name, f"{err.message}{hint}", err.exit_code)
    except Exception as err:  # a check that cannot even run is a finding too
        return Finding("fail", name, f"{type(err).__name__}: {err}", code)


def _crab() -> str:
    return f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as err:
        raise LookupError(f"not installed - pip install {name}") from err


def _bitsandbytes(full: bool) -> str:
    if util.find_spec("bitsandbytes") is None:
        raise Warn("not installed: --quantize 4bit and 8bit need it")
    version = metadata.version("bitsandbytes")
    if not full:
        return f"{version}, not imported (--full imports it)"
    importlib.import_module("bitsandbytes")
    return f"{version}, imports"


def _ffmpeg() -> str:
    import av
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    def lacks(name: str, mode: Literal["r", "w"]) -> bool:
        try:
            Codec(name, mode)
        except UnknownCodecError:
            return True
        return False

    version = getattr(av, "ffmpeg_version_info", "unknown version")
    lacking = [f"{name} (decoder)" for name in DECODERS if lacks(name, "r")]
    lacking += [f"{name} (encoder)" for name in ENCODERS if lacks(name, "w")]
    if lacking:
        raise Warn(f"{version}, lacks {', '.join(lacking)}")
    return f"{version}, decodes {' '.join(DECODERS)}"


def _model(name: str) -> str:
    from crab_core.engine.resolve import folder_of
    from crab_core.weights.folder import read_header, verify

    folder = folder_of(name)
    verify(folder)
    return f"'{read_header(folder).name}', every file as its sha256 says"


def _device(device: str, dtype: str) -> str:
    from crab_core.engine.device import choose

    return choose(device, dtype).why


def _memory(name: str, device: str, dtype: str) -> str:
    from crab_core.engine.device import choose
    from crab_core.engine.memory import GIB, available_bytes, check_fits
    from crab_core.engine.resolve import folder_of

    precision = choose(device, dtype).precision
    needed = check_fits(folder_of(name), precision)
    free = available_bytes(precision.device)
    return f"needs about {needed / GIB:.2f} GiB of {'unknown' if free is None else f'{free / GIB:.1f}'} GiB free"


def _threads() -> str:
    import torch

    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    found = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, OMP_WAIT_POLICY {policy}"
    if policy.upper() != "PASSIVE":
        raise Warn(f"{found}: a busy machine will be slow")
    return found
