"""The runner over the generated world, with networks that need no weights: one that knows, one that is dumb, one that
looks at the wrong clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crab_core.engine.session import Model
from crab_core.evaluate import world_runner
from crab_core.evaluate.report import Table
from crab_core.evaluate.world_runner import WorldTest, evaluate_world
from crab_core.families._base import Encoded, Generated, Precision
from crab_core.progress import Note, Progress
from crab_core.types import SAMPLE_RATE_HZ, Clip, Decoding, Prompt
from crab_core.weights.folder import Header
from crab_core.world.bank import MixedBank, load_bank
from crab_core.world.questions import Sample, samples
from crab_core.world.scene import sample_scene

CLIPS = 6  # of the split `test`, two of which hold one event that is both seen and heard
TEST = WorldTest(clips=CLIPS, questions=3, batch=4)
Write = Callable[[str, Prompt], str]


@dataclass
class ScriptedNetwork:
    """Writes what a function of the clip's name and the prompt says; remembers clips, batches and limits."""

    write: Write
    name: str = "scripted"
    frame_size: tuple[int, int] | None = (32, 32)
    canvas_size: tuple[int, int] = (224, 224)
    clips: list[Clip] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def encode(self, clip: Clip, task: str) -> Encoded:
        self.clips.append(clip)
        return Encoded({"video": clip.path.name})  # type: ignore[dict-item]

    def generate_batch(
        self, encoded: Sequence[Encoded], prompts: Sequence[Prompt], decoding: Decoding
    ) -> list[Generated]:
        self.batches.append(len(prompts))
        assert decoding.temperature == 0
        return [
            Generated(self.write(str(one.features["video"]), prompt), ())
            for one, prompt in zip(encoded, prompts, strict=True)
        ]


@pytest.fixture
def truths(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, Prompt], str]:
    """The target of everything that the runner asks, by clip and prompt, filled while it asks."""
    known: dict[tuple[str, Prompt], str] = {}

    def remember(scene: Any, *arguments: Any, **options: Any) -> list[Sample]:
        made = samples(scene, *arguments, **options)
        known.update({(f"{scene.split}-{scene.index}", sample.prompt): sample.target for sample in made})
        return made

    monkeypatch.setattr(world_runner, "samples", remember)
    monkeypatch.setattr(world_runner, "MAJORITY_CLIPS", 12)
    return known


def scored(write: Write, test: WorldTest = TEST, **network: Any) -> tuple[dict[str, Table], ScriptedNetwork]:
    scripted = ScriptedNetwork(write, **network)
    model = Model("scripted", Header("scripted", "crab", {}, "none"), scripted, Precision(), "a test")  # type: ignore[arg-type]
    return {table.title: table for table in evaluate_world(model, test)}, scripted


def values(table: Table) -> dict[str, float]:
    return {line.name: line.score.value for line in table.lines}


def test_a_network_that_knows_everything_scores_one_everywhere(truths: dict[tuple[str, Prompt], str]) -> None:
    tables, network = scored(lambda clip, prompt: truths[clip, prompt], replace(TEST, other_clip=False))
    assert list(tables) == ["AVQA", "AVE", "AVVP"]
    for table in tables.values():
        assert set(values(table).values()) == {1.0}, table.to_markdown()
    assert len(network.clips) == CLIPS, "every clip is looked at once"
    assert max(network.batches) == 4
    assert tables["AVQA"].line("all").score.rows == CLIPS * 3


def test_a_network_that_writes_nothing_scores_nothing(truths: dict[tuple[str, Prompt], str]) -> None:
    tables, _ = scored(lambda clip, prompt: "")
    assert set(values(tables["AVQA"]).values()) == {0.0}
    assert tables["AVE"].line("event class").score.value == 0
    seconds = tables["AVE"].line("per-second accuracy")
    assert seconds.score.value == seconds.baselines["nothing"].value < 1
    assert tables["AVVP"].line("audio: per-second F1").score.value == 0
    assert tables["AVVP"].line("visual: per-second F1").score.value == 0


def test_a_network_that_looks_at_the_wrong_clip_is_found_out(truths: dict[tuple[str, Prompt], str]) -> None:
    def next_one(clip: str, prompt: Prompt) -> str:
        split, _, index = clip.partition("-")
        other = f"{split}-{(int(index) + 1) % CLIPS}"
        return next((text for (name, asked), text in truths.items() if (name, asked) == (other, prompt)), "")

    tables, _ = scored(next_one)
    assert tables["AVQA"].line("all").score.value < 0.8
    assert tables["AVVP"].line("audio: per-second F1").score.value < 0.8
    assert tables["AVE"].line("class, start and end exact").score.value < 1


def test_the_baseline_of_another_clip_asks_about_another_clip(truths: dict[tuple[str, Prompt], str]) -> None:
    tables, _ = scored(lambda clip, prompt: truths.get((clip, prompt), ""))
    line = tables["AVQA"].line("all")
    assert (line.score.value, set(line.baselines)) == (1.0, {"majority", "other clip"})
    assert line.baselines["other clip"].value < 1
    assert line.baselines["majority"].value < 1


def test_the_baseline_of_another_clip_can_be_left_out(truths: dict[tuple[str, Prompt], str]) -> None:
    tables, _ = scored(lambda clip, prompt: "", WorldTest(clips=2, questions=1, other_clip=False))
    assert set(tables["AVQA"].line("all").baselines) == {"majority"}


def test_clips_can_be_chosen_by_their_numbers(truths: dict[tuple[str, Prompt], str]) -> None:
    chosen = WorldTest(clips=2, questions=1, other_clip=False, chosen=(7, 31, 4))
    _, network = scored(lambda clip, prompt: "", chosen)
    assert [clip.path.name for clip in network.clips] == ["test-7", "test-31"], "so many of them"


def test_clips_without_an_event_to_localize_have_no_table_of_it(truths: dict[tuple[str, Prompt], str]) -> None:
    bank = load_bank()
    seed = next(seed for seed in range(20) if sample_scene("test", 0, seed=seed, bank=bank).kind != "ave")
    tables, _ = scored(lambda clip, prompt: "", WorldTest(clips=1, questions=1, seed=seed))
    assert list(tables) == ["AVQA", "AVVP"]


@pytest.mark.parametrize(("frame_size", "side_px"), [((32, 32), 32), (None, 224)])
def test_clips_have_ten_seconds_of_sight_and_sound(
    truths: dict[tuple[str, Prompt], str], frame_size: tuple[int, int] | None, side_px: int
) -> None:
    _, network = scored(lambda clip, prompt: "", WorldTest(clips=1, questions=1), frame_size=frame_size)
    (clip,) = network.clips
    assert clip.frames.shape == (10, side_px, side_px, 3)
    assert clip.waveform.shape == (10 * SAMPLE_RATE_HZ,) and clip.waveform.dtype == np.float32
    assert (clip.audio, clip.duration_s, len(clip.sound_windows_s)) == ("used", 10.0, 10)
    assert np.abs(clip.waveform).max() > 0.01 and clip.frames.std() > 1


def test_phrasings_that_training_never_saw_are_other_words(truths: dict[tuple[str, Prompt], str]) -> None:
    def questions(test: WorldTest) -> set[str]:
        asked: set[str] = set()
        scored(lambda clip, prompt: asked.add(prompt.parts[-1].text) or "", test)
        return {text for text in asked if "lease answer" in text}

    usual = WorldTest(clips=1, questions=4)
    words = questions(usual)
    assert len(words) == 4 and not words & questions(replace(usual, held_out_phrasing=True))


def test_drawings_or_recordings_of_another_file_stand_in_for_the_shipped_ones() -> None:
    shipped = load_bank()
    path = Path(world_runner.__file__).parents[1] / "world" / "assets" / "bank.npz"
    assert WorldTest().bank() is shipped
    drawn, heard = WorldTest(drawings=path).bank(), WorldTest(recordings=path).bank()
    assert isinstance(drawn, MixedBank) and drawn.recordings is shipped and drawn.drawings is not shipped
    assert isinstance(heard, MixedBank) and heard.drawings is shipped and heard.recordings is not shipped


def test_progress_is_told(truths: dict[tuple[str, Prompt], str]) -> None:
    told: list[Progress | Note] = []
    network = ScriptedNetwork(lambda clip, prompt: "")
    model = Model("scripted", Header("scripted", "crab", {}, "none"), network, Precision(), "a test")  # type: ignore[arg-type]
    evaluate_world(model, WorldTest(clips=1, questions=1), told.append)
    assert {one.stage for one in told if isinstance(one, Progress)} >= {"look", "avqa", "avvp"}
