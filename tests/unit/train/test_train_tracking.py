"""The curve in TensorBoard's files, and in Weights & Biases where it is installed."""

import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest

from crab_core.config import load_config
from crab_core.errors import MissingExtra
from crab_core.train.settings import TrainSettings
from crab_core.train.tracking import record, scalars, trackers_of

RUN = """
name: mine
model: mini
data: {files: [a.jsonl]}
track: [TRACK]
stages: [{name: tune, kind: language, steps: 3, train: [ilora]}]
"""


def settings(tmp_path: Path, track: str) -> TrainSettings:
    path = tmp_path / "run.yaml"
    path.write_text(RUN.replace("TRACK", track))
    return load_config(TrainSettings, path)


def test_a_record_has_the_checksums_of_the_format() -> None:
    # CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial); the format rotates and adds a constant
    data = b"123456789"
    made = record(data)
    masked = ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert made[:8] == struct.pack("<Q", len(data)) and made[12:21] == data
    assert made[21:] == struct.pack("<I", masked)


def test_scalars_are_protocol_buffers_with_tag_step_and_value() -> None:
    made = scalars("tune", 300, {"loss": 0.5, "step": 3})
    assert made[0] == 0x09 and made[9:12] == b"\x10\xac\x02", "wall time, then the step as a varint"
    assert b"\x0a\x09tune/loss\x15" + struct.pack("<f", 0.5) in made
    assert b"tune/step" not in made


def test_a_file_of_events_begins_with_its_version(tmp_path: Path) -> None:
    (track,) = trackers_of(settings(tmp_path, "tensorboard"), tmp_path)
    track("tune", 1, {"loss": 2.0})
    track("tune", 2, {"loss": 1.0})
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    assert len(found) == 3 and b"brain.Event:2" in found[0] and all(b"tune/loss" in one for one in found[1:])


def test_a_lacking_package_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match="wandb"):
        trackers_of(settings(tmp_path, "wandb"), tmp_path)


def test_weights_and_biases_hears_every_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, float]] = []
    wandb = ModuleType("wandb")
    run = ModuleType("run")
    run.log = logged.append  # type: ignore[attr-defined]
    wandb.init = lambda **_: run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    (track,) = trackers_of(settings(tmp_path, "wandb"), tmp_path)
    track("tune", 5, {"loss": 2.0})
    assert logged == [{"tune/loss": 2.0, "step": 5}]
