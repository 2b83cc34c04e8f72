"""Measuring: figures that fit together, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from crab_core.batch.bench import measure
from crab_core.batch.engine import EngineOptions, start_engine
from crab_core.batch.plan import of_folder
from crab_core.batch.worker import WorkerSpec
from crab_core.errors import InputError
from crab_core.progress import Progress, ignore
from crab_core.types import Request


def test_figures_fit_together(folder: Path, clips: Path) -> None:
    (clips / "b.mp4").write_text("no film")
    requests = [item.request for item in of_folder(clips, Request(Path(), "avqa", "Who?")).items]
    heard: list[object] = []
    speed = measure(
        requests,
        lambda: start_engine("local", WorkerSpec(folder, device="cpu", batch=4), EngineOptions(), ignore),
        listen=heard.append,
    )
    assert (speed.clips, speed.failed, speed.batch, speed.workers) == (5, 1, 4, 1)
    assert speed.media_s == pytest.approx(1 + 1.5 + 1.75 + 2 + 2.25, abs=0.3)
    assert speed.clips_per_s == pytest.approx(5 / speed.seconds) and speed.cores is not None
    assert 50 < speed.peak_memory_mib < 100_000
    assert sum(stage.share for stage in speed.stages) == pytest.approx(1)
    assert [stage.name for stage in speed.stages] == ["check", "probe", "decode", "encode", "generate", "read"]
    assert heard[-1] == Progress("bench", 6, 6, "clips")
    assert speed.to_dict()["schema"] == "crab.bench/1" and speed.to_dict()["stages"][0]["name"] == "check"


def test_nothing_to_measure(folder: Path, clips: Path) -> None:
    (clips / "a.mp4").write_text("no film")
    with pytest.raises(InputError, match="no clip could be used"):
        measure(
            [Request(clips / "a.mp4", "avqa", "Who?", id="a")],
            lambda: start_engine("local", WorkerSpec(folder, device="cpu"), EngineOptions(), ignore),
        )
