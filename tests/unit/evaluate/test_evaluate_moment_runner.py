"""Scores of pictures: a network that writes and draws the truth is perfect, one that says nothing is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from crab_core.engine.session import Model
from crab_core.evaluate import moment_runner
from crab_core.evaluate.moment_runner import Asked, evaluate_moments
from crab_core.evaluate.report import Table
from crab_core.evaluate.world_runner import WorldTest
from crab_core.families._base import MASK_LOGITS, Encoded, Generated, Precision
from crab_core.types import Clip, Decoding, Prompt
from crab_core.weights.folder import Header
from crab_core.world.moments import MOMENT_TASKS

TEST = WorldTest(clips=12, batch=5)
Say = Callable[[Asked], Generated]


@dataclass
class Network:
    """Finds what is asked of a clip by its prompt, and says and draws what it is told to."""

    say: Say
    asked: dict[tuple[str, Prompt], Asked] = field(default_factory=dict)
    name: str = "fake"
    frame_size: tuple[int, int] | None = (112, 112)
    canvas_size: tuple[int, int] = (100, 100)
    seen: str = ""

    def encode(self, clip: Clip, task: str) -> Encoded:
        assert clip.frames.shape[1:3] == (112, 112) and len(clip.waveform) == 16_000
        return Encoded({}, capability=str(clip.path))

    def generate_batch(
        self, encoded: Sequence[Encoded], prompts: Sequence[Prompt], decoding: Decoding
    ) -> list[Generated]:
        found = [self.asked[one.capability, prompt] for one, prompt in zip(encoded, prompts, strict=True)]
        return [self.say(one) for one in found]


def scored(say: Say, monkeypatch: pytest.MonkeyPatch, tasks: tuple[str, ...] = MOMENT_TASKS) -> dict[str, Table]:
    network = Network(say)
    moment = moment_runner.moment_of

    def remembered(*words: object) -> object:
        clip, many = moment(*words)  # type: ignore[arg-type]
        network.asked |= {(one.clip, one.sample.prompt): one for one in many}
        return clip, many

    monkeypatch.setattr(moment_runner, "moment_of", remembered)
    monkeypatch.setattr(moment_runner, "CONSTANT_CLIPS", 20)
    header = Header(name="fake", family="fake", config={}, licence="none", tasks=tasks)
    model = Model("fake", header, network, Precision(), "cpu")  # type: ignore[arg-type]
    return {table.title: table for table in evaluate_moments(model, TEST)}


def truth(asked: Asked) -> Generated:
    inside = np.isin(asked.ids, asked.sample.figures) if asked.sample.figures else np.zeros(asked.ids.shape, bool)
    logits = np.where(inside, 9.0, -9.0).astype(np.float32)[None]
    return Generated(asked.sample.target, (), extras={MASK_LOGITS: logits})


def nothing(asked: Asked) -> Generated:
    return Generated("", ())


def test_the_truth_is_perfect_and_above_what_is_trivial(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = scored(truth, monkeypatch)
    assert list(tables) == ["ARIG", "SSL", "S4", "MS3", "Ref-AVS"]
    for table in tables.values():
        for line in table.lines:
            assert line.score.value == pytest.approx(1.0, abs=2e-2), (table.title, line.name)
            for name, other in line.baselines.items():
                assert other.value <= line.score.value, (table.title, line.name, name)
    assert tables["ARIG"].lines[0].baselines["constant"].value < 0.5


def test_saying_nothing_scores_only_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = scored(nothing, monkeypatch, ("arig", "ref-avs"))
    assert list(tables) == ["ARIG", "Ref-AVS"], "tasks that a model has not learnt are left out"
    lines = {line.name: line.score.value for table in tables.values() for line in table.lines}
    assert lines["box IoU, something sounds"] == 0
    assert lines["mIoU, something is meant"] == 0
    assert lines["empty mask, nothing is meant"] == 1
    assert lines["named right"] == 0


def test_a_model_of_texts_alone_has_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scored(nothing, monkeypatch, ("avqa",)) == {}
