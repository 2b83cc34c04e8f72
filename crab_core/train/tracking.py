"""The curve of a run for TensorBoard, in its own file format, and for Weights & Biases if that is installed.

An event file is a row of records: length, checksum, a protocol buffer, checksum. The messages that scalars need have
five fields, which are written here, so that TensorBoard need not be installed where a model is trained.
Source: tensorflow/core/util/event.proto and lib/io/record_writer.h of TensorFlow 2; CRC-32C of RFC 3720.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crab_core.errors import ResourceError
from crab_core.optional import need
from crab_core.train.record import settings_document
from crab_core.train.reports import Tracker
from crab_core.train.settings import TrainSettings

FOLDER = "tensorboard"
VERSION = b"brain.Event:2"
_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8


def trackers_of(settings: TrainSettings, out: Path) -> list[Tracker]:
    """What the settings name under `track`; raises MissingExtra for a package that is not installed."""
    makers = {"tensorboard": _tensorboard, "wandb": _wandb}
    return [makers[name](settings, out) for name in settings.track]


def _tensorboard(settings: TrainSettings, out: Path) -> Tracker:
    path = out / FOLDER / f"events.out.tfevents.{time.time():.6f}.{settings.name}"

    def track(stage: str, step: int, values: Mapping[str, float]) -> None:
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(record(_event(3, VERSION)))
            with path.open("ab") as file:
                file.write(record(scalars(stage, step, values)))
        except OSError as err:
            raise ResourceError(f"cannot write '{path}': {err.strerror}", hint="Check the disk.") from err

    return track


def _wandb(settings: TrainSettings, out: Path) -> Tracker:
    wandb = need("wandb", extra="wandb", why="track: [wandb]")
    run: Any = None

    def track(stage: str, step: int, values: Mapping[str, float]) -> None:
        nonlocal run
        if run is None:
            config = settings_document(settings)
            run = wandb.init(project="crab", name=settings.name, dir=str(out), config=config, resume="allow")
        run.log({f"{stage}/{name}": value for name, value in values.items()} | {"step": step})

    return track


def scalars(stage: str, step: int, values: Mapping[str, float]) -> bytes:
    """An event with one scalar a value, called `stage/name`."""
    each = [
        _field(1, _field(1, f"{stage}/{name}".encode()) + b"\x15" + struct.pack("<f", value))
        for name, value in values.items()
        if name != "step"
    ]
    return _event(5, b"".join(each), step)


def record(data: bytes) -> bytes:
    """The data with its length and both checksums."""
    length = struct.pack("<Q", len(data))
    return length + _checked(length) + data + _checked(data)


def _event(number: int, message: bytes, step: int = 0) -> bytes:
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + _field(number, message)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _checked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


def _table() -> Sequence[int]:
    made = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        made.append(byte)
    return made


_TABLE = _table()
