"""The embedded model through a real process: a question about a clip of the generated world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crab_core.types import Result
from crab_core.weights.catalog import MODELS

WEIGHTS = Path(__file__).parents[2] / "crab_core" / str(MODELS["mini"].embedded)

pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the weights of 'mini' are not in this checkout")

SPY = (
    "import sys; from crab_cli.app import run; code = run(sys.argv[1:]);"
    "print('bitsandbytes' in sys.modules, file=sys.stderr); sys.exit(code)"
)


@pytest.fixture(scope="module")
def world_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of the demo split."""
    folder = tmp_path_factory.mktemp("world")
    subprocess.run(
        [sys.executable, "-m", "crab_cli", "data", "synth", "-o", folder / "clips", "--clips", "1"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder / "clips" / "00000.mp4"


def process(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SPY, "infer", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "80"})


def test_a_question_is_answered_in_one_line(world_clip: Path) -> None:
    done = process(world_clip, "How many things are in the video?")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and done.stdout.strip()
    *told, has_bitsandbytes = done.stderr.splitlines()
    assert any(line.startswith("note: ") and "mini" in line for line in told), "every answer of mini says what it is"
    assert has_bitsandbytes == "False"


def test_events_as_json_name_the_model_and_the_sound(world_clip: Path) -> None:
    done = process(world_clip, "--task", "avvp", "--json")
    assert done.returncode == 0, done.stderr
    result = Result.from_dict(json.loads(done.stdout))
    assert (result.model, result.task, result.audio, result.duration_s) == ("mini", "avvp", "used", 10.0)
    assert all(0 <= event.start_s < event.end_s <= 10 for event in result.events)
