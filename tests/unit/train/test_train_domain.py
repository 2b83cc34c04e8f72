"""What a training's clips are like: measured by a run, by the command line, dropped when something else is learnt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_crab import write_tiny

from crab_cli.app import run as run_words
from crab_core.engine.resolve import folder_of
from crab_core.families._base import Precision
from crab_core.train import domain
from crab_core.train.loop import run
from crab_core.train.start import open_start, write_tuned
from crab_core.weights.folder import DOMAIN, Header, read_domain, read_header, verify, write_folder


def statistics(folder: Path) -> dict[str, torch.Tensor]:
    return read_domain(folder, verify(folder))


def parameters(capsys: pytest.CaptureFixture[str], folder: Path) -> int:
    assert run_words(["models", "info", str(folder), "--json"]) == 0
    return int(json.loads(capsys.readouterr().out)["parameters"])


def test_a_run_puts_what_its_clips_are_like_into_the_model(
    tiny_run: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    assert not statistics(out / "model"), "6 clips are too few"
    monkeypatch.setattr(domain, "FEWEST", 6)
    run(tiny_config, out=out)  # every stage has ended
    found = statistics(out / "model")
    assert found["mean"].shape == (12,) and len(found["limits"]) > 3
    for path in (out / "cache").glob("features-*.pt"):
        path.unlink()
    shutil.copytree(tiny_run / "model", tmp_path / "anew")
    domain.measure_world(tmp_path / "anew", 6, seed=0, short_share=0.4)
    anew = statistics(tmp_path / "anew")
    assert torch.allclose(found["mean"], anew["mean"], rtol=1e-2, atol=1e-3), "of features and of pictures drawn again"


def test_the_command_measures_pictures_of_the_world(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    before = parameters(capsys, folder)
    assert run_words(["models", "domain", str(folder), "--count", str(domain.FEWEST), "-q"]) == 0
    assert capsys.readouterr().out == f"{folder / DOMAIN}\n"
    assert parameters(capsys, folder) == before > 0, "statistics are no parameters"
    assert statistics(folder)["limits"].shape == (10,)
    assert run_words(["models", "domain", str(folder), "--count", "5"]) == 3
    assert "5 clips are too few to tell what they are like" in capsys.readouterr().err


def test_the_command_measures_own_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder, clips, rng = write_tiny(tmp_path / "tiny"), tmp_path / "clips", np.random.default_rng(0)
    clips.mkdir()
    for number in range(domain.FEWEST):
        cv2.imwrite(str(clips / f"{number}.png"), rng.integers(0, 256, (32, 32, 3), np.uint8))
    (clips / "broken.mp4").write_bytes(b"no film")
    assert run_words(["models", "domain", str(folder), "--clips", str(clips)]) == 0
    assert "broken.mp4' is left out" in capsys.readouterr().err
    assert statistics(folder)["limits"].shape == (1,), "a picture is one second"


def test_a_folder_of_another_family_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_folder(tmp_path / "plus", Header("plus", "crab-plus", {}, "MIT"), {})
    assert run_words(["models", "domain", str(tmp_path / "plus")]) == 2
    assert "a model of the family 'crab-plus' keeps no such statistics" in capsys.readouterr().err


def test_a_model_that_learns_on_forgets_what_it_learnt_from(tmp_path: Path) -> None:
    start = open_start(folder_of("mini"), Precision())
    assert DOMAIN in start.header.files
    write_tuned(start, tmp_path / "tuned", ["avqa"], {}, "tuned", {})
    assert DOMAIN not in read_header(tmp_path / "tuned").files and not (tmp_path / "tuned" / DOMAIN).exists()
    verify(tmp_path / "tuned")
