"""Judging heads where truth is known: cells and hits by hand, then the whole way with a tiny random network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_crab import write_tiny

from crab_core.engine.heads import inside_of
from crab_core.engine.session import Model, load
from crab_core.errors import ModelError
from crab_core.evaluate.heads_router_tables import likeness
from crab_core.evaluate.heads_truth import Places, inside, items_of, pointed
from crab_core.evaluate.heads_world import evaluate_heads
from crab_core.evaluate.world_runner import WorldTest
from crab_core.families._base import Generated

LEFT = inside([(0.0, 0.0, 0.5, 1.0)], 2, 4)


def test_a_cell_is_inside_if_its_middle_is() -> None:
    assert LEFT.tolist() == [[True, True, False, False]] * 2
    assert inside([(0.0, 0.0, 0.1, 1.0)], 2, 4).sum() == 0  # reaches no middle
    assert inside([(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)], 2, 2).tolist() == [[True, False], [False, True]]
    assert not inside([], 2, 2).any()


def test_hits_and_their_chance() -> None:
    maps = np.zeros((2, 2, 2, 4), np.float32)
    maps[0, :, 0, 0] = 1  # the first head looks left in both frames
    maps[1, 0, 1, 3] = maps[1, 1, 1, 0] = 1  # the second one right, then left
    assert pointed(maps, [LEFT, LEFT]) == ([1.0, 0.5], 0.5)
    nowhere = np.zeros((2, 4), bool)
    assert pointed(maps, [LEFT, nowhere]) == ([1.0, 0.0], 0.5)
    assert pointed(maps, [nowhere, nowhere]) is None


def test_an_empty_map_points_as_well_as_chance() -> None:
    hits, chance = pointed(np.zeros((1, 1, 2, 4), np.float32), [inside([(0.0, 0.0, 0.25, 1.0)], 2, 4)]) or ([], 0.0)
    assert hits == [chance] == [0.25]


def test_places_have_cells_a_frame() -> None:
    assert [cells.sum() for cells in Places((((0.0, 0.0, 1.0, 1.0),), ())).cells(2, 3)] == [6, 0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = write_tiny(tmp_path_factory.mktemp("models") / "tiny")
    return load(folder, device="cpu")


def test_the_true_text_of_every_item_scores_one(model: Model) -> None:
    items = list(items_of(model, WorldTest(clips=6, questions=2)))
    assert {"avqa", "ave", "avvp"} == {item.task for item in items}
    assert all(item.score(Generated(item.truth, ())) == 1 for item in items)
    assert not any(item.score(Generated("", ())) for item in items if item.task == "avqa")
    for item in items:
        assert len(item.meant.by_frame) == len(item.others.by_frame) == len(item.clip.frames)


def test_the_true_boxes_of_a_picture_score_one(model: Model) -> None:
    trained = replace(model, header=replace(model.header, tasks=("arig", "ssl")))
    items = list(items_of(trained, WorldTest(clips=8, questions=1)))
    assert {"arig", "ssl"} == {item.task for item in items if item.is_picture}
    assert all(item.score(Generated(item.truth, ())) == pytest.approx(1) for item in items)
    named = [item for item in items if item.task == "ssl" and any(item.meant.by_frame)]
    assert named
    assert not any(item.score(Generated("", ())) for item in named)


def test_the_tables_of_a_random_network(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crab_core.evaluate.heads_world.MOST_TOKENS", 4)
    told: list[str] = []
    test = WorldTest(clips=2, questions=1, batch=2)
    tables = {
        table.title.partition(":")[0]: table
        for table in evaluate_heads(model, test, checks=1, on_progress=lambda one: told.append(type(one).__name__))
    }
    names = [line.name for line in tables["Nats a token that the true text loses"].lines]
    assert [f"avqa, {name}" in names for name in ("without head 1", "without head 3", "no head")] == [True] * 3
    assert {"avqa, shares even", "avqa, shares exchanged"} <= set(names)
    choices = tables["How the routers choose"]
    assert len(choices.lines) == 3 * (1 + 14)  # the mean, then two layers of seven projections
    entropy = [line.score.value for line in choices.lines if line.name.startswith("entropy")]
    assert entropy[0] == pytest.approx(np.mean(entropy[1:]), abs=1e-4)
    assert all(0 < line.baselines["random start"].value <= np.log2(3) for line in choices.lines[:15])
    in_routers = tables["Specialisation, router by router"]
    assert [line.name.partition(" ")[0] for line in in_routers.lines] == [
        line.name.partition(" ")[0] for line in tables["Specialisation"].lines
    ]
    hidden = tables["Specialisation"].lines[0].score.value
    assert in_routers.lines[0].score.value >= hidden - 1e-6
    use = [line for line in tables["Mean share of each head"].lines if line.name.startswith("avvp")]
    assert sum(line.score.value for line in use) == pytest.approx(1, abs=1e-4)
    hits = tables["Pointing game"].line("avvp, the target, head 1")
    assert 0 <= hits.score.value <= 1
    above = tables["Pointing game"].line("avvp, the target, head 1, above chance")
    assert above.score.value == pytest.approx(hits.score.value - hits.baselines["chance"].value)
    assert tables["Score (1 is best) and what of it is lost"].line("avqa, score with all heads").score.value == 0
    assert tables["Faithfulness"].line("video hidden, relevance by share").score.rows == 1
    assert told


def test_likeness_is_told_by_projection(model: Model, tmp_path: Path) -> None:
    told = likeness(inside_of(model))
    cosine = told["cosine of two heads' B (copies 1, strangers 0)"].split(", ")
    assert [one.partition(" ")[0] for one in cosine] == ["q", "k", "v", "o", "gate", "up", "down"]
    assert all(abs(float(one.partition(" ")[2])) < 0.5 for one in cosine)  # random matrices
    one = load(write_tiny(tmp_path / "one", heads=1), device="cpu")
    assert likeness(inside_of(one)) == {}


def test_a_model_without_heads_is_refused(tmp_path: Path) -> None:
    bare = load(write_tiny(tmp_path / "bare", heads=0), device="cpu")
    with pytest.raises(ModelError, match="has no I-LoRA"):
        evaluate_heads(bare, WorldTest(clips=1))
