"""--stats tells what each part took, on stderr and in the JSON; without it nothing changes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny_crab import write_tiny

from crab_core.types import Result

if TYPE_CHECKING:
    from conftest import Crab

COMMANDS = [["infer", "CLIP", "what?"], ["localize", "CLIP"]]
EXAMPLE = Path(__file__).parents[2] / "examples" / "clips" / "00000.mp4"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_every_part_and_every_token_is_told(crab: Crab, tiny: Path, clip: Path, words: list[str]) -> None:
    asked = [*(str(clip) if word == "CLIP" else word for word in words), "--model", tiny, "--device", "cpu"]
    said = crab(*asked, "--json", "--stats", "--quiet")
    document = json.loads(said.out)
    found = document["stats"]
    assert said.code == 0
    assert {"load", "media", "fbank", "encode", "prefill", "decode"} <= set(found["seconds"])
    assert all(seconds >= 0 for seconds in found["seconds"].values())
    assert sum(found["seconds"].values()) - found["seconds"]["load"] >= 0.9 * document["seconds"]
    assert found["prompt_tokens"] > 20 and found["new_tokens"] > 1 and found["tokens_per_s"] > 0
    assert found["peak_memory_bytes"]["cpu"] > 50 * 2**20
    assert Result.from_dict(document).stats == found
    lines = [line for line in said.err.splitlines() if line.startswith("stats: ")]
    assert len(lines) == 2
    assert re.search(r"media \d+\.\d{3} s, fbank \d", lines[0])
    assert f"{found['new_tokens']} new tokens" in lines[1] and "peak memory of cpu" in lines[1]


def test_without_it_a_result_is_what_it_was(crab: Crab, tiny: Path, clip: Path) -> None:
    said = crab("infer", clip, "what?", "--model", tiny, "--device", "cpu", "--json")
    assert "stats" not in json.loads(said.out) and "stats:" not in said.err


def test_a_scan_draws_masks_and_reuses_what_its_parts_share(crab: Crab) -> None:
    found = json.loads(crab("scan", EXAMPLE, "--device", "cpu", "--json", "--stats").out)["stats"]
    assert found["seconds"]["mask"] > 0 and found["reused_tokens"] > 0


def test_masks_have_a_part_of_their_own(crab: Crab) -> None:
    found = json.loads(crab("segment", EXAMPLE, "--at", "2", "--device", "cpu", "--json", "--stats").out)["stats"]
    assert found["seconds"]["mask"] > 0


def test_it_is_about_one_clip(crab: Crab, tiny: Path, clip: Path, tmp_path: Path) -> None:
    said = crab("infer", clip.parent, "what?", "--model", tiny, "-o", tmp_path / "out", "--stats")
    assert said.code == 2 and "--stats is for one clip" in said.err and "crab bench" in said.err
